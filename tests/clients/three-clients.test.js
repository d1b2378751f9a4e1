// All protocols on one hub: an Echo, a Socket.IO and a plain WebSocket client, on two nodes, chat with each other, and an
// order that is posted once reaches each of them.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";

import Echo from "laravel-echo";
import Pusher from "pusher-js";
import WebSocket from "ws";

import { Node, directory, startRedis } from "./nodes.js";
import { ask, chatReady, chatting, connect, connected, next } from "./socketio.js";
import { APP, backend, jwt, options, until, within } from "./support.js";

const database = `sqlite://${join(directory(after), "chat.db")}`;
const settings = { GEMA_REDIS__URL: await startRedis(after), GEMA_DATABASE__URL: database };
const nodes = [await Node.start(after, settings, chatting()), await Node.start(after, settings, chatting())];
await Promise.all(nodes.map(chatReady));

/** User 7, with Echo. */
async function echo(t, node) {
  const token = jwt({ sub: "7", name: "Echo" });
  const client = new Echo({ broadcaster: "pusher", key: APP.key, Pusher, ...options(node, token) });
  t.after(() => client.disconnect());
  const channel = client.private("chat.7");
  await within(new Promise((good, bad) => channel.subscribed(good).error(bad)), "Echo's subscription");
  const received = [];
  channel.listen(".receive_message", (message) => received.push(message));
  const errors = [];
  channel.listen(".error", (error) => errors.push(error));
  return {
    received,
    errors,
    client,
    say: (receiver_id, content) => channel.whisper("send_message", { receiver_id, content }),
  };
}

/** User 8, with Socket.IO. */
async function socketio(t, node) {
  const socket = await connected(connect(t, node, { auth: { token: jwt({ sub: "8", name: "Socket" }) } }));
  const received = [];
  socket.on("receive_message", (message) => received.push(message));
  return { received, socket, say: (receiver_id, content) => ask(socket, "send_message", { receiver_id, content }) };
}

/** User 9, with a WebSocket and nothing else. */
async function plain(t, node) {
  const token = jwt({ sub: "9", name: "Plain", table_number: "01" });
  const socket = new WebSocket(`ws://${node.address}/ws?token=${token}`);
  t.after(() => socket.terminate());
  const messages = [];
  socket.on("message", (data) => messages.push(JSON.parse(data)));
  await within(new Promise((good, bad) => socket.on("open", good).on("error", bad)), "the plain connection");
  socket.send(JSON.stringify({ type: "ping", data: {} }));
  await until(() => messages.some(({ type }) => type === "pong"), "the plain client is joined");
  return {
    socket,
    messages,
    say: (recipient_id, text) => socket.send(JSON.stringify({ recipient_id, text })),
    /** What others have written. */
    received: () => messages.filter(({ sender_id, text }) => sender_id !== undefined && text !== undefined),
  };
}

for (const [a, b, c] of [[0, 1, 0], [1, 0, 1], [0, 0, 1]]) {
  test(`Echo on node ${a}, Socket.IO on ${b} and plain WebSocket on ${c} chat with each other`, async (t) => {
    const seven = await echo(t, nodes[a]);
    const [eight, nine] = await Promise.all([socketio(t, nodes[b]), plain(t, nodes[c])]);

    seven.say(8, "from Echo");
    seven.say(9, "from Echo");
    for (const other of [7, 9]) assert.equal((await eight.say(other, "from Socket.IO")).ok, true);
    nine.say(7, "from plain");
    nine.say(8, "from plain");

    const all = () => [seven.received, eight.received, nine.received()];
    await until(() => all().every((each) => each.length === 2), "all have both").catch((late) => {
      throw new Error(JSON.stringify({ all: all(), errors: [seven.errors, nine.messages] }), { cause: late });
    });
    const said = (messages) => messages.map(({ sender_id, content, text }) => [sender_id, content ?? text]).sort();
    assert.deepEqual(said(seven.received), [[8, "from Socket.IO"], [9, "from plain"]]);
    assert.deepEqual(said(eight.received), [[7, "from Echo"], [9, "from plain"]]);
    assert.deepEqual(said(nine.received()), [[7, "from Echo"], [8, "from Socket.IO"]]);
    const from = (sender_id) => eight.received.find((message) => message.sender_id === sender_id);
    assert.deepEqual(from(9).sender, { name: "Plain", table_number: "01" });
    assert.ok(nine.messages.some(({ type }) => type === "message_sent"), "the plain sender is told");
  });
}

test("an order posted once reaches a Socket.IO page, an Echo page and a plain client", async (t) => {
  const order = { invoice_number: "INV-20231103-0001", total_amount: 15000 };
  const seven = await echo(t, nodes[0]);
  const [page, nine] = await Promise.all([connected(connect(t, nodes[1])), plain(t, nodes[1])]);
  const channel = seven.client.channel("orders");
  await within(new Promise((good) => channel.subscribed(good)), "Echo's subscription");
  const atEcho = within(new Promise((good) => channel.listen(".new-order", good)), "new-order at Echo");
  const atPage = next(page, "new-order");
  nine.socket.send(JSON.stringify({ type: "subscribe", data: { channel: "orders" } }));
  nine.socket.send(JSON.stringify({ type: "ping", data: {} }));
  await until(() => nine.messages.filter(({ type }) => type === "pong").length === 2, "the plain client has subscribed");

  await backend(nodes[0]).trigger("orders", "new-order", order);
  assert.deepEqual(await atEcho, order);
  assert.deepEqual(await atPage, [order]);
  await until(() => nine.messages.some(({ type }) => type === "new-order"), "new-order at the plain client");
  assert.deepEqual(nine.messages.find(({ type }) => type === "new-order").data, order);
});
