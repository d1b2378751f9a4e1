// What a page with plain pusher-js may rely on, proved with pusher-js itself under Node.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import nacl from "tweetnacl";

import * as support from "./support.js";
import { APP, backend, connect, connected, heard, jwt, subscribed, until } from "./support.js";

const ani = jwt({ sub: "7", name: "Ani", roles: ["staff"], rooms: ["1", "2"] });
const budi = jwt({ sub: "8", name: "Budi", rooms: ["1"] });

const gema = await support.startGema(after);
const sdk = backend(gema);

test("a connection is given a socket id of two numbers", async (t) => {
  assert.match(await connected(connect(t, gema)), /^\d+\.\d+$/);
});

test("a wrong key is refused with 4001 and the client stays away", async (t) => {
  const client = connect(t, gema, { key: "no-such-key" });
  const states = [];
  client.connection.bind("state_change", ({ current }) => states.push(current));
  const disconnected = heard(client.connection, "disconnected");
  const [failure] = await heard(client.connection, "error");
  assert.equal(failure.error.data.code, 4001);
  await disconnected;
  assert.equal(states.at(-1), "disconnected");
  assert.ok(!client.connection.retryTimer, "no retry is waiting");
});

test("a public channel delivers what a backend posts", async (t) => {
  const channel = await subscribed(connect(t, gema).subscribe("news"));
  const news = heard(channel, "headline");
  await sdk.trigger("news", "headline", { text: "selamat pagi ☀", n: 12345678901 });
  assert.deepEqual((await news)[0], { text: "selamat pagi ☀", n: 12345678901 });
});

test("a connection named by socket_id does not hear the event, the others do", async (t) => {
  const sender = connect(t, gema);
  const other = connect(t, gema);
  const own = await subscribed(sender.subscribe("board"));
  const theirs = await subscribed(other.subscribe("board"));
  const seen = [];
  own.bind_global((event) => seen.push(event));
  const [excluded, marker] = [heard(theirs, "move"), heard(own, "marker")];
  await sdk.trigger("board", "move", {}, { socket_id: await connected(sender) });
  await sdk.trigger("board", "marker", {});
  await Promise.all([excluded, marker]);
  assert.deepEqual(seen, ["marker"]);
});

test("after unsubscribe nothing of the channel arrives", async (t) => {
  const client = connect(t, gema);
  const left = await subscribed(client.subscribe("left"));
  const kept = await subscribed(client.subscribe("kept"));
  client.unsubscribe(left.name);
  await until(async () => !(await support.get(sdk, "/channels/left")).occupied, "left is unoccupied");
  const marker = heard(kept, "marker");
  client.bind("late", () => assert.fail("an event of a channel that was left"));
  await sdk.trigger("left", "late", {});
  await sdk.trigger("kept", "marker", {});
  await marker;
});

test("a private channel opens for the user its rule names", async (t) => {
  const channel = await subscribed(connect(t, gema, { token: ani }).subscribe("private-booking.7"));
  const event = heard(channel, "paid");
  await sdk.trigger("private-booking.7", "paid", { amount: 50000 });
  assert.deepEqual((await event)[0], { amount: 50000 });
});

test("a role opens a private channel and its lack closes it", async (t) => {
  await subscribed(connect(t, gema, { token: ani }).subscribe("private-desk"));
  const refused = connect(t, gema, { token: budi }).subscribe("private-desk");
  assert.equal((await heard(refused, "pusher:subscription_error"))[0].status, 403);
});

test("a private channel of another user is refused with 403", async (t) => {
  const channel = connect(t, gema, { token: budi }).subscribe("private-booking.7");
  const [why] = await heard(channel, "pusher:subscription_error");
  assert.equal(why.type, "AuthError");
  assert.equal(why.status, 403);
});

test("a request without a valid token is refused with 401", async (t) => {
  const forged = `${ani.slice(0, ani.lastIndexOf("."))}.${"A".repeat(43)}`;
  const channel = connect(t, gema, { token: forged }).subscribe("private-booking.7");
  assert.equal((await heard(channel, "pusher:subscription_error"))[0].status, 401);
});

test("a forged signature is refused by the server and the connection lives on", async (t) => {
  const client = connect(t, gema, {
    channelAuthorization: {
      customHandler: (_, done) => done(null, { auth: `${APP.key}:${"0".repeat(64)}` }),
    },
  });
  const [why] = await heard(client.subscribe("private-booking.7"), "pusher:subscription_error");
  assert.deepEqual({ type: why.type, status: why.status }, { type: "AuthError", status: 401 });
  await subscribed(client.subscribe("news"));
});

