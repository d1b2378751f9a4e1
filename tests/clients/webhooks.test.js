// What an application's webhook receiver may rely on: what happens is told once, signed and in order,
// even when the receiver was away for a while.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { startReceiver } from "./receiver.js";
import { APP, backend, config, connect, connected, heard, startGema, subscribed, until } from "./support.js";

const DOWN_MS = 3_000;
// Above the pauses between attempts that being down so long leads to.
const RETRIES_MS = 30_000;

const receiver = await startReceiver(after);
const webhooks = `
subscription_count = true

[[apps.webhooks]]
url = "${receiver.url}/all"
events = ["channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event", "cache_miss"]

[[apps.webhooks]]
url = "${receiver.url}/counts"
events = ["subscription_count"]

[[apps.webhooks]]
url = "${receiver.url}/rooms"
events = ["member_added"]
channel_prefix = "presence-room."
headers = { X-Hook = "rooms" }

[[apps.webhooks]]
url = "${receiver.url}/batches"
events = ["channel_occupied"]
channel_prefix = "batch-"
batch_ms = 1000
`;
const gema = await startGema(after, config({ app: webhooks }));
const sdk = backend(gema);

/** A client that the SDK lets into every channel as the member `user_id`. */
function visitor(t, user_id = "7", server = gema) {
  const customHandler = ({ socketId, channelName }, done) => {
    const data = channelName.startsWith("presence-") ? { user_id } : undefined;
    done(null, sdk.authorizeChannel(socketId, channelName, data));
  };
  return connect(t, server, { channelAuthorization: { customHandler } });
}

/** Resolves with what `path` took about `channel`, once that is `count` events. */
async function told(path, channel, count) {
  await until(() => receiver.taken(path, channel).length >= count, `${count} events of ${channel} on ${path}`);
  return receiver.taken(path, channel);
}

const names = (events) => events.map(({ name }) => name);

test("a channel is told to be occupied by the first and vacated after the last", async (t) => {
  const [one, two] = [visitor(t), visitor(t)];
  await subscribed(one.subscribe("hall"));
  await subscribed(two.subscribe("hall"));
  one.disconnect();
  two.unsubscribe("hall");
  assert.deepEqual(await told("/all", "hall", 2), [
    { name: "channel_occupied", channel: "hall" },
    { name: "channel_vacated", channel: "hall" },
  ]);
});

test("who reloads the page leaves no trace", async (t) => {
  const before = visitor(t);
  await subscribed(before.subscribe("presence-reload"));
  before.disconnect();
  const page = visitor(t);
  await subscribed(page.subscribe("presence-reload"));
  page.disconnect();
  const events = await told("/all", "presence-reload", 4);
  assert.deepEqual(names(events).slice(0, 2).sort(), ["channel_occupied", "member_added"]);
  assert.deepEqual(names(events).slice(2).sort(), ["channel_vacated", "member_removed"]);
});

test("a member comes with the first connection and goes with the last, named by a string", async (t) => {
  const watcher = visitor(t, "1");
  const room = await subscribed(watcher.subscribe("presence-hall"));
  const tabs = [visitor(t, 10), visitor(t, "10")];
  for (const tab of tabs) await subscribed(tab.subscribe("presence-hall"));
  const gone = heard(room, "pusher:member_removed");
  tabs[0].disconnect();
  tabs[1].unsubscribe("presence-hall");
  await gone;
  assert.deepEqual(await told("/all", "presence-hall", 4), [
    { name: "channel_occupied", channel: "presence-hall" },
    { name: "member_added", channel: "presence-hall", user_id: "1" },
    { name: "member_added", channel: "presence-hall", user_id: "10" },
    { name: "member_removed", channel: "presence-hall", user_id: "10" },
  ]);
});

test("client events are told with their sender, and data as a string", async (t) => {
  const client = visitor(t, "7");
  const socket_id = await connected(client);
  const [desk, room] = ["private-talk", "presence-talk"];
  for (const name of [desk, room]) await subscribed(client.subscribe(name));
  client.channel(desk).trigger("client-typing", { on: true });
  client.channel(room).trigger("client-said", "halo");
  const [typing] = (await told("/all", desk, 2)).filter(({ name }) => name === "client_event");
  assert.deepEqual(typing, {
    name: "client_event",
    channel: desk,
    event: "client-typing",
    data: '{"on":true}',
    socket_id,
  });
  const [said] = (await told("/all", room, 3)).filter(({ name }) => name === "client_event");
  assert.deepEqual(said, {
    name: "client_event",
    channel: room,
    event: "client-said",
    data: "halo",
    socket_id,
    user_id: "7",
  });
});

test("a subscriber that finds a cache channel empty is told", async (t) => {
  const channel = visitor(t).subscribe("cache-price");
  await heard(channel, "pusher:cache_miss");
  assert.deepEqual(names(await told("/all", "cache-price", 2)).sort(), ["cache_miss", "channel_occupied"]);
});

