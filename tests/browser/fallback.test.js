// Networks that let no WebSocket through: pusher-js in a real browser, on a page of another origin, by HTTP alone.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";

import { chromium } from "playwright-core";

import { APP, ROOT, backend, connect, connected, get, heard, jwt, startGema, subscribed, until } from "../clients/support.js";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PUSHER = readFileSync(join(ROOT, "tests/node_modules/pusher-js/dist/web/pusher.js"));

// The outbox holds all of the flood below: it comes faster than a page can ask anew.
const gema = await startGema(after, undefined, { GEMA_LIMITS__OUTBOX_BYTES: "10000000" });
const sdk = backend(gema);
const address = await serveSite();
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--no-sandbox"],
});
after(() => browser.close());

/** A page with nothing but pusher-js on it. */
async function serveSite() {
  const server = createServer((incoming, outgoing) => {
    if (incoming.url === "/pusher.js") return outgoing.setHeader("Content-Type", "text/javascript").end(PUSHER);
    outgoing.setHeader("Content-Type", "text/html; charset=utf-8").end('<script src="/pusher.js"></script>');
  });
  await new Promise((good, bad) => server.once("error", bad).listen(0, "127.0.0.1", good));
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

/** A page connected by `transport` as user 8 and subscribed to `channels`; what it hears gathers in window.heard. */
async function openPage(t, transport, channels, more = {}) {
  const page = await browser.newPage();
  t.after(() => page.close());
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => assert.fail(error));
  page.requested = [];
  page.on("request", (request) => page.requested.push(new URL(request.url()).pathname.split("/").at(-1)));
  page.on("websocket", () => assert.fail("a WebSocket where HTTP was asked for"));
  await page.goto(address);
  const options = {
    cluster: "",
    wsHost: gema.host,
    wsPort: gema.port,
    httpHost: gema.host,
    httpPort: gema.port,
    forceTLS: false,
    enabledTransports: [transport],
    authEndpoint: `${gema.url}/api/broadcasting/auth`,
    auth: { headers: { Authorization: `Bearer ${jwt({ sub: "8", name: "Budi", rooms: ["1"] })}` } },
    ...more,
  };
  await page.evaluate(
    ([key, options, channels]) => {
      window.heard = [];
      window.states = [];
      window.pusher = new Pusher(key, options);
      pusher.connection.bind("state_change", ({ current }) => states.push(current));
      pusher.bind_global((event, data) => heard.push({ event, data }));
      channels.forEach((name) => pusher.subscribe(name));
    },
    [APP.key, options, channels],
  );
  return page;
}

const allSubscribed = (page) => page.waitForFunction(() => pusher.channels.all().every((channel) => channel.subscribed));

/** The data of the page's first `event`. */
async function heardBy(page, event) {
  const found = await page.waitForFunction((event) => heard.find((one) => one.event === event), event);
  return (await found.jsonValue()).data;
}

const TRANSPORTS = ["xhr_streaming", "xhr_polling"];

test("a page that only waits is not taken for dead", async (t) => {
  const open = (transport) => openPage(t, transport, ["quiet"], { activityTimeout: 1000, pongTimeout: 25_000 });
  const pages = await Promise.all(TRANSPORTS.map(open));
  await Promise.all(pages.map(allSubscribed));
  await pages[0].waitForTimeout(23_000); // past the server's own heartbeat, after 20 s
  for (const page of pages) assert.deepEqual(await page.evaluate(() => states), ["connected"]);
  await sdk.trigger("quiet", "late", {});
  await Promise.all(pages.map((page) => heardBy(page, "late")));
});

test("a client that gets no WebSocket falls back by itself", async (t) => {
  const http = { httpHost: gema.host, httpPort: gema.port, enabledTransports: ["ws", ...TRANSPORTS] };
  const client = connect(t, gema, { ...http, wsPort: 1 }); // nobody listens there
  await subscribed(client.subscribe("news"));
  const headline = heard(client, "headline");
  await sdk.trigger("news", "headline", {});
  await headline;
});

