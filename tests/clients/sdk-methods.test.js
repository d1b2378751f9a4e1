// No method of Pusher's SDKs for Node and Python is left out: each is called on gema and does what it promises.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import PusherServer from "pusher";
import nacl from "tweetnacl";

import { startReceiver } from "./receiver.js";
import * as support from "./support.js";
import { APP, MASTER_KEY, backend, connect, connected, get, heard, signedIn, subscribed, until } from "./support.js";

const receiver = await startReceiver(after);
const webhooks = `
[[apps.webhooks]]
url = "${receiver.url}/hook"
events = ["channel_occupied"]
`;
const gema = await support.startGema(after, support.config({ app: webhooks }));
const sdk = backend(gema, { encryptionMasterKeyBase64: MASTER_KEY });

const python = (...calls) => support.python(gema, calls, { encryption_master_key_base64: MASTER_KEY });

/** A client that `authorizer` lets into its channels and signs in. `nacl` is for encrypted channels. */
function visitor(t, { authorizer, authenticator }) {
  return connect(t, gema, {
    nacl,
    ...(authorizer && { channelAuthorization: { customHandler: answering(authorizer) } }),
    ...(authenticator && { userAuthentication: { customHandler: answering(authenticator) } }),
  });
}

/** A handler of pusher-js that answers with what `sign` gives or promises. */
const answering = (sign) => (asked, done) => {
  Promise.resolve(sign(asked)).then((signed) => done(null, signed), (error) => done(error, null));
};

/** The first webhook about `channel`. */
async function hook(channel) {
  await until(() => receiver.taken("/hook", channel).length, `the webhook of ${channel}`);
  return receiver.requests.find(({ rawBody }) => rawBody.includes(`"${channel}"`));
}

const covered = { node: [], python: [] };

/** A test of the method `name` of the Node SDK. */
function node(name, promise, body) {
  covered.node.push(name);
  test(`Node: ${name} ${promise}`, body);
}

/** A test of the method `name` of the Python SDK. */
function py(name, promise, body) {
  covered.python.push(name);
  test(`Python: ${name} ${promise}`, body);
}

node("trigger", "is heard, on an encrypted channel too", async (t) => {
  const client = visitor(t, {
    authorizer: ({ socketId, channelName }) => sdk.authorizeChannel(socketId, channelName),
  });
  for (const name of ["orders", "private-encrypted-orders"]) {
    const channel = await subscribed(client.subscribe(name));
    const event = heard(channel, "paid");
    assert.deepEqual(await (await sdk.trigger(name, "paid", { amount: 50000 })).json(), {});
    assert.deepEqual((await event)[0], { amount: 50000 });
  }
});

node("triggerBatch", "is heard, and answers what was asked", async (t) => {
  const channel = await subscribed(connect(t, gema).subscribe("batch"));
  const [one, two] = [heard(channel, "one"), heard(channel, "two")];
  const answer = await sdk.triggerBatch([
    { channel: "batch", name: "one", data: { n: 1 }, info: "subscription_count" },
    { channel: "batch", name: "two", data: { n: 2 } },
  ]);
  assert.deepEqual(await answer.json(), { batch: [{ subscription_count: 1 }, {}] });
  assert.deepEqual([(await one)[0], (await two)[0]], [{ n: 1 }, { n: 2 }]);
});

node("authenticateUser", "signs a user in", async (t) => {
  const authenticator = ({ socketId }) => sdk.authenticateUser(socketId, { id: "7", user_info: { name: "Ani" } });
  const client = await signedIn(visitor(t, { authenticator }));
  assert.deepEqual(client.user.user_data, { id: "7", user_info: { name: "Ani" } });
});

node("sendToUser", "is heard by the user", async (t) => {
  const authenticator = ({ socketId }) => sdk.authenticateUser(socketId, { id: "7" });
  const { user } = await signedIn(visitor(t, { authenticator }));
  const note = heard(user, "note");
  assert.deepEqual(await (await sdk.sendToUser("7", "note", { text: "halo" })).json(), {});
  assert.deepEqual((await note)[0], { text: "halo" });
});

node("terminateUserConnections", "ends the user's connections", async (t) => {
  const authenticator = ({ socketId }) => sdk.authenticateUser(socketId, { id: "7" });
  const { connection } = await signedIn(visitor(t, { authenticator }));
  const disconnected = heard(connection, "disconnected");
  assert.deepEqual(await (await sdk.terminateUserConnections("7")).json(), {});
  await disconnected;
});