test("subscription counts are told as numbers", async (t) => {
  const [one, two] = [visitor(t), visitor(t)];
  await subscribed(one.subscribe("lobby"));
  await subscribed(two.subscribe("lobby"));
  two.disconnect();
  const counts = await told("/counts", "lobby", 3);
  const count = (n) => ({ name: "subscription_count", channel: "lobby", subscription_count: n });
  assert.deepEqual(counts, [1, 2, 1].map(count));
});

test("a webhook gets only the events and channels it names, with its headers", async (t) => {
  await subscribed(visitor(t, "7").subscribe("presence-other"));
  await told("/all", "presence-other", 2);
  await subscribed(visitor(t, "7").subscribe("presence-room.1"));
  await told("/rooms", "presence-room.1", 1);
  const requests = receiver.requests.filter(({ path }) => path === "/rooms");
  assert.deepEqual(receiver.taken("/rooms"), [{ name: "member_added", channel: "presence-room.1", user_id: "7" }]);
  assert.equal(requests[0].headers["x-hook"], "rooms");
});

test("a webhook with a window gets what happened in it at once, and only what it asked for", async (t) => {
  const client = visitor(t);
  const channels = ["batch-1", "batch-2", "batch-3", "other-1"].map((name) => client.subscribe(name));
  await Promise.all(channels.map(subscribed));
  await until(() => receiver.taken("/batches").length === 3, "three events");
  const [batch, ...more] = receiver.requests.filter(({ path }) => path === "/batches");
  assert.deepEqual(more, []);
  assert.deepEqual(
    JSON.parse(batch.rawBody).events.map(({ channel }) => channel),
    ["batch-1", "batch-2", "batch-3"],
  );
});

test("each request is signed, and holds one event unless it has a window", () => {
  assert.ok(receiver.requests.length > 0);
  const forged = backend(gema, { secret: "not-the-secret" });
  for (const request of receiver.requests) {
    const { path, headers, rawBody } = request;
    assert.equal(headers["content-type"], "application/json");
    assert.equal(headers["x-pusher-key"], APP.key);
    const webhook = sdk.webhook(request);
    assert.ok(webhook.isValid(), rawBody);
    assert.ok(!forged.webhook(request).isValid());
    assert.ok(Number.isInteger(webhook.getData().time_ms), "time_ms is an integer");
    if (path !== "/batches") assert.equal(webhook.getEvents().length, 1);
  }
});

/** A receiver and a gema of their own, which tells it of everything there is to tell about `private-talk`. */
async function pair(t) {
  const hook = (end) => t.after(end);
  const own = await startReceiver(hook);
  const events = `["channel_occupied", "client_event"]`;
  const server = await startGema(hook, config({ app: `[[apps.webhooks]]\nurl = "${own.url}/"\nevents = ${events}` }));
  return { own, channel: await subscribed(visitor(t, "7", server).subscribe("private-talk")) };
}

/** What is told about "private-talk" with the client events 0 to `count` - 1. */
const expected = (count) => ["occupied", ...Array.from({ length: count }, (_, n) => String(n))];
const toldTo = (own) => own.taken("/").map(({ data }) => data ?? "occupied");

test("what happens while the receiver is down is told when it is back, once and in order", async (t) => {
  const { own, channel } = await pair(t);
  await until(() => toldTo(own).length === 1, "the first event");
  own.down();
  for (let n = 0; n < 5; n++) channel.trigger("client-n", n);
  await delay(DOWN_MS); // not a wait for something: this is how long it is down
  own.up();
  await until(() => toldTo(own).length >= 6, "what happened meanwhile", RETRIES_MS);
  channel.trigger("client-n", 5);
  await until(() => toldTo(own).includes("5"), "what happens afterwards");
  assert.deepEqual(toldTo(own), expected(6));
});

test("a request that failed is made again as it was, and what came after it waits", async (t) => {
  const { own, channel } = await pair(t);
  await until(() => toldTo(own).length === 1, "the first event");
  const failures = [500, null, 302]; // an error, a reset connection, and what is no success either
  own.reply = () => (failures.length ? failures.shift() : 200);
  for (let n = 0; n < 3; n++) channel.trigger("client-n", n);
  await until(() => toldTo(own).length >= 4, "all events", RETRIES_MS);
  channel.trigger("client-n", 3);
  await until(() => toldTo(own).includes("3"), "what happens afterwards");
  assert.deepEqual(toldTo(own), expected(4));
  const attempts = own.requests.filter(({ rawBody }) => rawBody.includes('"0"'));
  assert.ok(attempts.length > 1);
  assert.equal(new Set(attempts.map(({ rawBody }) => rawBody)).size, 1, "the same bytes, time_ms included");
  for (const request of own.requests) assert.ok(sdk.webhook(request).isValid());
});