for (const transport of TRANSPORTS) {
  test(`${transport}: public, private and presence channels are heard, and client events go both ways`, async (t) => {
    const friend = connect(t, gema, { token: jwt({ sub: "7", name: "Ani", rooms: ["1"] }) });
    const room = await subscribed(friend.subscribe("presence-room.1"));
    const added = heard(room, "pusher:member_added");
    const page = await openPage(t, transport, ["news", "private-booking.8", "presence-room.1"]);
    await allSubscribed(page);
    assert.deepEqual((await added)[0], { id: "8", info: { name: "Budi" } });
    const members = () => pusher.channel("presence-room.1").members;
    assert.equal(await page.evaluate(`(${members})().count`), 2);

    const text = 'selamat "pagi" ☀ 😀';
    await sdk.trigger("news", "headline", { text });
    assert.deepEqual(await heardBy(page, "headline"), { text });
    await sdk.trigger("private-booking.8", "paid", { amount: 50000 });
    assert.deepEqual(await heardBy(page, "paid"), { amount: 50000 });

    const asked = heard(room, "client-ask");
    await page.evaluate(() => pusher.channel("presence-room.1").trigger("client-ask", { who: "there" }));
    assert.deepEqual(await asked, [{ who: "there" }, { user_id: "8" }]);
    room.trigger("client-answer", { me: true });
    assert.deepEqual(await heardBy(page, "client-answer"), { me: true });

    const receives = transport === "xhr_streaming" ? "xhr_streaming" : "xhr";
    assert.ok(page.requested.includes(receives) && page.requested.includes("xhr_send"), String(page.requested));
    const removed = heard(room, "pusher:member_removed");
    await page.evaluate(() => pusher.disconnect());
    assert.equal((await removed)[0].id, "8");
  });

  test(`${transport}: a thousand large events arrive in order, over many requests and one connection`, async (t) => {
    const page = await openPage(t, transport, ["flood"]);
    await allSubscribed(page);
    const socketId = await page.evaluate(() => pusher.connection.socket_id);
    const padding = "é☀".repeat(1000);
    const batch = (first) =>
      Array.from({ length: 10 }, (_, n) => ({ channel: "flood", name: "n", data: { n: first + n, padding } }));
    for (let first = 0; first < 1000; first += 10) await sdk.triggerBatch(batch(first));
    const count = () => page.evaluate(() => heard.filter(({ event }) => event === "n").length);
    await until(async () => (await count()) === 1000, "all are heard");
    const numbers = await page.evaluate(() => heard.filter(({ event }) => event === "n").map(({ data }) => data.n));
    assert.deepEqual(numbers, [...Array(1000).keys()]);
    assert.equal(await page.evaluate(() => pusher.connection.socket_id), socketId);
    const receives = page.requested.filter((name) => name === "xhr_streaming" || name === "xhr").length;
    assert.ok(receives >= 8, `${receives} requests`); // 2 million characters, 256 Ki a request
  });

  test(`${transport}: a wrong key keeps the page away`, async (t) => {
    const page = await openPage(t, transport, []);
    await page.evaluate((options) => {
      window.refused = new Pusher("no-such-key", options);
      refused.connection.bind("error", ({ error }) => (window.code = error?.data?.code));
    }, { cluster: "", httpHost: gema.host, httpPort: gema.port, forceTLS: false, enabledTransports: [transport] });
    await page.waitForFunction(() => window.code === 4001 && refused.connection.state === "disconnected");
  });

  test(`${transport}: a page that is closed leaves its channels`, async (t) => {
    const page = await openPage(t, transport, ["closing"]);
    await allSubscribed(page);
    await page.close();
    const occupied = async () => (await get(sdk, "/channels/closing")).occupied;
    await until(async () => !(await occupied()), "closing is unoccupied");
  });

  test(`${transport}: pusher-js under Node does the same`, async (t) => {
    const http = { httpHost: gema.host, httpPort: gema.port, enabledTransports: [transport] };
    const client = connect(t, gema, { token: jwt({ sub: "8", name: "Budi", rooms: ["1"] }), ...http });
    assert.match(await connected(client), /^\d+\.\d+$/);
    const channel = await subscribed(client.subscribe("private-booking.8"));
    const paid = heard(channel, "paid");
    await sdk.trigger("private-booking.8", "paid", { amount: 50000 });
    assert.deepEqual((await paid)[0], { amount: 50000 });
  });
}