test("presence tells who is here, who comes and who goes", async (t) => {
  const first = await subscribed(connect(t, gema, { token: ani }).subscribe("presence-room.1"));
  assert.equal(first.members.count, 1);
  assert.deepEqual(first.members.me, { id: "7", info: { name: "Ani" } });

  const added = heard(first, "pusher:member_added");
  const guest = connect(t, gema, { token: budi });
  const second = await subscribed(guest.subscribe("presence-room.1"));
  assert.deepEqual((await added)[0], { id: "8", info: { name: "Budi" } });
  assert.equal(second.members.count, 2);
  assert.deepEqual(second.members.get("7"), { id: "7", info: { name: "Ani" } });
  assert.equal(second.members.me.id, "8");

  const removed = heard(first, "pusher:member_removed");
  guest.disconnect();
  assert.equal((await removed)[0].id, "8");
  assert.equal(first.members.count, 1);
});

test("a presence channel stays shut to a token without its claim", async (t) => {
  const channel = connect(t, gema, { token: budi }).subscribe("presence-room.2");
  assert.equal((await heard(channel, "pusher:subscription_error"))[0].status, 403);
});

test("a second connection of a member is not announced", async (t) => {
  const watcher = await subscribed(connect(t, gema, { token: budi }).subscribe("presence-room.1"));
  const joined = heard(watcher, "pusher:member_added");
  const tab = connect(t, gema, { token: ani });
  await subscribed(tab.subscribe("presence-room.1"));
  await joined;
  watcher.bind("pusher:member_added", () => assert.fail("member_added again"));
  watcher.bind("pusher:member_removed", () => assert.fail("member_removed too early"));
  const again = await subscribed(connect(t, gema, { token: ani }).subscribe("presence-room.1"));
  assert.equal(again.members.count, 2);
  tab.disconnect();
  const marker = heard(watcher, "marker");
  await until(
    async () =>
      (await support.get(sdk, "/channels/presence-room.1", { info: "subscription_count" })).subscription_count === 2,
    "the first connection is gone",
  );
  await sdk.trigger("presence-room.1", "marker", {});
  await marker;
  assert.equal(watcher.members.count, 2);
  watcher.unbind();
});

test("client events reach the others, never the sender, and carry the sender's id in presence", async (t) => {
  const [one, two] = [connect(t, gema, { token: ani }), connect(t, gema, { token: budi })];
  const from = await subscribed(one.subscribe("presence-room.1"));
  const to = await subscribed(two.subscribe("presence-room.1"));
  from.bind("client-typing", () => assert.fail("a client event came back to its sender"));
  const typing = heard(to, "client-typing");
  assert.ok(from.trigger("client-typing", { on: true }));
  assert.deepEqual(await typing, [{ on: true }, { user_id: "7" }]);

  const marker = heard(from, "client-marker");
  to.trigger("client-marker", "plain text");
  assert.deepEqual(await marker, ["plain text", { user_id: "8" }]);
});

test("a client event on a public channel is refused without harm", async (t) => {
  const client = connect(t, gema);
  const channel = await subscribed(client.subscribe("news"));
  const refusal = heard(client.connection, "error");
  channel.trigger("client-shout", {});
  await refusal;
  assert.equal(client.connection.state, "connected");
});

test("a signed-in user is known and hears what is sent to the user", async (t) => {
  const client = connect(t, gema, { token: ani });
  const done = heard(client, "pusher:signin_success");
  client.signin();
  await done;
  await until(() => client.user.user_data && client.user.serverToUserChannel?.subscribed, "the sign-in");
  assert.equal(client.user.user_data.id, "7");
  const note = heard(client.user, "note");
  await sdk.sendToUser("7", "note", { text: "halo" });
  assert.deepEqual((await note)[0], { text: "halo" });
});

test("an encrypted channel is readable to its members and to nobody between", async (t) => {
  const channelName = "private-encrypted-notes.7";
  // What pusher-js/with-encryption does; that build exists for browsers only.
  const reader = connect(t, gema, { token: ani, nacl });
  const wire = [];
  reader.connection.bind("message", (message) => wire.push(message));
  const channel = await subscribed(reader.subscribe(channelName));
  const note = heard(channel, "note");
  const encrypting = backend(gema, { encryptionMasterKeyBase64: support.MASTER_KEY });
  await encrypting.trigger(channelName, "note", { text: "rahasia" });
  assert.deepEqual((await note)[0], { text: "rahasia" });
  const sent = wire.find((message) => message.event === "note");
  assert.deepEqual(Object.keys(sent.data).sort(), ["ciphertext", "nonce"]);
});
