// The till's document: socket.io-client without a token hears each new order, by either transport, on whatever node, and
// what it wishes for besides: rooms for outlets, other events about orders, a token, CORS.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import io from "socket.io-client";
import WebSocket from "ws";

import { certificate } from "../browser/site.js";
import { Node, startHaproxy, startNginx, startRedis } from "./nodes.js";
import { ask, connect, connected, next } from "./socketio.js";
import { backend, config, get, jwt, startGema, until, within } from "./support.js";

const ORDER = {
  invoice_number: "INV-20231103-0001",
  date: "2023-11-03",
  total_amount: 15000,
  "ISI CORNDOG": { quantity: 1, total_amount: 6000, items: ["Corndog Sosis"] },
  BALUTAN: { quantity: 1, total_amount: 2000, items: ["Mie"] },
  "SAUS ASIN": { quantity: 2, total_amount: 2000, items: ["Saus Tomat", "Mayonaise"] },
  "SAUS MANIS": { quantity: 1, total_amount: 1000, items: ["Coklat"] },
};

const TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]];

const gema = await startGema(after);
const sdk = backend(gema);

test("the document's client, as it is written, receives the order as it is shown", async (t) => {
  const socket = io(gema.url);
  t.after(() => socket.disconnect());
  await within(new Promise((good) => socket.on("connect", () => good())), "connect");
  const received = within(new Promise((good) => socket.on("new-order", (order) => good(order))), "new-order");
  await sdk.trigger("orders", "new-order", ORDER);
  assert.deepEqual(await received, ORDER);
  const gone = within(new Promise((good) => socket.on("disconnect", good)), "disconnect");
  socket.disconnect();
  assert.equal(await gone, "io client disconnect");
});

test("every connected client receives the order, once, by whatever transport", async (t) => {
  const sockets = [...TRANSPORTS, ...TRANSPORTS].map((transports) => connect(t, gema, { transports }));
  await Promise.all(sockets.map(connected));
  const heard = sockets.map((socket) => {
    const orders = [];
    socket.on("new-order", (...args) => orders.push(args));
    return orders;
  });
  const last = sockets.map((socket) => next(socket, "last"));
  await sdk.trigger("orders", "new-order", ORDER);
  await sdk.trigger("orders", "last", {});
  await Promise.all(last);
  for (const orders of heard) assert.deepEqual(orders, [[ORDER]]);
});

test("a till that begins by polling goes over to a WebSocket and misses nothing on the way", async (t) => {
  const socket = connect(t, gema);
  const numbers = [];
  socket.on("n", (n) => numbers.push(n));
  const upgraded = within(
    new Promise((good) => socket.io.engine.once("upgrade", ({ name }) => good(name))),
    "the upgrade",
  );
  await connected(socket);
  for (let n = 0; n < 30; n += 1) await sdk.trigger("orders", "n", n);
  assert.equal(await upgraded, "websocket");
  await until(() => numbers.length === 30, "all are heard");
  assert.deepEqual(numbers, [...Array(30).keys()]);
});

for (const transports of [["websocket"], ["polling"]]) {
  test(`a thousand orders by ${transports} arrive in order`, async (t) => {
    const socket = await connected(connect(t, gema, { transports }));
    const numbers = [];
    socket.on("n", ({ n }) => numbers.push(n));
    const items = Array(200).fill("Corndog Sosis ☀");
    for (let first = 0; first < 1000; first += 10) {
      const of = (n) => ({ channel: "orders", name: "n", data: { n: first + n, items } });
      await sdk.triggerBatch(Array.from({ length: 10 }, (_, n) => of(n)));
    }
    await until(() => numbers.length === 1000, "all are heard");
    assert.deepEqual(numbers, [...Array(1000).keys()]);
  });
}

