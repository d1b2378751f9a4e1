// What a Python backend may rely on: the HTTP API as Pusher's own SDK for Python uses it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, test } from "node:test";

import { APP, PYTHON, ROOT, connect, heard, jwt, startGema, subscribed, within } from "./support.js";

const ani = jwt({ sub: "7", name: "Ani", rooms: ["1"] });

const gema = await startGema(after);

/** Has the SDK carry out `calls` ([method, keyword arguments]) and gives what each returned. */
async function python(...calls) {
  const child = spawn(PYTHON, [join(ROOT, "tests/clients/publisher.py")], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((good, bad) => child.once("error", bad).once("close", good));
  const account = { app_id: APP.id, key: APP.key, secret: APP.secret };
  child.stdin.end(JSON.stringify({ connect: { ...account, host: gema.host, port: gema.port, ssl: false }, calls }));
  const [output, code] = await within(Promise.all([text(child.stdout), ended]), "publisher.py");
  assert.equal(code, 0, "publisher.py ends well");
  return output.trim().split("\n").map((line) => JSON.parse(line));
}

test("trigger and trigger_batch are heard by pusher-js", async (t) => {
  const channel = await subscribed(connect(t, gema).subscribe("orders"));
  const [one, two, three] = ["one", "two", "three"].map((event) => heard(channel, event));
  const batch = [
    { channel: "orders", name: "two", data: { n: 2 } },
    { channel: "orders", name: "three", data: "3" },
  ];
  const answers = await python(
    ["trigger", { channels: ["orders"], event_name: "one", data: { n: 1, text: "é" } }],
    ["trigger_batch", { batch }],
  );
  assert.deepEqual(answers, [{}, {}]);
  assert.deepEqual((await one)[0], { n: 1, text: "é" });
  assert.deepEqual((await two)[0], { n: 2 });
  assert.deepEqual((await three)[0], 3); // pusher-js decodes a string that is JSON
});

test("channels_info, channel_info and users_info tell who is there", async (t) => {
  await subscribed(connect(t, gema, { token: ani }).subscribe("presence-room.1"));
  const channel = "presence-room.1";
  const answers = await python(
    ["channels_info", { prefix_filter: "presence-", attributes: ["user_count"] }],
    ["channel_info", { channel, attributes: ["user_count", "subscription_count"] }],
    ["users_info", { channel }],
  );
  assert.deepEqual(answers, [
    { channels: { [channel]: { user_count: 1 } } },
    { occupied: true, user_count: 1, subscription_count: 1 },
    { users: [{ id: "7" }] },
  ]);
});
