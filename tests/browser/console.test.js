// The debug console in Chromium, by clicking: what it shows is what happens, what it does reaches real clients, and it stays
// light. Screenshots go to a directory of the system's, named at the end.

import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import WebSocket from "ws";

import { freePort } from "../clients/nodes.js";
import { startReceiver } from "../clients/receiver.js";
import { APP, backend, config, connect, connected, heard, jwt, startGema, subscribed, until } from "../clients/support.js";
import { launch } from "./chromium.js";

const PUSHER = createRequire(import.meta.url).resolve("pusher-js/dist/web/pusher.min.js");
const TOKEN = "the-token-of-the-console";
const PICTURES = mkdtempSync(join(tmpdir(), "gema-console-"));

const receiver = await startReceiver(after);
const webhook = `
[[apps.webhooks]]
url = "${receiver.url}/hook?key=a-secret-of-the-receiver"
events = ["channel_occupied", "member_added", "client_event"]
`;
const gema = await start(config({ app: webhook }));
const browser = await launch(after);
const sdk = backend(gema);
after(() => console.log(`screenshots: ${PICTURES}`));

/** A gema with its admin listener on a port of its own. */
async function start(toml, settings = {}) {
  const port = await freePort();
  const started = await startGema(after, toml, { GEMA_ADMIN__PORT: String(port), ...settings });
  return { ...started, admin: `http://127.0.0.1:${port}` };
}

/** The console of `server`, which fails the test on errors and on requests to anybody else. */
async function open(t, { view = "live", server = gema, ...options } = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 }, ...options });
  t.after(() => page.close());
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => assert.fail(error));
  page.on("request", (request) => assert.ok(request.url().startsWith(server.admin) || request.url().startsWith("data:"), request.url()));
  // A refusal that the test asks for is an error in the browser's eyes, too; one of the content policy never is.
  page.on("console", (message) => assert.ok(!/Content Security|Trusted/.test(message.text()), message.text()));
  await page.goto(`${server.admin}/#${view}`);
  return page;
}

/** The console once it streams. */
async function streaming(t, options) {
  const page = await open(t, options);
  await page.waitForSelector('#state[data-is="live"]');
  return page;
}

/** A page of an application, with pusher-js as it is shipped for browsers, connected. */
async function application(t, channel) {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(`${gema.url}/up`);
  await page.addScriptTag({ path: PUSHER });
  await page.evaluate(
    ({ key, host, port, channel }) => {
      window.closes = [];
      window.heard = [];
      window.pusher = new Pusher(key, { wsHost: host, wsPort: port, forceTLS: false, enabledTransports: ["ws"], cluster: "mt1" });
      pusher.connection.bind("error", ({ data }) => window.closes.push(data?.code));
      pusher.subscribe(channel).bind_global((event, data) => window.heard.push([event, data]));
    },
    { key: APP.key, host: gema.host, port: gema.port, channel },
  );
  await page.waitForFunction((channel) => window.pusher.channel(channel).subscribed, channel);
  return page;
}

const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
const tab = (page, name) => page.getByRole("tab", { name }).click();
const lines = (page) => page.locator("#log li:not(.gap)");
const line = (page, text) => page.locator("#log li", { hasText: text }).first();
const picture = (page, name) => page.screenshot({ path: join(PICTURES, `${name}.png`) });
const nodes = (page) => page.evaluate(() => document.querySelectorAll("*").length);

async function publish(page, channel, event, data) {
  await page.getByLabel("Channel", { exact: true }).and(page.locator("#event-channel")).fill(channel);
  await page.locator("#event-event").fill(event);
  await page.locator("#event-data").fill(data);
  await press(page, "Publish");
}

test("what the console publishes arrives in its live stream and in a page with pusher-js", async (t) => {
  const app = await application(t, "orders");
  const page = await streaming(t);
  await tab(page, "Publish");
  await publish(page, "orders", "OrderPaid", '{ "order": 42, "note": "spaced  out ☀" }');
  await page.getByText("Published to 1 subscription.").waitFor();
  await app.waitForFunction(() => window.heard.some(([event]) => event === "OrderPaid"));
  const heard = await app.evaluate(() => window.heard.find(([event]) => event === "OrderPaid"));
  assert.deepEqual(heard[1], { order: 42, note: "spaced  out ☀" });
  await picture(page, "publish");

  await tab(page, "Live");
  const row = line(page, "OrderPaid");
  await row.waitFor();
  assert.match(await row.innerText(), /console/);
  await row.getByRole("button").first().click();
  assert.equal(await row.locator("pre").innerText(), '{\n  "order": 42,\n  "note": "spaced  out ☀"\n}');
  await picture(page, "live");
});