test("an outlet hears its own orders: status, update and delete too", async (t) => {
  const [kemang, dago] = await Promise.all([1, 2].map(() => connected(connect(t, gema))));
  assert.deepEqual(await ask(kemang, "subscribe", { channel: "orders.1" }), { ok: true });
  assert.deepEqual(await ask(dago, "subscribe", { channel: "orders.2" }), { ok: true });
  dago.on("order-status", () => assert.fail("another outlet's order"));
  for (const [event, data] of [
    ["new-order", ORDER],
    ["order-status", { invoice_number: ORDER.invoice_number, status: "preparing" }],
    ["order-updated", { ...ORDER, total_amount: 17000 }],
    ["order-deleted", { invoice_number: ORDER.invoice_number }],
  ]) {
    const heard = next(kemang, event);
    await sdk.trigger("orders.1", event, data);
    assert.deepEqual(await heard, [data]);
  }
  const barrier = next(dago, "barrier");
  await sdk.trigger("orders.2", "barrier", {});
  await barrier;
  assert.deepEqual(await ask(kemang, "unsubscribe", { channel: "orders.1" }), { ok: true });
  await until(async () => !(await get(sdk, "/channels/orders.1")).occupied, "the outlet's channel is empty");
});

test("data that is no JSON comes as the text it is", async (t) => {
  const socket = await connected(connect(t, gema));
  const heard = next(socket, "note");
  await sdk.trigger("orders", "note", "just text");
  assert.deepEqual(await heard, ["just text"]);
});

test("private channels are for who has a token or a signature, by the rules of Pusher's clients", async (t) => {
  const anonymous = await connected(connect(t, gema));
  const refused = await ask(anonymous, "subscribe", { channel: "private-desk" });
  assert.match(refused.error, /token/);
  assert.equal(refused.code, "not_joined");

  const { socket_id } = await ask(anonymous, "socket_id");
  const { auth } = sdk.authorizeChannel(socket_id, "private-desk");
  assert.deepEqual(await ask(anonymous, "subscribe", { channel: "private-desk", auth }), { ok: true });
  const forged = await ask(anonymous, "subscribe", { channel: "private-other", auth });
  assert.equal(forged.code, "not_joined");

  const staff = await connected(connect(t, gema, { auth: { token: jwt({ sub: "3", roles: ["staff"] }) } }));
  assert.deepEqual(await ask(staff, "subscribe", { channel: "private-desk" }), { ok: true });
  const heard = [anonymous, staff].map((socket) => next(socket, "order-status"));
  await sdk.trigger("private-desk", "order-status", { status: "ready" });
  for (const args of heard) assert.deepEqual(await args, [{ status: "ready" }]);
});

test("who is typing is told to the others of the room", async (t) => {
  const member = (sub) => connected(connect(t, gema, { auth: { token: jwt({ sub, rooms: ["1"] }) } }));
  const [ani, budi] = await Promise.all([member("7"), member("8")]);
  await ask(budi, "subscribe", { channel: "presence-room.1" });
  const came = next(budi, "member_added");
  const typing = next(budi, "typing_start");
  assert.deepEqual(await ask(ani, "typing_start", { room_id: "1" }), { ok: true });
  assert.equal((await came)[0].user_id, "7");
  assert.deepEqual(await typing, [{ room_id: "1", user_id: 7 }]);
  assert.equal((await ask(ani, "typing_start", { room_id: "2" })).code, "not_joined");
});

test("what nobody offers is refused, and the connection goes on", async (t) => {
  const socket = await connected(connect(t, gema));
  const error = next(socket, "error");
  socket.emit("launch", { the: "rocket" });
  assert.deepEqual(await error, [{ message: "Unknown event: launch", code: "unknown_event" }]);
  assert.equal((await ask(socket, "subscribe", "orders")).code, "bad_request");
  assert.equal((await ask(socket, "send_message", { receiver_id: 1, content: "a" })).code, "no_token");
  assert.ok(socket.connected);
});

test("who does not heed the rate is refused, and at last sent away", async (t) => {
  const socket = await connected(connect(t, gema, { reconnection: false }));
  const refusals = [];
  socket.on("error", ({ code }) => refusals.push(code));
  const gone = next(socket, "disconnect");
  const flood = setInterval(() => {
    for (let n = 0; n < 20; n += 1) socket.emit("typing_start", { room_id: "1" });
  }, 10);
  t.after(() => clearInterval(flood));
  await gone;
  assert.ok(refusals.includes("too_many"), String(refusals));
});

