// The connection guide for a chat over WebSocket: its URL, its messages and its codes, with the three clients that it
// shows, a browser, Node's `ws` and Python's websockets.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";

import { launch } from "../browser/chromium.js";
import { door, open, plainConfig, python, refusal } from "./plain.js";
import { ROOT, backend, connect, heard, jwt, startGema, subscribed, within } from "./support.js";

const ORIGINS = ["http://localhost:3000", "http://localhost:8080", "https://yourapp.com"];
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const ani = jwt({ sub: 7, name: "Ani", rooms: ["room-uuid", "2"] });
const budi = jwt({ sub: 8, name: "Budi", rooms: ["room-uuid"] });
const citra = jwt({ sub: 9, name: "Citra", rooms: ["2"] });

const gema = await startGema(after, plainConfig());
const sdk = backend(gema);
const ping = { type: "ping", data: {} };

function assertPong({ timestamp, id, ...rest }) {
  assert.deepEqual(rest, { type: "pong", data: null });
  assert.match(timestamp, RFC3339);
  assert.match(id, UUID);
}

test("Node: the token comes in the query or in the header, and a ping is answered", async (t) => {
  for (const [url, options] of [
    [door(gema, ani), {}],
    [door(gema), { headers: { Authorization: `Bearer ${ani}` } }],
  ]) {
    const ws = await open(t, url, options);
    ws.say(ping);
    assertPong(await ws.next());
  }
});

test("Python: the token comes in the query or in the header, and a ping is answered", async () => {
  for (const [url, headers] of [
    [door(gema, ani), {}],
    [door(gema), { Authorization: `Bearer ${ani}` }],
  ]) {
    const [pong, end] = await python(url, { headers, send: [ping], receive: 1 });
    assertPong(pong);
    assert.deepEqual(end, { closed: 1000 });
  }
  assert.deepEqual(await python(door(gema)), [{ refused: 401 }]);
});

test("without a good token the answer is 401", async () => {
  const expired = jwt({ sub: 7, exp: 1 });
  for (const url of [door(gema), door(gema, "not-a-token"), door(gema, `${ani}x`), door(gema, expired)]) {
    const { status, body } = await refusal(url);
    assert.equal(status, 401);
    const { success, error } = JSON.parse(body);
    assert.deepEqual([success, typeof error], [false, "string"]);
  }
});

test("at another path the answer is 404", async () => {
  const elsewhere = door(gema, ani).replace("/ws?", "/websocket?");
  assert.equal((await refusal(elsewhere)).status, 404);
  assert.deepEqual(await python(elsewhere), [{ refused: 404 }]);
});

test("too many connections at once are answered with 429 and when to come again", async (t) => {
  const slow = await startGema(t.after.bind(t), plainConfig(), { GEMA_LIMITS__HANDSHAKES_PER_S: "1" });
  const answers = await Promise.allSettled(Array.from({ length: 5 }, () => refusal(door(slow, ani))));
  const refused = answers.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
  assert.ok(refused.length >= 3, `${refused.length} of 5 were refused`);
  for (const { status, headers } of refused) assert.deepEqual([status, headers["retry-after"]], [429, "1"]);
});

test("who begins or stops to type is shown to the others in the room", async (t) => {
  const [one, two] = [await open(t, door(gema, ani)), await open(t, door(gema, budi))];
  const room = await subscribed(connect(t, gema, { token: budi }).subscribe("presence-room.room-uuid"));
  const seen = heard(room, "client-typing_start");
  two.say({ type: "subscribe", data: { channel: "presence-room.room-uuid" } });
  await two.settled();
  for (const type of ["typing_start", "typing_stop"]) {
    one.say({ type, data: { room_id: "room-uuid" } });
    const told = await two.next((message) => message.type === type);
    assert.deepEqual(told.data, { room_id: "room-uuid", user_id: 7 });
    assert.match(told.timestamp, RFC3339);
    assert.match(told.id, UUID);
  }
  const [data, { user_id }] = await seen;
  assert.deepEqual([data, user_id], [{ room_id: "room-uuid", user_id: 7 }, "7"]);
  assert.ok((await one.settled()).every(({ type }) => !type.startsWith("typing")));

  const stranger = await open(t, door(gema, citra));
  stranger.say({ type: "typing_start", data: { room_id: "room-uuid" } });
  const refused = await stranger.next();
  assert.deepEqual([refused.type, refused.data.code], ["error", "forbidden"]);
});