test("an event that cannot be published is refused by the name of what is wrong", async (t) => {
  const page = await streaming(t, { view: "publish" });
  for (const [channel, event, data, field, says] of [
    ["orders", "made", "{nope}", "data", /data: it is not JSON/],
    ["or ders", "made", "{}", "channel", /channel: /],
    ["orders", "", "{}", "event", /event: it is empty/],
    ["orders", "pusher:made", "{}", "event", /may not begin with 'pusher:'/],
    ["orders", "made", JSON.stringify("x".repeat(20_000)), "data", /limits\.event_data_bytes/],
    ["private-encrypted-a", "made", "{}", "channel", /encrypted/],
  ]) {
    await publish(page, channel, event, data);
    await page.waitForSelector(`#event-${field}[aria-invalid="true"]`);
    assert.match(await page.innerText("#event-result"), says);
    assert.equal(await page.locator('#event-form [aria-invalid="true"]').count(), 1);
    await page.evaluate(() => document.querySelectorAll("[aria-invalid]").forEach((field) => field.setAttribute("aria-invalid", "false")));
  }
});

test("the stream tells where events come from, and who comes, subscribes and goes", async (t) => {
  const page = await streaming(t);
  const [one, two] = [connect(t, gema, { token: jwt({ sub: "7" }) }), connect(t, gema, { token: jwt({ sub: "7" }) })];
  const [mine, theirs] = await Promise.all([one, two].map((client) => subscribed(client.subscribe("private-booking.7"))));
  const socket = await connected(one);
  await sdk.trigger("private-booking.7", "Paid", { status: "verified" });
  await line(page, "Paid").waitFor();
  assert.match(await line(page, "Paid").innerText(), /api/);
  const told = heard(theirs, "client-typing");
  mine.trigger("client-typing", { at: 1 });
  await told;
  await line(page, "client-typing").waitFor();
  one.disconnect();
  for (const word of ["connected", "subscribed", "disconnected"]) {
    await page.locator(`#log li[data-kind="${word}"]`, { hasText: socket }).first().waitFor();
  }
  assert.match(await page.locator('#log li[data-kind="disconnected"]', { hasText: socket }).innerText(), /code 10\d\d/);
  await page.getByLabel("Clients coming and going").uncheck();
  await line(page, "Paid").waitFor();
  assert.equal(await page.locator("#log li.news").count(), 0);
});

test("a pause holds what happens back and gives it all afterwards", async (t) => {
  const page = await streaming(t);
  await sdk.trigger("orders", "before", {});
  await line(page, "before").waitFor();
  await press(page, "Pause");
  for (const event of ["held-1", "held-2", "held-3"]) await sdk.trigger("orders", event, {});
  await page.getByRole("button", { name: "Resume (3 new)" }).waitFor();
  assert.equal(await line(page, "held").count(), 0);
  await picture(page, "paused");
  await page.getByRole("button", { name: "Resume (3 new)" }).click();
  for (const event of ["held-1", "held-2", "held-3"]) await line(page, event).waitFor();
  assert.match(await lines(page).first().innerText(), /held-3/);
});

test("a filter shows what fits of the past and of what comes, and the rest does not reach the page", async (t) => {
  const page = await streaming(t);
  await sdk.trigger("orders", "Made", { id: 1 });
  await sdk.trigger("stock", "Counted", { id: 2 });
  await line(page, "Counted").waitFor();
  const narrowed = page.waitForRequest((request) => request.url().includes("channel=ORD"));
  await page.fill("#live-channel", "ORD");
  await page.waitForFunction(() => !document.querySelector("#log").textContent.includes("Counted"));
  await line(page, "Made").waitFor();
  await narrowed;
  await sdk.trigger("stock", "Moved", { id: 3 });
  await sdk.trigger("orders", "Paid", { id: 4 });
  await line(page, "Paid").waitFor();
  assert.equal(await page.locator("#log li", { hasText: "Moved" }).count(), 0);
  await page.fill("#live-channel", "");
  await page.fill("#live-text", '"id":4');
  await page.waitForFunction(() => document.querySelectorAll("#log li:not(.gap)").length === 1);
  assert.match(await lines(page).first().innerText(), /Paid/);
});

