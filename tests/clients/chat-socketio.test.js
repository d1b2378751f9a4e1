// The chat's document: socket.io-client with a token at the handshake sends, hears and marks messages; they are stored
// first, and read back over REST.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";

import { Node, directory, startRedis } from "./nodes.js";
import { ask, chatReady, chatting, connect, connected, next } from "./socketio.js";
import { jwt, startGema, until, within } from "./support.js";

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const gema = await startGema(after, chatting());
await chatReady(gema);

const tokens = { 1: jwt({ sub: "1", name: "Ani" }), 2: jwt({ sub: 2, name: "user2", avatar: "url_avatar" }) };
const user = (t, id, more = {}) => connected(connect(t, gema, { auth: { token: tokens[id] }, ...more }));
const rest = async (path, id, method = "GET", server = gema) => {
  const answer = await fetch(`${server.url}/api/chats${path}`, { method, headers: { Authorization: `Bearer ${tokens[id]}` } });
  return answer.json();
};

for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  test(`a message goes to each connection of the receiver and is confirmed to the sender, by ${transports}`, async (t) => {
    const [ani, tab, phone] = await Promise.all([1, 2, 2].map((id) => user(t, id, { transports })));
    ani.on("receive_message", () => assert.fail("one's own message"));
    const received = [tab, phone].map((socket) => next(socket, "receive_message"));
    const sent = next(ani, "message_sent");
    ani.emit("send_message", { receiver_id: 2, content: "Halo!" });
    const [confirmation] = await sent;
    const { id, created_at, ...rest } = confirmation;
    assert.deepEqual(rest, { receiver_id: 2, content: "Halo!" });
    assert.ok(Number.isInteger(id) && RFC3339.test(created_at), JSON.stringify(confirmation));
    for (const args of received) {
      const [{ sender, ...message }] = await args;
      assert.deepEqual(message, { id, sender_id: 1, receiver_id: 2, content: "Halo!", created_at });
      assert.deepEqual(sender, { name: "Ani" });
    }
  });
}

test("who waits for an answer gets the stored message, or why there is none", async (t) => {
  const ani = await user(t, 1);
  const answer = await ask(ani, "send_message", { receiver_id: 2, content: "Halo lagi" });
  assert.deepEqual([answer.ok, answer.receiver_id, answer.content], [true, 2, "Halo lagi"]);
  assert.equal((await ask(ani, "send_message", { receiver_id: 2, content: "" })).code, "empty");
  assert.equal((await ask(ani, "send_message", { content: "to whom?" })).code, "bad_request");
  const error = next(ani, "error");
  ani.emit("send_message", { receiver_id: 2, content: "" });
  const [{ message, code }] = await error;
  assert.equal(code, "empty");
  assert.equal(typeof message, "string");
});

test("a message sent again under its name is the same message, and is heard once", async (t) => {
  const [ani, budi] = await Promise.all([user(t, 1), user(t, 2)]);
  const heard = [];
  budi.on("receive_message", ({ content }) => heard.push(content));
  const again = { receiver_id: 2, content: "sekali", client_id: "a-1" };
  const [first, second] = [await ask(ani, "send_message", again), await ask(ani, "send_message", again)];
  assert.equal(first.id, second.id);
  await ask(ani, "send_message", { receiver_id: 2, content: "akhir" });
  await until(() => heard.includes("akhir"), "the last message");
  assert.deepEqual(heard, ["sekali", "akhir"]);
});

test("the author hears, once, that a message was read", async (t) => {
  const [ani, budi] = await Promise.all([user(t, 1), user(t, 2)]);
  const received = next(budi, "receive_message");
  ani.emit("send_message", { receiver_id: 2, content: "Sudah baca?" });
  const [{ id }] = await received;
  const unread = await rest("/unread", 2);
  assert.ok(unread.success && unread.data.some((message) => message.id === id));
  assert.equal((await ask(ani, "mark_as_read", { message_id: id })).code, "not_yours");

  const marks = [];
  ani.on("messege_read", (mark) => marks.push(mark));
  budi.emit("mark_as_read", { message_id: id });
  assert.deepEqual(await ask(budi, "mark_as_read", { message_id: id }), { ok: true });
  await ask(budi, "send_message", { receiver_id: 1, content: "Ya" });
  await until(() => marks.length > 0, "messege_read");
  assert.deepEqual(marks, [{ message_id: id, user_id: 2 }]);
  const { data } = await rest("/history/2", 1);
  assert.equal(data.find((message) => message.id === id).is_read, true);
});

test("what was said is read over REST, with the other's name and picture", async (t) => {
  await user(t, 2);
  const ani = await user(t, 1);
  const { id } = await ask(ani, "send_message", { receiver_id: 2, content: "terakhir" });
  const recent = async () => (await rest("/", 1)).data.find(({ user_id }) => user_id === 2);
  await until(async () => (await recent()).username === "user2", "the profile is kept");
  const { username, avatar, last_message, last_message_time } = await recent();
  assert.deepEqual([username, avatar, last_message], ["user2", "url_avatar", "terakhir"]);
  assert.match(last_message_time, RFC3339);
  assert.equal((await rest(`/${id}/read`, 2, "PATCH")).success, true);
});

test("a token that is not valid is refused at the handshake", async (t) => {
  const socket = connect(t, gema, { auth: { token: `${tokens[1]}x` } });
  socket.on("connect", () => assert.fail("connected"));
  const [error] = await next(socket, "connect_error");
  assert.ok(error.message.length > 0);
  assert.ok(!socket.active, "and does not try for ever");
});

test("a thousand messages on the way between two users arrive in order", async (t) => {
  const fast = await startGema((end) => t.after(end), chatting(), { GEMA_LIMITS__CLIENT_EVENTS_PER_S: "0" });
  await chatReady(fast);
  const open = (id) => connected(connect(t, fast, { auth: { token: tokens[id] } }));
  const [ani, budi] = await Promise.all([open(1), open(2)]);
  const heard = [];
  budi.on("receive_message", ({ content }) => heard.push(Number(content)));
  for (let n = 0; n < 1000; n += 20) {
    const send = (_, k) => ask(ani, "send_message", { receiver_id: 2, content: String(n + k) });
    await Promise.all(Array.from({ length: 20 }, send));
  }
  await until(() => heard.length === 1000, "all are heard");
  assert.deepEqual(heard, [...Array(1000).keys()]);
});

test("users on two nodes write to each other, and the history is one", async (t) => {
  const hook = (end) => t.after(end);
  const database = `sqlite://${join(directory(hook), "chat.db")}`;
  const settings = { GEMA_REDIS__URL: await startRedis(hook), GEMA_DATABASE__URL: database };
  const nodes = [];
  for (let n = 0; n < 2; n += 1) nodes.push(await Node.start(hook, settings, chatting()));
  await Promise.all(nodes.map(chatReady));
  const open = (node, id, transports) => connected(connect(t, node, { auth: { token: tokens[id] }, transports }));
  const ani = await open(nodes[0], 1, ["websocket"]);
  const budi = await open(nodes[1], 2, ["polling"]);
  const received = next(budi, "receive_message");
  assert.equal((await ask(ani, "send_message", { receiver_id: 2, content: "Halo dari jauh" })).ok, true);
  const [{ id, content }] = await received;
  assert.equal(content, "Halo dari jauh");
  const read = next(ani, "messege_read");
  budi.emit("mark_as_read", { message_id: id });
  assert.deepEqual(await within(read, "messege_read"), [{ message_id: id, user_id: 2 }]);
  for (const node of nodes) assert.equal((await rest("/history/2", 1, "GET", node)).data[0].id, id);
});
