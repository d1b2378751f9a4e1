// The booking document's pages in a real browser, over TLS: every event it names arrives with its values.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { backend, config, get, jwt, startGema, until } from "../clients/support.js";
import { launch } from "./chromium.js";
import { events } from "./events.js";
import { OUT, buildPages, certificate, serveSite } from "./site.js";

// Who listens once the page is up: availability in React and in Vue, the others once; and the page's window.Echo.
const LISTENERS = { availability: 3, "private-booking.7": 2, admin: 2, staff: 2 };

const tls = certificate(after);
const gema = await startGema(after, config({ tls }));
const sdk = backend(gema, { ca: tls.certPem });
await buildPages(gema);
const address = await serveSite(after, gema, tls);

mkdirSync(OUT, { recursive: true });
const browser = await launch(after);
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const token = jwt({ sub: "7", name: "John Doe" });
await context.addInitScript((token) => {
  localStorage.setItem("token", token);
  localStorage.setItem("user_id", "7");
}, token);
const page = await context.newPage();
page.setDefaultTimeout(10_000);
page.on("pageerror", (error) => assert.fail(error));
await page.goto(address);
// The document's components show a part of a payload only; window.Echo, set up as it says, keeps them whole.
await page.evaluate((events) => {
  window.received = {};
  for (const [name, event] of events) {
    const channel = name.startsWith("private-") ? window.Echo.private(name.slice(8)) : window.Echo.channel(name);
    channel.listen(event, (payload) => (window.received[event] = payload));
  }
}, events);
for (const [channel, count] of Object.entries(LISTENERS)) {
  const path = `/channels/${channel}`;
  const everybody = async () => (await get(sdk, path, { info: "subscription_count" })).subscription_count === count;
  await until(everybody, `${count} listening on ${channel}`);
}

const shows = (selector, text) => page.locator(selector).filter({ hasText: text }).waitFor();
const SHOWN = {
  AvailabilityUpdated: async () => {
    await shows(".availability p", "Morning Session: 5 of 20 free");
    await shows("#vue h3", "Morning Session");
    await shows("#vue p", "Available: 5/20");
  },
  CapacityUpdated: () => shows(".availability p", "Morning Session: 5 of 20 free, capacity 15/20"),
  BookingStatusUpdated: () => shows(".booking-status p", "Status: confirmed"),
  PaymentStatusUpdated: () => shows(".booking-status p", "Payment: verified"),
  NewBookingNotification: () => shows(".admin-notifications p", "New booking from John Doe"),
  PaymentVerificationRequired: () =>
    shows(".admin-notifications p", "Payment verification required for John Doe"),
  CheckInNotification: () => shows(".staff-notifications p", "John Doe checked in at 2024-01-15T08:05:00Z"),
  CheckOutNotification: () => shows(".staff-notifications p", "John Doe checked out at 2024-01-15T10:00:00Z"),
};

for (const [channel, event, data] of events) {
  test(`${event} posted on ${channel} is shown by the page`, async () => {
    await sdk.trigger(channel, `App\\Events\\${event}`, { event, data });
    await SHOWN[event]();
    await page.waitForFunction((event) => window.received[event], event);
    assert.deepEqual(await page.evaluate((event) => window.received[event], event), { event, data });
  });
}

test("the page looks as the events say", async () => {
  await page.screenshot({ path: join(OUT, "booking.png"), fullPage: true });
  assert.equal(await page.locator(".notification").count(), 2);
});

test("the document's axios call is given a signature for the user's own channel only", async () => {
  const authenticate = (channel) =>
    page.evaluate((name) => window.authenticateBroadcasting(window.Echo.socketId(), name), channel);
  await page.waitForFunction(() => window.Echo.socketId());
  assert.match((await authenticate("private-booking.7")).auth, /^test-key:[0-9a-f]{64}$/);
  assert.equal(await authenticate("private-booking.8"), undefined);
});

test("after echo.leave the server has no listener left", async () => {
  await page.getByRole("button", { name: "Leave" }).click(); // unmounts the components
  await page.evaluate(() => ["availability", "booking.7", "admin", "staff"].forEach((name) => window.Echo.leave(name)));
  await until(async () => !Object.keys((await get(sdk, "/channels")).channels).length, "every channel is left");
});