test("who is disconnected from the inspector stays away, and who is asked to reconnect comes back", async (t) => {
  const app = await application(t, "orders");
  const socket = await app.evaluate(() => window.pusher.connection.socket_id);
  const page = await streaming(t, { view: "connections" });
  await page.fill("#connections-q", socket);
  await page.getByRole("button", { name: socket }).click();
  await page.getByText("Connected for").waitFor();
  assert.match(await page.innerText("#detail"), /orders/);
  await picture(page, "connection");
  await press(page, "Reconnect (4200: comes back)");
  await app.waitForFunction((socket) => window.pusher.connection.state === "connected" && window.pusher.connection.socket_id !== socket, socket);
  const codes = () => app.evaluate(() => [...new Set(window.closes.filter(Boolean))]); // the event says it, and the close
  assert.deepEqual(await codes(), [4200]);

  const again = await app.evaluate(() => window.pusher.connection.socket_id);
  await page.fill("#connections-q", again);
  await page.getByRole("button", { name: again }).click();
  await press(page, "Disconnect (4009: stays away)");
  await app.waitForFunction(() => window.pusher.connection.state === "disconnected");
  assert.deepEqual(await codes(), [4200, 4009]);
  await page.getByText("0 connections on this node").waitFor();
});

test("a channel shows its members", async (t) => {
  const clients = ["7", "8"].map((sub) => connect(t, gema, { token: jwt({ sub, name: `user ${sub}`, rooms: ["1"] }) }));
  await Promise.all(clients.map((client) => subscribed(client.subscribe("presence-room.1"))));
  const page = await streaming(t, { view: "channels" });
  await page.getByRole("button", { name: "presence-room.1" }).click();
  await page.getByText("2 members").waitFor();
  assert.deepEqual(await page.locator("#members li").allInnerTexts(), ["7", "8"]);
  await picture(page, "channel");
  await press(page, "Connections");
  await page.getByText("2 connections on this node").waitFor();
});

test("the log of webhooks has what was sent, and sends it again", async (t) => {
  const client = connect(t, gema);
  await subscribed(client.subscribe("hooked"));
  await until(() => receiver.taken("/hook?key=a-secret-of-the-receiver", "hooked").length === 1, "the delivery");
  const page = await streaming(t, { view: "webhooks" });
  const row = page.locator("#webhooks-rows tr", { hasText: "channel_occupied hooked" }).first();
  await row.waitFor();
  assert.match(await row.innerText(), /200/);
  await row.getByRole("button", { name: /Send delivery/ }).click();
  await page.getByText(/sent again: 200/).waitFor();
  const both = receiver.requests.filter(({ rawBody }) => rawBody.includes('"hooked"'));
  assert.equal(both.length, 2);
  assert.equal(both[0].rawBody, both[1].rawBody);
  assert.equal(both[0].headers["x-pusher-signature"], both[1].headers["x-pusher-signature"]);
  await page.locator("#webhooks-rows tr", { hasText: "by hand" }).first().waitFor();
  assert.doesNotMatch(await page.content(), /a-secret-of-the-receiver/);
  await picture(page, "webhooks");
  await row.getByRole("button", { name: /channel_occupied/ }).click();
  await page.locator("#detail pre").waitFor();
  assert.match(await page.innerText("#detail pre"), /"name": "channel_occupied"/);
});

test("with 10,000 channels the page has as many elements as with a hundred", async (t) => {
  const socket = new WebSocket(`ws://${gema.host}:${gema.port}/app/${APP.key}?protocol=7`);
  t.after(() => socket.terminate());
  await new Promise((good, bad) => socket.once("open", good).once("error", bad));
  let stand = 0;
  socket.on("message", (text) => (stand += String(text).includes("subscription_succeeded") ? 1 : 0));
  const page = await streaming(t, { view: "channels" });
  for (let n = 0; n < 10_000; n++) {
    const channel = `many.${String(n).padStart(5, "0")}`;
    socket.send(JSON.stringify({ event: "pusher:subscribe", data: { channel } }));
  }
  await until(() => stand === 10_000, "the subscriptions", 30_000);
  await page.fill("#channels-q", "many.");
  await page.getByText("10,000 channels").waitFor();
  assert.equal(await page.locator("#channels-rows tr").count(), 100);
  const most = await nodes(page);
  assert.ok(most < 3000, `${most} elements`);
  await picture(page, "channels-10000");
  await press(page, "Next page");
  await page.getByRole("button", { name: "many.00100", exact: true }).waitFor();
  await press(page, "Previous page");
  await page.getByRole("button", { name: "many.00000", exact: true }).waitFor();
  await page.fill("#channels-q", "many.0999");
  await page.getByText("10 channels").waitFor();

  // As in the live view, which was told of every one.
  await tab(page, "Live");
  await page.waitForFunction(() => document.querySelectorAll("#log li").length === 200);
  assert.ok((await nodes(page)) < 4000, `${await nodes(page)} elements`);
  await picture(page, "live-10000");
});