for (const transports of [["websocket"], ["polling"]]) {
  test(`a token that is not believed is refused at the handshake, by ${transports}`, async (t) => {
    const socket = connect(t, gema, { transports, auth: { token: "no.such.token" } });
    socket.on("connect", () => assert.fail("connected"));
    const [error] = await next(socket, "connect_error");
    assert.match(error.message, /token/i);
    const { connections } = await get(sdk, "/connections");
    await until(async () => (await get(sdk, "/connections")).connections < connections || connections === 0, "it is gone");
  });
}

test("pages of origins that are not allowed are told nothing", async (t) => {
  const hook = (end) => t.after(end);
  const strict = await startGema(hook, config({ app: 'allowed_origins = ["https://till.example"]' }));
  for (const transports of [["websocket"], ["polling"]]) {
    const page = (origin) => connect(t, strict, { transports, extraHeaders: { Origin: origin }, reconnection: false });
    await connected(page("https://till.example"));
    const [error] = await next(page("https://elsewhere.example"), "connect_error");
    assert.match(error.message, /websocket error|xhr poll error/);
  }
  const ask = (Origin) => fetch(`${strict.url}/socket.io/?EIO=4&transport=polling`, { headers: { Origin } });
  assert.equal((await ask("https://till.example")).headers.get("access-control-allow-origin"), "https://till.example");
  assert.equal((await ask("https://elsewhere.example")).status, 403);
});

test("below a path prefix, and at another path", async (t) => {
  const settings = { GEMA_SERVER__PATH_PREFIX: "/rt", GEMA_GATEWAYS__SOCKETIO_PATH: "/live" };
  const prefixed = await startGema((end) => t.after(end), config(), settings);
  for (const transports of TRANSPORTS) await connected(connect(t, prefixed, { path: "/rt/live", transports }));
  assert.equal((await fetch(`${prefixed.url}/rt/socket.io/?EIO=4&transport=polling`)).status, 404);
});

test("over TLS", async (t) => {
  const hook = (end) => t.after(end);
  const tls = certificate(hook);
  const secure = await startGema(hook, config({ tls }));
  for (const transports of TRANSPORTS) {
    const socket = await connected(connect(t, secure, { transports, ca: tls.certPem }));
    const order = next(socket, "new-order");
    await backend(secure, { ca: tls.certPem }).trigger("orders", "new-order", ORDER);
    assert.deepEqual(await order, [ORDER]);
  }
});

test("a door that is closed is not there", async (t) => {
  const closed = await startGema((end) => t.after(end), config(), { GEMA_GATEWAYS__SOCKETIO_PATH: "" });
  assert.equal((await fetch(`${closed.url}/socket.io/?EIO=4&transport=polling`)).status, 404);
});

