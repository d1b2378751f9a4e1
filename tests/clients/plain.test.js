// What a client of the plain door may rely on beyond its documents: every event of its channels, over TLS too, from
// back ends and from clients of other doors.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { certificate } from "../browser/site.js";
import { door, open, plainConfig } from "./plain.js";
import { backend, connect, get, heard, jwt, startGema, subscribed, until } from "./support.js";

const ani = jwt({ sub: "7", name: "Ani", rooms: ["1"] });
const budi = jwt({ sub: "8", name: "Budi", rooms: ["1"] });

const gema = await startGema(after, plainConfig());
const sdk = backend(gema);

test("an event posted once is heard by pusher-js and here, in order and with the same data", async (t) => {
  const ws = await open(t, door(gema, ani));
  ws.say({ type: "subscribe", data: { channel: "orders" } });
  await ws.settled();
  const channel = await subscribed(connect(t, gema).subscribe("orders"));
  const numbers = [];
  channel.bind("n", ({ n }) => numbers.push(n));
  for (let n = 0; n < 50; n++) await sdk.trigger("orders", "n", { n, text: "é😀" });
  await until(() => numbers.length === 50, "50 events at pusher-js");
  const here = (await ws.settled()).filter(({ type }) => type === "n");
  assert.deepEqual(here.map(({ data }) => data.n), numbers);
  assert.deepEqual(here[0].data, { n: 0, text: "é😀" });
});

test("a room has the same members for pusher-js and here", async (t) => {
  const ws = await open(t, door(gema, ani));
  ws.say({ type: "subscribe", data: { channel: "presence-room.1" } });
  await ws.settled();
  const room = await subscribed(connect(t, gema, { token: budi }).subscribe("presence-room.1"));
  assert.deepEqual(Object.keys(room.members.members).sort(), ["7", "8"]);
  const added = await ws.next(({ type }) => type === "member_added");
  assert.deepEqual(added.data, { user_id: "8", user_info: { name: "Budi" } });
  const wave = heard(room, "client-typing_start");
  ws.say({ type: "typing_start", data: { room_id: "1" } });
  assert.deepEqual((await wave)[0], { room_id: "1", user_id: 7 });
  room.trigger("client-typing_start", { room_id: "1" });
  assert.deepEqual((await ws.next(({ type }) => type === "typing_start")).data, { room_id: "1" });
  const removed = heard(room, "pusher:member_removed");
  ws.close();
  assert.equal((await removed)[0].id, "7");
});

test("the last event of a cache channel is replayed", async (t) => {
  await sdk.trigger("cache-menu", "changed", { soup: "tomato" });
  const ws = await open(t, door(gema, ani));
  ws.say({ type: "subscribe", data: { channel: "cache-menu" } });
  assert.equal((await ws.next()).type, "subscription_succeeded");
  const { type, data } = await ws.next();
  assert.deepEqual([type, data], ["changed", { soup: "tomato" }]);
});

test("over TLS, with an event longer than one record", async (t) => {
  const tls = certificate(t.after.bind(t));
  const limits = { GEMA_LIMITS__EVENT_DATA_BYTES: "200000" };
  const secure = await startGema(t.after.bind(t), plainConfig({ tls }), limits);
  const ws = await open(t, door(secure, ani), { ca: tls.certPem });
  ws.say({ type: "subscribe", data: { channel: "news" } });
  await ws.settled();
  const long = "x".repeat(100_000);
  await backend(secure, { ca: tls.certPem }).trigger("news", "long", { long });
  assert.deepEqual((await ws.next()).data, { long });
  await ws.settled();
});

test("who has gone is a subscriber no more", async (t) => {
  const ws = await open(t, door(gema, ani));
  ws.say({ type: "subscribe", data: { channel: "short" } });
  await ws.settled();
  assert.ok((await get(sdk, "/channels/short")).occupied);
  ws.terminate();
  await until(async () => !(await get(sdk, "/channels/short")).occupied, "an empty channel");
});