test("on a phone, in the dark, everything is in reach", async (t) => {
  const clients = ["7", "8", "9"].map((sub) => connect(t, gema, { token: jwt({ sub }) }));
  await Promise.all(clients.map((client) => subscribed(client.subscribe("phones"))));
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: "dark" };
  const page = await streaming(t, phone);
  await sdk.trigger("phones", "Rang", { from: "+62 812 0000 0000" });
  await line(page, "Rang").waitFor();
  for (const view of ["Live", "Connections", "Channels", "Publish", "Webhooks", "Health"]) {
    await page.getByRole("tab", { name: view }).tap();
    if (view === "Connections") await page.locator("#connections-rows tr[data-key]").first().waitFor();
    const [width, room] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(width <= room, `${view} is ${width} pixels wide`);
    await picture(page, `phone-${view.toLowerCase()}`);
  }
  const background = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  assert.equal(background, "rgb(14, 17, 22)");
});

test("it is used by the keyboard alone, and everything in it has a name", async (t) => {
  const page = await streaming(t);
  await page.getByRole("tab", { name: "Live" }).focus();
  for (const view of ["Connections", "Channels", "Publish", "Webhooks", "Health"]) {
    await page.keyboard.press("ArrowRight");
    await page.getByRole("tab", { name: view, selected: true }).waitFor();
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, select, textarea")]
        .filter((control) => control.checkVisibility())
        .filter((control) => !control.textContent.trim() && !control.ariaLabel && !control.labels?.length)
        .map(({ outerHTML }) => outerHTML),
    );
    assert.deepEqual(unnamed, [], view);
  }
  await picture(page, "health");
  await page.getByRole("tab", { name: "Health" }).press("Home");
  await sdk.trigger("orders", "Typed", { by: "hand" });
  const row = line(page, "Typed");
  await row.getByRole("button").first().focus();
  await page.keyboard.press("Enter");
  await row.locator("pre").waitFor();
  await row.getByRole("button", { name: "Publish again" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#event-data").press("Control+Enter");
  await page.getByText(/^Published to/).waitFor();
});

test("where there is a token the console asks for it, once", async (t) => {
  const locked = await start(config(), { GEMA_ADMIN__TOKEN: TOKEN });
  const page = await open(t, { server: locked });
  await page.getByLabel("Token").fill("a-wrong-one");
  await picture(page, "login");
  await press(page, "Log in");
  await page.getByText("This is not the token of admin.token").waitFor();
  await page.getByLabel("Token").fill(TOKEN);
  await press(page, "Log in");
  await page.waitForSelector('#state[data-is="live"]');
  assert.equal(await page.evaluate(() => document.cookie), "", "scripts do not see the session");
  await page.reload();
  await page.waitForSelector('#state[data-is="live"]');
  assert.doesNotMatch(await page.content(), new RegExp(`${TOKEN}|${APP.secret}`));
  await press(page, "Log out");
  await page.getByRole("dialog", { name: "gema console" }).waitFor();
});

test("a page of another site reads nothing and does nothing", async (t) => {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(`${gema.url}/up`);
  const tried = await page.evaluate(async (admin) => {
    const attempt = (path, options) => fetch(admin + path, options).then((response) => response.type, () => "refused");
    const body = JSON.stringify({ app: "1001", channel: "orders", event: "forged", data: "{}" });
    return [
      await attempt("/api/overview"),
      await attempt("/api/events", { method: "POST", body, headers: { "X-Gema-Console": "1" } }),
      await attempt("/api/events", { method: "POST", body, mode: "no-cors" }),
    ];
  }, gema.admin);
  assert.deepEqual(tried.slice(0, 2), ["refused", "refused"]);
  const console = await streaming(t);
  await sdk.trigger("orders", "afterwards", {});
  await line(console, "afterwards").waitFor();
  assert.equal(await line(console, "forged").count(), 0);
});
