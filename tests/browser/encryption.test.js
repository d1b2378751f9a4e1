// Encrypted channels in a real browser: what the Node SDK encrypts, pusher-js's build with encryption reads
// with the key that gema's authorizer hands to the user, and nobody between can.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { MASTER_KEY, backend, config, get, jwt, startGema, until } from "../clients/support.js";
import { launch } from "./chromium.js";
import { buildPages, certificate, serveSite } from "./site.js";

const CACHED = `
[[auth.channels]]
channel = "private-encrypted-cache-notes.{user}"
user = "{user}"
`;

const tls = certificate(after);
const gema = await startGema(after, config({ tls }) + CACHED);
const sdk = backend(gema, { ca: tls.certPem, encryptionMasterKeyBase64: MASTER_KEY });
const note = (text, by = sdk) => by.trigger("private-encrypted-notes.7", "note", { text });
await sdk.trigger("private-encrypted-cache-notes.7", "note", { text: "waiting since before" });

await buildPages(gema, "encrypted");
const address = await serveSite(after, gema, tls, "encrypted");
const browser = await launch(after);
const context = await browser.newContext({ ignoreHTTPSErrors: true });
await context.addInitScript((token) => {
  localStorage.setItem("token", token);
  localStorage.setItem("user_id", "7");
}, jwt({ sub: "7" }));
const page = await context.newPage();
page.setDefaultTimeout(10_000);
page.on("pageerror", (error) => assert.fail(error));
const frames = [];
page.on("websocket", (socket) => {
  if (socket.url().includes("/app/")) socket.on("framereceived", ({ payload }) => frames.push(payload.toString()));
});
await page.goto(address);
await until(async () => (await get(sdk, "/channels/private-encrypted-notes.7")).occupied, "the page listens");

const shown = (text) => page.locator("#notes li").filter({ hasText: text }).waitFor();

test("the page reads what was posted before it was opened", async () => {
  await shown("waiting since before");
});

test("the page reads what is posted now", async () => {
  await note("kamar 12 ☀");
  await shown("kamar 12 ☀");
});

test("an event of another key is not shown, and the next of the right one is", async () => {
  const otherKey = Buffer.alloc(32, "x").toString("base64");
  await note("forged", backend(gema, { ca: tls.certPem, encryptionMasterKeyBase64: otherKey }));
  await note("after the forged one");
  await shown("after the forged one");
  assert.equal(await page.locator("#notes li").count(), 3);
});

test("the channel of another user is shut", async () => {
  await page.locator("#refusal").filter({ hasText: "refused with 403" }).waitFor();
});

test("on the wire there is only the nonce and the ciphertext", () => {
  const notes = frames.map((frame) => JSON.parse(frame)).filter(({ event }) => event === "note");
  assert.equal(notes.length, 4);
  for (const { data } of notes) assert.deepEqual(Object.keys(JSON.parse(data)).sort(), ["ciphertext", "nonce"]);
});
