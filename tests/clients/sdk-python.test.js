// What a Python backend may rely on: the HTTP API as Pusher's own SDK for Python uses it.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { connect, heard, jwt, python, startGema, subscribed } from "./support.js";

const ani = jwt({ sub: "7", name: "Ani", rooms: ["1"] });

const gema = await startGema(after);

test("trigger and trigger_batch are heard by pusher-js", async (t) => {
  const channel = await subscribed(connect(t, gema).subscribe("orders"));
  const [one, two, three] = ["one", "two", "three"].map((event) => heard(channel, event));
  const batch = [
    { channel: "orders", name: "two", data: { n: 2 } },
    { channel: "orders", name: "three", data: "3" },
  ];
  const answers = await python(gema, [
    ["trigger", { channels: ["orders"], event_name: "one", data: { n: 1, text: "é" } }],
    ["trigger_batch", { batch }],
  ]);
  assert.deepEqual(answers, [{}, {}]);
  assert.deepEqual((await one)[0], { n: 1, text: "é" });
  assert.deepEqual((await two)[0], { n: 2 });
  assert.deepEqual((await three)[0], 3); // pusher-js decodes a string that is JSON
});

test("channels_info, channel_info and users_info tell who is there", async (t) => {
  await subscribed(connect(t, gema, { token: ani }).subscribe("presence-room.1"));
  const channel = "presence-room.1";
  const answers = await python(gema, [
    ["channels_info", { prefix_filter: "presence-", attributes: ["user_count"] }],
    ["channel_info", { channel, attributes: ["user_count", "subscription_count"] }],
    ["users_info", { channel }],
  ]);
  assert.deepEqual(answers, [
    { channels: { [channel]: { user_count: 1 } } },
    { occupied: true, user_count: 1, subscription_count: 1 },
    { users: [{ id: "7" }] },
  ]);
});
