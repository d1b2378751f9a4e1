// What a page with Laravel Echo may rely on in the chat: two users, each at a node of their own.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import Echo from "laravel-echo";
import Pusher from "pusher-js";

import { Node, directory, startRedis } from "./nodes.js";
import { APP, config, connected, jwt, options, until, within } from "./support.js";

const RULE = `
[[auth.channels]]
channel = "private-chat.{user}"
user = "{user}"
`;

const settings = {
  GEMA_REDIS__URL: await startRedis(after),
  GEMA_DATABASE__URL: `sqlite://${directory(after)}/chat.db`,
};
const nodes = [await Node.start(after, settings, config() + RULE), await Node.start(after, settings, config() + RULE)];

const tokens = {
  7: jwt({ sub: 7, name: "Ani", photo_url: "https://example.com/ani.png", table_number: "12" }),
  8: jwt({ sub: "8", name: "Budi" }),
};

/** The user's page at a node, in the channel of its messages. */
async function page(t, user, node) {
  const gema = { host: node.host, port: node.port, tls: false, url: node.url };
  const echo = new Echo({ broadcaster: "pusher", key: APP.key, Pusher, ...options(gema, tokens[user]) });
  t.after(() => echo.disconnect());
  await connected(echo.connector.pusher);
  const channel = echo.private(`chat.${user}`);
  const heard = [];
  for (const event of ["receive_message", "message_sent", "messege_read", "error"]) {
    channel.listen(`.${event}`, (data) => heard.push([event, data]));
  }
  await within(
    new Promise((good, bad) => channel.subscribed(good).error((why) => bad(new Error(JSON.stringify(why))))),
    `chat.${user}`,
  );
  return { channel, heard };
}

/** Resolves with the data of the first event of that name. */
async function event({ heard }, name) {
  const found = () => heard.find(([event]) => event === name);
  await until(found, `the event ${name}`);
  return found()[1];
}

async function api(node, user, path, method = "GET") {
  const headers = { Authorization: `Bearer ${tokens[user]}` };
  const answer = await fetch(`${node.url}/api/chats${path}`, { method, headers });
  return answer.json();
}

test("two users at two nodes write to each other, and see what was read", async (t) => {
  const [one, two] = nodes;
  const [ani, alsoAni, budi] = [await page(t, 7, one), await page(t, 7, two), await page(t, 8, two)];
  ani.channel.whisper("send_message", { receiver_id: 8, content: "Halo!", client_id: "m-1" });

  const received = await event(budi, "receive_message");
  const { id, created_at } = received;
  assert.match(created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  const sender = { name: "Ani", photo_url: "https://example.com/ani.png", table_number: "12" };
  assert.deepEqual(received, { id, sender_id: 7, receiver_id: 8, content: "Halo!", created_at, sender });
  const sent = { id, receiver_id: 8, content: "Halo!", created_at, client_id: "m-1" };
  assert.deepEqual(await event(ani, "message_sent"), sent);
  assert.deepEqual(await event(alsoAni, "message_sent"), sent);

  const unread = [{ id, sender_id: 7, receiver_id: 8, content: "Halo!", created_at }];
  assert.deepEqual(await api(one, 8, "/unread"), { success: true, data: unread });
  budi.channel.whisper("mark_as_read", { message_id: id });
  assert.deepEqual(await event(ani, "messege_read"), { message_id: id, user_id: 8 });
  assert.deepEqual(await api(one, 8, "/unread"), { success: true, data: [] });

  budi.channel.whisper("send_message", { receiver_id: 7, content: "Halo juga" });
  const answer = await event(ani, "receive_message");
  assert.deepEqual([answer.sender_id, answer.content, answer.sender], [8, "Halo juga", { name: "Budi" }]);
  const [recent] = (await api(two, 7, "/")).data;
  assert.deepEqual([recent.user_id, recent.username, recent.last_message, recent.unread_count], [8, "Budi", "Halo juga", 1]);
  assert.deepEqual(await api(two, 7, `/${answer.id}/read`, "PATCH"), { success: true });
  assert.deepEqual(await event(budi, "messege_read"), { message_id: answer.id, user_id: 7 });
  assert.deepEqual((await api(one, 7, "/history/8")).data.map(({ content, is_read }) => [content, is_read]), [
    ["Halo juga", true],
    ["Halo!", true],
  ]);
});

test("a message that cannot be is told to its sender alone", async (t) => {
  const [ani, budi] = [await page(t, 7, nodes[0]), await page(t, 8, nodes[1])];
  ani.channel.whisper("send_message", { receiver_id: 8, content: "" });
  const { code, message } = await event(ani, "error");
  assert.equal(code, "empty");
  assert.ok(message);
  ani.channel.whisper("send_message", { receiver_id: 8, content: "after" });
  await event(budi, "receive_message");
  assert.deepEqual(budi.heard.map(([event]) => event), ["receive_message"]);
});
