// /websocket-test.html in Chromium: it connects by each protocol, shows events as they come, publishes in development, and
// asks no other server for anything.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";

import { jwt, startGema, until } from "../clients/support.js";
import { chatting } from "../clients/socketio.js";
import { launch } from "./chromium.js";
import { OUT } from "./site.js";

const development = await startGema(after, null, { JWT_SECRET: "a-secret-of-the-tests-that-is-long-enough" });
const production = await startGema(after, chatting());
const browser = await launch(after);

/** The page of `gema`, which fails the test on errors and on requests to anybody else. */
async function open(t, gema) {
  const page = await browser.newPage({ viewport: { width: 1000, height: 900 } });
  t.after(() => page.close());
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => assert.fail(error));
  page.on("request", (request) => assert.ok(request.url().startsWith(gema.url) || request.url().startsWith("data:"), request.url()));
  await page.goto(`${gema.url}/websocket-test.html`);
  return page;
}

const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

async function connect(page, protocol, token = "") {
  await page.selectOption("#protocol", protocol);
  await page.fill("#token", token);
  await press(page, "Connect");
  await page.waitForSelector('#state[data-is="connected"]');
}

const line = (page, event) => page.locator("#log li", { has: page.locator(`b:text-is(${JSON.stringify(event)})`) }).first();

test("in development it hears by Socket.IO what it has published itself", async (t) => {
  const page = await open(t, development);
  await connect(page, "Socket.IO");
  await press(page, "Publish");
  await line(page, "new-order").waitFor();
  assert.match(await line(page, "new-order").innerText(), /INV-20231103-0001/);
  await page.fill("#channel", "orders.1");
  await press(page, "Subscribe");
  await line(page, "(answer to subscribe)").waitFor();
  await page.fill("#to", "orders.1");
  await page.fill("#event", "order-status");
  await page.fill("#data", '{"status":"siap ☀"}');
  await press(page, "Publish");
  await line(page, "order-status").waitFor();
  await page.screenshot({ path: join(OUT, "websocket-test.png") });
  await press(page, "Disconnect");
  await page.waitForSelector('#state[data-is="closed"]');
});

test("by the Pusher protocol, with a token, it hears a private channel", async (t) => {
  const page = await open(t, development);
  await connect(page, "Pusher", jwt({ sub: "7" }));
  for (const channel of ["orders", "private-booking.7"]) {
    await page.fill("#channel", channel);
    await press(page, "Subscribe");
    await line(page, `pusher_internal:subscription_succeeded @ ${channel}`).waitFor();
  }
  await page.fill("#to", "private-booking.7");
  await press(page, "Publish");
  await line(page, "new-order @ private-booking.7").waitFor();
});

test("by a plain WebSocket, with a token, it hears its user's messages", async (t) => {
  const page = await open(t, development);
  await connect(page, "Plain WebSocket", jwt({ sub: "7" }));
  await page.fill("#channel", "orders");
  await press(page, "Subscribe");
  const heard = async () => {
    await press(page, "Publish");
    return (await line(page, "new-order").count()) > 0;
  };
  await until(heard, "the event"); // nothing says when the subscription stands
});

test("a token that is not believed is told", async (t) => {
  const page = await open(t, development);
  await page.selectOption("#protocol", "Socket.IO");
  await page.fill("#token", "no.such.token");
  await press(page, "Connect");
  await page.waitForSelector('#state[data-is="failed"]');
  await line(page, "connect_error").waitFor();
});

test("a server with a secret of its own does not tell it", async (t) => {
  const page = await open(t, production);
  assert.doesNotMatch(await page.content(), /test-secret/);
  assert.match(await page.innerText("#how"), /this server's secret is its own/);
  await connect(page, "Socket.IO");
});