test("a status is shown in the rooms that are shared, and who is invisible is shown offline", async (t) => {
  const one = await open(t, door(gema, ani));
  const others = [await open(t, door(gema, budi)), await open(t, door(gema, citra))];
  const rooms = ["presence-room.room-uuid", "presence-room.2"];
  for (const [at, other] of others.entries()) {
    other.say({ type: "subscribe", data: { channel: rooms[at] } });
    one.say({ type: "subscribe", data: { channel: rooms[at] } });
    await other.settled();
  }
  await one.settled();
  for (const status of ["online", "offline", "away", "busy", "invisible"]) {
    one.say({ type: "user_status_change", data: { status } });
    const shown = status === "invisible" ? "offline" : status;
    for (const [at, other] of others.entries()) {
      const told = await other.next(({ type }) => type === "user_status_change");
      assert.deepEqual([told.data, told.channel], [{ user_id: 7, status: shown }, rooms[at]]);
    }
  }
  one.say({ type: "user_status_change", data: { status: "asleep" } });
  assert.equal((await one.next(({ type }) => type === "error")).data.code, "bad_request");
});

test("connections end with the guide's codes", async (t) => {
  const closed = async (act) => {
    const ws = await open(t, door(gema, ani));
    const end = once(ws, "close");
    act(ws);
    return (await within(end, "the close"))[0];
  };
  assert.equal(await closed((ws) => ws.close(1000)), 1000);
  assert.equal(await closed((ws) => ws._socket.write(Buffer.from([0xc1, 0x80, 0, 0, 0, 0]))), 1002);
  assert.equal(await closed((ws) => ws.send(Buffer.from([1]))), 1003);
  const sentAway = await closed(() => sdk.terminateUserConnections("7"));
  assert.equal(sentAway, 1008);
});

test("pages of the origins named may connect, others may not", async (t) => {
  const app = `allowed_origins = ${JSON.stringify(ORIGINS)}`;
  const picky = await startGema(t.after.bind(t), plainConfig({ app }));
  for (const origin of [...ORIGINS, undefined]) await open(t, door(picky, ani), { origin });
  assert.equal((await refusal(door(picky, ani), { origin: "https://evil.test" })).status, 403);
});

test("browser: the guide's WebSocketManager connects, and finds back after the server was gone", async (t) => {
  let stop;
  const hook = (end) => {
    stop = end;
    t.after(end);
  };
  const first = await startGema(hook, plainConfig());
  const page = await pageWith(t, first);
  await page.waitForFunction(() => manager.ws.readyState === WebSocket.OPEN);
  assertPong(await pingFrom(page));

  stop();
  await page.waitForFunction(() => manager.reconnectAttempts > 0);
  await startGema(t.after.bind(t), plainConfig(), { GEMA_SERVER__PORT: String(first.port) });
  await page.waitForFunction(() => manager.ws.readyState === WebSocket.OPEN && manager.reconnectAttempts === 0);
  assertPong(await pingFrom(page));

  await page.evaluate(() => manager.ws.close(1000));
  await page.waitForFunction(() => manager.ws.readyState === WebSocket.CLOSED);
  assert.equal(await page.evaluate(() => manager.reconnectAttempts), 0);
});

/** A page of another origin with the guide's manager, pointed at `gema`. */
async function pageWith(t, gema) {
  const source = readFileSync(join(ROOT, "tests/clients/websocket-manager.js"), "utf8");
  const script = source.replaceAll("localhost:8080", `${gema.host}:${gema.port}`);
  const site = createServer((_, response) => {
    response.setHeader("Content-Type", "text/html; charset=utf-8").end(`<script>${script}</script>`);
  });
  await new Promise((good, bad) => site.once("error", bad).listen(0, "127.0.0.1", good));
  t.after(() => {
    site.close();
    site.closeAllConnections();
  });
  const browser = await launch(t.after.bind(t));
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  await page.evaluate((token) => {
    window.manager = new WebSocketManager(token);
    manager.connect();
  }, ani);
  return page;
}

/** What the page hears after a ping. */
const pingFrom = (page) =>
  page.evaluate(
    () =>
      new Promise((good) => {
        manager.ws.onmessage = ({ data }) => good(JSON.parse(data));
        manager.ws.send(JSON.stringify({ type: "ping", data: {} }));
      }),
  );