test("who does not read is closed when its outbox is full, by either transport, and the others are not", async (t) => {
  const hook = (end) => t.after(end);
  const narrow = await startGema(hook, config(), { GEMA_LIMITS__OUTBOX_BYTES: "300000" });
  const post = backend(narrow);
  const reader = await connected(connect(t, narrow));
  let heard = 0;
  reader.on("flood", () => (heard += 1));

  // By hand, for the real client reads whatever comes.
  const socket = new WebSocket(`${narrow.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
  socket.on("error", () => {});
  t.after(() => socket.terminate());
  const open = within(new Promise((good) => socket.on("message", (data) => `${data}`.startsWith("40") && good())), "40");
  socket.on("open", () => socket.send("40"));
  await open;
  socket.pause();
  const polling = `${narrow.url}/socket.io/?EIO=4&transport=polling`;
  const { sid } = JSON.parse((await (await fetch(polling)).text()).slice(1));
  assert.equal(await (await fetch(`${polling}&sid=${sid}`, { method: "POST", body: "40" })).text(), "ok");
  await until(async () => (await get(post, "/connections")).connections === 3, "three are connected");

  const data = "x".repeat(10_000);
  const batch = Array.from({ length: 10 }, () => ({ channel: "orders", name: "flood", data }));
  let posted = 0;
  const flooded = async () => {
    await post.triggerBatch(batch);
    posted += 10;
    await until(() => heard === posted, "the reader has heard all");
    return (await get(post, "/connections")).connections === 1;
  };
  await until(flooded, "both are gone", 30_000);
  assert.ok(reader.connected);
  // What it has been sent it may fetch; then it is told that it has no session any more.
  await until(async () => (await fetch(`${polling}&sid=${sid}`)).status === 400, "the session is over");
});

test("what is too large for a message ends the connection, and costs nobody else anything", async (t) => {
  for (const transports of [["websocket"], ["polling"]]) {
    const socket = await connected(connect(t, gema, { transports, reconnection: false }));
    const gone = next(socket, "disconnect");
    socket.emit("subscribe", { channel: "x".repeat(70_000) });
    await gone;
  }
});

test("a session that never says who it is does not stay", async (t) => {
  const quiet = await startGema((end) => t.after(end));
  const connections = async () => (await get(backend(quiet), "/connections")).connections;
  const polling = `${quiet.url}/socket.io/?EIO=4&transport=polling`;
  const { sid } = JSON.parse((await (await fetch(polling)).text()).slice(1));
  assert.equal(await connections(), 1);
  await until(async () => (await fetch(`${polling}&sid=${sid}`)).status === 400, "its end", 15_000);
  await until(async () => (await connections()) === 0, "it is forgotten");
});

test("a client that leaves leaves its channels", async (t) => {
  for (const transports of [["websocket"], ["polling"]]) {
    const socket = await connected(connect(t, gema, { transports }));
    await ask(socket, "subscribe", { channel: "leaving" });
    socket.disconnect();
    await until(async () => !(await get(sdk, "/channels/leaving")).occupied, "its channel is empty");
  }
});

test("a user who is terminated is told not to come back", async (t) => {
  for (const transports of [["websocket"], ["polling"]]) {
    const socket = await connected(connect(t, gema, { transports, auth: { token: jwt({ sub: "66" }) } }));
    const gone = next(socket, "disconnect");
    await sdk.terminateUserConnections("66");
    assert.equal((await gone)[0], "io server disconnect");
    assert.ok(!socket.active);
  }
});

test("on two nodes an order posted on either reaches every till; who is on a node that ends comes back", async (t) => {
  const hook = (end) => t.after(end);
  const settings = { GEMA_REDIS__URL: await startRedis(hook), GEMA_SERVER__SHUTDOWN_GRACE_S: "2" };
  const nodes = [await Node.start(hook, settings), await Node.start(hook, settings)];
  const tills = nodes.flatMap((node) => TRANSPORTS.map((transports) => connect(t, node, { transports })));
  await Promise.all(tills.map(connected));
  for (const node of nodes) {
    const orders = tills.map((till) => next(till, "new-order"));
    await backend(node).trigger("orders", "new-order", ORDER);
    for (const args of orders) assert.deepEqual(await args, [ORDER]);
  }
  const gone = tills.slice(0, TRANSPORTS.length).map((till) => next(till, "disconnect"));
  await nodes[0].restart();
  for (const args of gone) assert.match((await args)[0], /transport (close|error)/);
  await Promise.all(tills.map(connected));
  const orders = tills.map((till) => next(till, "new-order"));
  await backend(nodes[1]).trigger("orders", "new-order", ORDER);
  for (const args of orders) assert.deepEqual(await args, [ORDER]);
});

for (const [name, start] of [["HAProxy", startHaproxy], ["nginx", startNginx]]) {
  test(`behind ${name} the requests of a session stay on their node`, async (t) => {
    const hook = (end) => t.after(end);
    const settings = { GEMA_REDIS__URL: await startRedis(hook) };
    const nodes = [await Node.start(hook, settings), await Node.start(hook, settings)];
    const proxy = await start(hook, nodes);
    const tills = Array.from({ length: 4 }, () => TRANSPORTS).flat();
    const sockets = tills.map((transports) => connect(t, proxy, { transports, reconnection: false }));
    await Promise.all(sockets.map(connected));
    const orders = sockets.map((socket) => next(socket, "new-order"));
    await backend(proxy).trigger("orders", "new-order", ORDER);
    for (const args of orders) assert.deepEqual(await args, [ORDER]);
    // A while longer: each fetches many times.
    for (let n = 0; n < 5; n += 1) {
      const again = sockets.map((socket) => next(socket, "again"));
      await backend(proxy).trigger("orders", "again", n);
      await Promise.all(again);
    }
  });
}