for (const name of ["authorizeChannel", "authenticate"]) {
  node(name, "opens private, encrypted and presence channels", async (t) => {
    const authorizer = ({ socketId, channelName }) => {
      const data = channelName.startsWith("presence-") ? { user_id: 7, user_info: { name: "Ani" } } : undefined;
      return sdk[name](socketId, channelName, data);
    };
    const client = visitor(t, { authorizer });
    await subscribed(client.subscribe("private-desk"));
    await subscribed(client.subscribe("private-encrypted-desk"));
    const { members } = await subscribed(client.subscribe("presence-desk"));
    assert.deepEqual(members.get("7"), { id: "7", info: { name: "Ani" } });
  });
}

node("channelSharedSecret", "is the key that gema's authorizer hands out", async (t) => {
  const token = support.jwt({ sub: "7" });
  const channelName = "private-encrypted-notes.7";
  const socket_id = await connected(connect(t, gema));
  const answer = await fetch(`${gema.url}/api/broadcasting/auth`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
    body: new URLSearchParams({ socket_id, channel_name: channelName }),
  });
  assert.equal((await answer.json()).shared_secret, sdk.channelSharedSecret(channelName).toString("base64"));
});

node("get", "asks for channels, a channel, its users, and is told what it may not ask", async (t) => {
  const authorizer = ({ socketId, channelName }) => sdk.authorizeChannel(socketId, channelName, { user_id: "7" });
  await subscribed(visitor(t, { authorizer }).subscribe("presence-get"));
  const asked = { filter_by_prefix: "presence-get", info: "user_count" };
  assert.deepEqual(await get(sdk, "/channels", asked), { channels: { "presence-get": { user_count: 1 } } });
  const told = { occupied: true, user_count: 1 };
  assert.deepEqual(await get(sdk, "/channels/presence-get", { info: "user_count" }), told);
  assert.deepEqual(await get(sdk, "/channels/presence-get/users"), { users: [{ id: "7" }] });
  await assert.rejects(sdk.get({ path: "/channels/news/users" }), ({ status }) => status === 400);
  await assert.rejects(sdk.get({ path: "/no-such-thing" }), ({ status }) => status === 404);
});

node("post", "publishes what the body says", async (t) => {
  const channel = await subscribed(connect(t, gema).subscribe("posted"));
  const event = heard(channel, "raw");
  const body = { name: "raw", channel: "posted", data: '{"n":1}' };
  assert.deepEqual(await (await sdk.post({ path: "/events", body })).json(), {});
  assert.deepEqual((await event)[0], { n: 1 });
});

node("createSignedQueryString", "signs a request for any HTTP client", async () => {
  const path = `/apps/${APP.id}/channels`;
  const query = sdk.createSignedQueryString({ method: "GET", path, params: { filter_by_prefix: "no-such" } });
  const answer = await fetch(`${gema.url}${path}?${query}`);
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), { channels: {} });
});

node("webhook", "knows a request of gema from a forged one", async (t) => {
  await subscribed(connect(t, gema).subscribe("hooked-node"));
  const request = await hook("hooked-node");
  const webhook = sdk.webhook(request);
  assert.ok(webhook.isContentTypeValid());
  assert.ok(webhook.isValid());
  assert.deepEqual(webhook.getEvents(), [{ name: "channel_occupied", channel: "hooked-node" }]);
  assert.ok(Math.abs(webhook.getTime() - Date.now()) < 60_000);
  assert.ok(!backend(gema, { secret: "not-the-secret" }).webhook(request).isValid());
});

test("Node: forURL points at gema as well", async () => {
  const url = `http://${APP.key}:${APP.secret}@${gema.host}:${gema.port}/apps/${APP.id}`;
  assert.deepEqual(await (await PusherServer.forURL(url).trigger("news", "hello", {})).json(), {});
});

test("Node: no method is left out", () => {
  assert.deepEqual(covered.node.sort(), Object.keys(PusherServer.prototype).sort());
});

py("trigger", "is heard, on an encrypted channel too, but not by socket_id", async (t) => {
  const client = visitor(t, {
    authorizer: ({ socketId, channelName }) => sdk.authorizeChannel(socketId, channelName),
  });
  const sender = connect(t, gema);
  const names = ["py-orders", "private-encrypted-py-orders"];
  const channels = [];
  for (const name of names) channels.push(await subscribed(client.subscribe(name)));
  const own = await subscribed(sender.subscribe(names[0]));
  own.bind("paid", () => assert.fail("the excluded connection heard it"));
  const events = channels.map((channel) => heard(channel, "paid"));
  const marker = heard(own, "marker");
  const [paid, socket_id] = [{ event_name: "paid", data: { amount: 50000 } }, await connected(sender)];
  const answers = await python(
    ...names.map((name) => ["trigger", { channels: name, ...paid, socket_id }]),
    ["trigger", { channels: names[0], event_name: "marker", data: "" }],
  );
  assert.deepEqual(answers, [{}, {}, {}]);
  for (const event of events) assert.deepEqual((await event)[0], { amount: 50000 });
  await marker;
});

