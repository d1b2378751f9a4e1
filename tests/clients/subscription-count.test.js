// What a page may rely on to show how many are listening: pusher:subscription_count.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { backend, config, connect, heard, startGema, subscribed, until } from "./support.js";

const gema = await startGema(after, config({ app: "subscription_count = true" }));
const sdk = backend(gema);

/** A client that the SDK lets into every channel as the member `user_id`. */
function visitor(t, server, user_id = "7") {
  const customHandler = ({ socketId, channelName }, done) => {
    const data = channelName.startsWith("presence-") ? { user_id } : undefined;
    done(null, sdk.authorizeChannel(socketId, channelName, data));
  };
  return connect(t, server, { channelAuthorization: { customHandler } });
}

/** The counts that `channel` is told, in order. */
function counts(channel) {
  const told = [];
  channel.bind("pusher:subscription_count", ({ subscription_count }) => told.push(subscription_count));
  return told;
}

for (const name of ["lobby", "private-lobby", "cache-lobby"]) {
  test(`everybody on ${name} is told of each who comes and goes`, async (t) => {
    const one = visitor(t, gema).subscribe(name);
    const first = counts(one);
    await until(() => one.subscriptionCount === 1, "the first is told of itself");

    const guest = visitor(t, gema);
    const two = guest.subscribe(name);
    const second = counts(two);
    await until(() => one.subscriptionCount === 2 && two.subscriptionCount === 2, "both are told of two");

    visitor(t, gema).subscribe(name);
    await until(() => one.subscriptionCount === 3 && two.subscriptionCount === 3, "both are told of three");

    guest.unsubscribe(name);
    await until(() => one.subscriptionCount === 2, "who stays is told of two");
    assert.deepEqual(first, [1, 2, 3, 2]);
    assert.deepEqual(second, [2, 3]);
  });
}

test("a connection that breaks off counts no more", async (t) => {
  const one = visitor(t, gema).subscribe("hall");
  const guest = visitor(t, gema);
  guest.subscribe("hall");
  await until(() => one.subscriptionCount === 2, "two are told");
  guest.disconnect();
  await until(() => one.subscriptionCount === 1, "one is told");
});

test("presence channels, which tell their members, are not told counts", async (t) => {
  const room = await subscribed(visitor(t, gema).subscribe("presence-lobby"));
  const told = counts(room);
  const added = heard(room, "pusher:member_added");
  await subscribed(visitor(t, gema, "8").subscribe("presence-lobby"));
  await added;
  const marker = heard(room, "marker");
  await sdk.trigger("presence-lobby", "marker", {});
  await marker;
  assert.deepEqual(told, []);
});

test("an application that did not ask for counts is told none", async (t) => {
  const plain = await startGema((end) => t.after(end));
  const channel = visitor(t, plain).subscribe("lobby");
  const told = counts(channel);
  await subscribed(channel);
  await subscribed(visitor(t, plain).subscribe("lobby"));
  const marker = heard(channel, "marker");
  await backend(plain).trigger("lobby", "marker", {});
  await marker;
  assert.deepEqual(told, []);
});
