// What a Node backend may rely on: the HTTP API as Pusher's own SDK for Node uses it.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { APP, backend, connect, connected, get, heard, startGema, subscribed, until } from "./support.js";

const BOTH = { info: "user_count,subscription_count" };

const gema = await startGema(after);
const sdk = backend(gema);

/** A client whose private and presence channels the SDK authorises, as an application's endpoint would. */
function member(t, id) {
  const customHandler = ({ socketId, channelName }, done) => {
    const data = channelName.startsWith("presence-") ? { user_id: id, user_info: { id } } : undefined;
    done(null, sdk.authorizeChannel(socketId, channelName, data));
  };
  return connect(t, gema, { channelAuthorization: { customHandler } });
}

/** Waits until what earlier tests left behind is gone. */
const empty = () => until(async () => !Object.keys((await get(sdk, "/channels")).channels).length, "no channel is left");

test("trigger reaches every channel named, and answers {}", async (t) => {
  const client = connect(t, gema);
  const channels = await Promise.all(["a", "b"].map((name) => subscribed(client.subscribe(name))));
  const events = channels.map((channel) => heard(channel, "hello"));
  const answer = await sdk.trigger(["a", "b"], "hello", { n: 1 });
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), {});
  assert.deepEqual((await Promise.all(events)).map(([data]) => data), [{ n: 1 }, { n: 1 }]);
});

test("triggerBatch delivers each event on its channel, in order", async (t) => {
  const channel = await subscribed(connect(t, gema).subscribe("log"));
  const seen = [];
  channel.bind("line", (data) => seen.push(data));
  const last = heard(channel, "last");
  const answer = await sdk.triggerBatch([
    { channel: "log", name: "line", data: "one" },
    { channel: "log", name: "line", data: "two" },
    { channel: "log", name: "last", data: "" },
  ]);
  assert.deepEqual(await answer.json(), {});
  await last;
  assert.deepEqual(seen, ["one", "two"]);
});

test("signatures made by authorizeChannel open private and presence channels", async (t) => {
  const client = member(t, "7");
  await subscribed(client.subscribe("private-desk"));
  const room = await subscribed(client.subscribe("presence-desk"));
  assert.deepEqual(room.members.me, { id: "7", info: { id: "7" } });
});

test("channels lists what is occupied, with user counts when asked", async (t) => {
  await empty();
  assert.deepEqual(await get(sdk, "/channels"), { channels: {} });
  const client = member(t, "7");
  await Promise.all(["plain", "presence-desk"].map((name) => subscribed(client.subscribe(name))));
  assert.deepEqual(await get(sdk, "/channels"), { channels: { plain: {}, "presence-desk": {} } });
  const asked = { filter_by_prefix: "presence-", info: "user_count" };
  assert.deepEqual(await get(sdk, "/channels", asked), { channels: { "presence-desk": { user_count: 1 } } });
});

test("a channel tells its counts, and an unknown one that it is not occupied", async (t) => {
  await empty();
  for (const tab of [member(t, "7"), member(t, "7"), member(t, "8")]) {
    await subscribed(tab.subscribe("presence-desk"));
  }
  const told = { occupied: true, user_count: 2, subscription_count: 3 };
  assert.deepEqual(await get(sdk, "/channels/presence-desk", BOTH), told);
  assert.equal((await get(sdk, "/channels/nobody")).occupied, false);
});

test("users lists each member once", async (t) => {
  await empty();
  for (const tab of [member(t, "7"), member(t, "7"), member(t, "8")]) {
    await subscribed(tab.subscribe("presence-desk"));
  }
  const { users } = await get(sdk, "/channels/presence-desk/users");
  assert.deepEqual(users.sort((a, b) => a.id - b.id), [{ id: "7" }, { id: "8" }]);
  assert.deepEqual(await get(sdk, "/channels/presence-nobody/users"), { users: [] });
});

test("trigger with info answers the counts of its channels and skips socket_id", async (t) => {
  await empty();
  const [sender, other] = [member(t, "7"), member(t, "8")];
  const own = await subscribed(sender.subscribe("presence-desk"));
  const theirs = await subscribed(other.subscribe("presence-desk"));
  own.bind("move", () => assert.fail("the excluded connection heard it"));
  const [move, marker] = [heard(theirs, "move"), heard(own, "marker")];
  const answer = await sdk.trigger("presence-desk", "move", {}, { socket_id: await connected(sender), ...BOTH });
  assert.deepEqual(await answer.json(), {
    channels: { "presence-desk": { user_count: 2, subscription_count: 2 } },
  });
  await move;
  await sdk.trigger("presence-desk", "marker", {});
  await marker;
});

test("a wrong secret is answered 401 with the text that shows what to sign, never the secret", async () => {
  const wrong = backend(gema, { secret: "not-the-secret" });
  await assert.rejects(wrong.trigger("a", "hello", {}), (error) => {
    assert.equal(error.status, 401);
    assert.match(error.body, /^Invalid signature: you should have sent HmacSHA256Hex\("POST\\n\/apps\/1001\/events\\n/);
    assert.match(error.body, /, your_secret_key\), but you sent "[0-9a-f]{64}"$/);
    assert.ok(!error.body.includes(APP.secret));
    return true;
  });
});

test("an unknown key is answered 401", async () => {
  const unknown = backend(gema, { key: "no-such-key" });
  await assert.rejects(unknown.trigger("a", "hello", {}), (error) => error.status === 401);
});

test("data above the limit is answered 413 with the limit", async () => {
  await assert.rejects(sdk.trigger("a", "big", "x".repeat(10_241)), (error) => {
    assert.equal(error.status, 413);
    assert.match(error.body, /10240/);
    return true;
  });
  assert.equal((await sdk.trigger("a", "fits", "x".repeat(10_240))).status, 200);
});