py("trigger_batch", "is heard", async (t) => {
  const channel = await subscribed(connect(t, gema).subscribe("py-batch"));
  const [one, two] = [heard(channel, "one"), heard(channel, "two")];
  const batch = ["one", "two"].map((name) => ({ channel: "py-batch", name, data: { name } }));
  assert.deepEqual(await python(["trigger_batch", { batch }]), [{}]);
  assert.deepEqual([(await one)[0], (await two)[0]], [{ name: "one" }, { name: "two" }]);
});

py("channels_info", "tells which channels are occupied", async (t) => {
  await subscribed(connect(t, gema).subscribe("py-channels"));
  const [told] = await python(["channels_info", { prefix_filter: "py-channels" }]);
  assert.deepEqual(told, { channels: { "py-channels": {} } });
});

py("channel_info", "tells what a cache channel keeps", async () => {
  const channel = "cache-py";
  const [, told] = await python(
    ["trigger", { channels: channel, event_name: "last", data: { n: 1 } }],
    ["channel_info", { channel, attributes: ["cache", "subscription_count"] }],
  );
  assert.equal(told.occupied, false);
  assert.equal(told.subscription_count, 0);
  assert.deepEqual(JSON.parse(told.cache.data), { n: 1 });
});

py("users_info", "tells who is in a presence channel", async (t) => {
  const authorizer = ({ socketId, channelName }) => sdk.authorizeChannel(socketId, channelName, { user_id: 10 });
  await subscribed(visitor(t, { authorizer }).subscribe("presence-py-users"));
  assert.deepEqual(await python(["users_info", { channel: "presence-py-users" }]), [{ users: [{ id: "10" }] }]);
});

py("authenticate", "opens private, encrypted and presence channels", async (t) => {
  const authorizer = async ({ socketId, channelName }) => {
    const custom_data = channelName.startsWith("presence-") ? { user_id: "7", user_info: { name: "Ani" } } : null;
    return (await python(["authenticate", { channel: channelName, socket_id: socketId, custom_data }]))[0];
  };
  const client = visitor(t, { authorizer });
  await subscribed(client.subscribe("private-py"));
  await subscribed(client.subscribe("private-encrypted-py"));
  const { members } = await subscribed(client.subscribe("presence-py"));
  assert.deepEqual(members.me, { id: "7", info: { name: "Ani" } });
});

/** An authenticator of pusher-js by the Python SDK. */
const pythonUser = (user_data) => async ({ socketId }) =>
  (await python(["authenticate_user", { socket_id: socketId, user_data }]))[0];

py("authenticate_user", "signs a user in", async (t) => {
  const { user } = await signedIn(visitor(t, { authenticator: pythonUser({ id: "py-7", name: "Ani" }) }));
  assert.deepEqual(user.user_data, { id: "py-7", name: "Ani" });
});

py("send_to_user", "is heard by the user", async (t) => {
  const { user } = await signedIn(visitor(t, { authenticator: pythonUser({ id: "py-7" }) }));
  const note = heard(user, "note");
  const arguments_ = { user_id: "py-7", event_name: "note", data: { text: "halo" } };
  assert.deepEqual(await python(["send_to_user", arguments_]), [{}]);
  assert.deepEqual((await note)[0], { text: "halo" });
});

// The SDK (3.3.4) leaves /apps/ID out of the path.
py("terminate_user_connections", "names no application, is answered 404 and ends nothing", async (t) => {
  const { connection, user } = await signedIn(visitor(t, { authenticator: pythonUser({ id: "py-7" }) }));
  const [{ error }] = await python(["terminate_user_connections", { user_id: "py-7" }]);
  assert.match(error, /^PusherBadStatus: 404: /);
  const marker = heard(user, "marker");
  await sdk.sendToUser("py-7", "marker", {});
  await marker;
  assert.equal(connection.state, "connected");
});

py("validate_webhook", "knows a request of gema from a forged one", async (t) => {
  await subscribed(connect(t, gema).subscribe("hooked-python"));
  const { headers, rawBody } = await hook("hooked-python");
  const [key, signature] = [headers["x-pusher-key"], headers["x-pusher-signature"]];
  const answers = await python(
    ["validate_webhook", { key, signature, body: rawBody }],
    ["validate_webhook", { key, signature: "0".repeat(64), body: rawBody }],
  );
  assert.deepEqual(answers, [JSON.parse(rawBody), null]);
});

test("Python: no method is left out", async () => {
  const [attributes] = await python(["__dir__", {}]);
  const methods = attributes.filter((name) => !name.startsWith("_"));
  const constructors = ["from_env", "from_url"];
  assert.deepEqual([...covered.python, ...constructors].sort(), methods.sort());
});
