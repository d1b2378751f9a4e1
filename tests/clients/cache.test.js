// What a page may rely on when it comes late: a cache channel of any kind replays its last event.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import nacl from "tweetnacl";

import { MASTER_KEY, backend, connect, connected, get, heard, startGema, subscribed, until } from "./support.js";

const HALF_HOUR_S = 30 * 60;
const PREFIXES = ["cache-", "private-cache-", "private-encrypted-cache-", "presence-cache-"];

const gema = await startGema(after);
const sdk = backend(gema, { encryptionMasterKeyBase64: MASTER_KEY });

let visitors = 0;

/** A client that the SDK lets into every channel, each as another member. */
function visitor(t) {
  const user_id = String(++visitors);
  const customHandler = ({ socketId, channelName }, done) => {
    const data = channelName.startsWith("presence-") ? { user_id } : undefined;
    done(null, sdk.authorizeChannel(socketId, channelName, data));
  };
  return connect(t, gema, { nacl, channelAuthorization: { customHandler } });
}

/** Subscribes a new client to the channel `name` and gives the first of `event` that it is told there. */
async function opening(t, name, event) {
  const client = visitor(t);
  const channel = client.subscribe(name);
  const first = heard(channel, event);
  await subscribed(channel);
  return { client, channel, data: (await first)[0] };
}

/** Keeps what arrives on the channel `name` of `client`, without what tells about the others there. */
function record(client, name) {
  const events = [];
  client.connection.bind("message", ({ event, channel }) => {
    if (channel === name && !event.startsWith("pusher_internal:member_")) events.push(event);
  });
  return events;
}

const vacated = (name) => until(async () => !(await get(sdk, `/channels/${name}`)).occupied, `${name} is unoccupied`);

for (const prefix of PREFIXES) {
  describe(`a ${prefix} channel`, () => {
    test("tells the first subscriber that there is nothing, and the next what was last", async (t) => {
      const name = `${prefix}price`;
      const { channel } = await opening(t, name, "pusher:cache_miss");
      const [one, two] = [heard(channel, "old"), heard(channel, "new")];
      await sdk.trigger(name, "old", { n: 1 });
      await sdk.trigger(name, "new", { n: 2, text: "selamat ☀" });
      assert.deepEqual((await one)[0], { n: 1 });
      assert.deepEqual((await two)[0], { n: 2, text: "selamat ☀" });

      const late = visitor(t);
      const told = record(late, name);
      const replay = late.subscribe(name);
      const event = heard(replay, "new");
      await subscribed(replay);
      assert.deepEqual((await event)[0], { n: 2, text: "selamat ☀" });
      const marker = heard(replay, "marker");
      await sdk.trigger(name, "marker", {});
      await marker;
      assert.deepEqual(told, ["pusher_internal:subscription_succeeded", "new", "marker"]);
    });

    test("keeps its last event when everybody has left", async (t) => {
      const name = `${prefix}kept`;
      const { client, channel } = await opening(t, name, "pusher:cache_miss");
      const live = heard(channel, "last");
      await sdk.trigger(name, "last", { n: 1 });
      await live;
      client.disconnect();
      await vacated(name);
      assert.deepEqual((await opening(t, name, "last")).data, { n: 1 });
    });

    test("keeps an event that nobody was there to hear", async (t) => {
      const name = `${prefix}unheard`;
      await sdk.trigger(name, "early", { n: 1 });
      assert.deepEqual((await opening(t, name, "early")).data, { n: 1 });
    });
  });
}

test("the last event of a batch is the one that is kept", async (t) => {
  await sdk.triggerBatch([
    { channel: "cache-batch", name: "line", data: "one" },
    { channel: "cache-batch", name: "line", data: "two" },
  ]);
  assert.equal((await opening(t, "cache-batch", "line")).data, "two");
});

test("an event that leaves its sender out is kept, for the sender as well", async (t) => {
  const sender = visitor(t);
  await sdk.trigger("cache-board", "move", { n: 1 }, { socket_id: await connected(sender) });
  const channel = sender.subscribe("cache-board");
  const move = heard(channel, "move");
  await subscribed(channel);
  assert.deepEqual((await move)[0], { n: 1 });
});

for (const prefix of ["private-cache-", "presence-cache-"]) {
  test(`client events are not kept on a ${prefix} channel`, async (t) => {
    const name = `${prefix}talk`;
    const { channel: from } = await opening(t, name, "pusher:cache_miss");
    const { channel: to } = await opening(t, name, "pusher:cache_miss");
    const typing = heard(to, "client-typing");
    from.trigger("client-typing", {});
    await typing;
    await opening(t, name, "pusher:cache_miss");

    await sdk.trigger(name, "said", { n: 1 });
    const again = heard(to, "client-typing");
    from.trigger("client-typing", {});
    await again;
    assert.deepEqual((await opening(t, name, "said")).data, { n: 1 });
  });
}

test("info=cache tells what is kept and for how long, of an unoccupied channel too", async () => {
  const none = { occupied: false, cache: null };
  assert.deepEqual(await get(sdk, "/channels/cache-asked", { info: "cache" }), none);
  await sdk.trigger("cache-asked", "last", { n: 1 });
  const { occupied, cache } = await get(sdk, "/channels/cache-asked", { info: "cache" });
  assert.equal(occupied, false);
  assert.deepEqual(Object.keys(cache).sort(), ["data", "ttl"]);
  assert.equal(cache.data, '{"n":1}');
  assert.ok(Number.isInteger(cache.ttl) && cache.ttl > HALF_HOUR_S - 60 && cache.ttl <= HALF_HOUR_S, `${cache.ttl} s`);
});

test("info=cache of a channel that keeps nothing is refused", async () => {
  await assert.rejects(sdk.get({ path: "/channels/news", params: { info: "cache" } }), (error) => error.status === 400);
});

test("a channel whose name only resembles a cache channel's keeps nothing", async (t) => {
  for (const name of ["cachet", "my-cache-x", "private-x-cache-y"]) {
    await sdk.trigger(name, "early", {});
    const client = visitor(t);
    const told = record(client, name);
    const channel = await subscribed(client.subscribe(name));
    const marker = heard(channel, "marker");
    await sdk.trigger(name, "marker", {});
    await marker;
    assert.deepEqual(told, ["pusher_internal:subscription_succeeded", "marker"]);
  }
});
