// What an application that signs its users in may rely on: events to a user, presence without channel_data,
// the watchlist, and ending a user's connections, as pusher-js and the Node SDK do it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as dial, createServer } from "node:net";
import { after, test } from "node:test";

import * as support from "./support.js";
import {
  backend,
  connect,
  connected,
  get,
  heard,
  jwt,
  signedIn,
  startGema,
  subscribed,
  until,
  within,
} from "./support.js";

const ani = jwt({ sub: "7", name: "Ani" });
const budi = jwt({ sub: "8", name: "Budi" });

const gema = await startGema(after);
const sdk = backend(gema);

/** A client that the application itself signs in as `user`, and lets into every channel, with the SDK. */
function visitor(t, user, server = gema) {
  return connect(t, server, {
    userAuthentication: {
      customHandler: ({ socketId }, done) => done(null, sdk.authenticateUser(socketId, user)),
    },
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => done(null, sdk.authorizeChannel(socketId, channelName)),
    },
  });
}

/** What `client` is told about the users it watches, in order: [["online", ["8"]], …]. */
function watched(client) {
  const told = [];
  for (const name of ["online", "offline"]) {
    client.user.watchlist.bind(name, ({ user_ids }) => told.push([name, user_ids]));
  }
  return told;
}

/** Resolves once all that was sent to the signed-in `client` before has arrived. */
async function settled(client) {
  const marker = heard(client.user, "marker");
  await sdk.sendToUser(client.user.user_data.id, "marker", {});
  await marker;
}

const left = (channel) =>
  until(async () => !(await get(sdk, `/channels/${channel}`)).occupied, `${channel} is unoccupied`);

test("the authorizer signs a user in with the id and name of the token", async (t) => {
  const client = await signedIn(connect(t, gema, { token: ani }));
  assert.equal(client.user.user_data.id, "7");
  assert.deepEqual(client.user.user_data.user_info, { name: "Ani" });
});

test("sendToUser reaches each connection of the user and nobody else", async (t) => {
  const tabs = [await signedIn(connect(t, gema, { token: ani })), await signedIn(connect(t, gema, { token: ani }))];
  const other = await signedIn(connect(t, gema, { token: budi }));
  other.user.bind("note", () => assert.fail("another user's event"));
  const notes = tabs.map((tab) => heard(tab.user, "note"));
  const answer = await sdk.sendToUser("7", "note", { text: "halo" });
  assert.deepEqual(await answer.json(), {});
  for (const note of notes) assert.deepEqual((await note)[0], { text: "halo" });
  await settled(other);
});

test("sendToUser to a user who is away answers {}", async () => {
  assert.deepEqual(await (await sdk.sendToUser("nobody", "note", {})).json(), {});
});

test("the channel of a user is shut to every other connection", async (t) => {
  const channel = "#server-to-user-7";
  const stranger = connect(t, gema);
  await connected(stranger);
  const other = await signedIn(connect(t, gema, { token: budi }));
  for (const { connection } of [stranger, other]) {
    const refused = new Promise((good) => {
      connection.bind("message", (message) => {
        assert.notEqual(message.event, "note", "another user's event");
        if (message.event === "pusher:subscription_error" && message.channel === channel) good();
      });
    });
    connection.send_event("pusher:subscribe", { auth: "", channel }); // subscribe() refuses the name by itself
    await within(refused, "the refusal");
  }
  await sdk.sendToUser("7", "note", {});
  await settled(other);
});

test("the channel of a user is not among the application's channels", async (t) => {
  await signedIn(connect(t, gema, { token: ani }));
  assert.deepEqual(Object.keys((await get(sdk, "/channels")).channels), []);
});

test("terminateUserConnections ends the user's connections with 4009, for good, and no other", async (t) => {
  const tabs = [await signedIn(connect(t, gema, { token: ani })), await signedIn(connect(t, gema, { token: ani }))];
  const other = await signedIn(connect(t, gema, { token: budi }));
  const unsigned = connect(t, gema, { token: ani });
  await connected(unsigned);
  const ends = tabs.map(({ connection }) => [heard(connection, "error"), heard(connection, "disconnected")]);
  const answer = await sdk.terminateUserConnections("7");
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), {});
  for (const [index, [error, disconnected]] of ends.entries()) {
    assert.equal((await error)[0].data.code, 4009);
    await disconnected;
    const { connection } = tabs[index];
    assert.equal(connection.state, "disconnected");
    assert.ok(!connection.retryTimer, "no retry is waiting");
  }
  await settled(other);
  await subscribed(unsigned.subscribe("news"));
});

test("terminateUserConnections of an unknown user answers {}", async () => {
  assert.deepEqual(await (await sdk.terminateUserConnections("nobody")).json(), {});
});

test("a user whose connections were ended may come back", async (t) => {
  const client = await signedIn(connect(t, gema, { token: ani }));
  const disconnected = heard(client.connection, "disconnected");
  await sdk.terminateUserConnections("7");
  await disconnected;
  const again = heard(client, "pusher:signin_success");
  client.connect();
  await again;
  await until(() => client.user.serverToUserChannel?.subscribed, "the sign-in");
  await settled(client);
});

test("an endpoint that refuses is told to the page, and the connection lives on", async (t) => {
  const client = connect(t, gema, { token: "no-token" });
  const refused = heard(client.user, "pusher:signin_error");
  client.signin();
  assert.equal((await refused)[0].status, 401);
  await subscribed(client.subscribe("news"));
  assert.equal(client.user.user_data, null);
});

test("a forged sign-in is refused with 4009 and the connection gets no event of the user", async (t) => {
  const forging = backend(gema, { secret: "not-the-secret" });
  const client = connect(t, gema, {
    userAuthentication: {
      customHandler: ({ socketId }, done) => done(null, forging.authenticateUser(socketId, { id: "7" })),
    },
  });
  await connected(client);
  const refused = heard(client.connection, "error");
  client.signin();
  assert.equal((await refused)[0].data.code, 4009);
  client.bind_global((event) => assert.notEqual(event, "note"));
  const news = await subscribed(client.subscribe("news"));
  const marker = heard(news, "marker");
  await sdk.sendToUser("7", "note", {});
  await sdk.trigger("news", "marker", {});
  await marker;
  assert.equal(client.user.user_data, null);
});

test("signed in, a presence channel needs no channel_data", async (t) => {
  const client = visitor(t, { id: "7", user_info: { name: "Ani" } });
  client.signin();
  const room = await subscribed(client.subscribe("presence-hall")); // pusher-js itself waits for the sign-in
  assert.deepEqual(room.members.me, { id: "7", info: { name: "Ani" } });

  const added = heard(room, "pusher:member_added");
  const guest = visitor(t, { id: "8", user_info: { name: "Budi" } });
  guest.signin();
  const theirs = await subscribed(guest.subscribe("presence-hall"));
  assert.deepEqual((await added)[0], { id: "8", info: { name: "Budi" } });
  assert.deepEqual(theirs.members.get("7"), { id: "7", info: { name: "Ani" } });
});

test("after a broken connection the user is signed in again, and back in the room", async (t) => {
  const relay = await startRelay(t);
  const client = visitor(t, { id: "7", user_info: { name: "Ani" } }, relay);
  await signedIn(client);
  const room = await subscribed(client.subscribe("presence-hall"));
  const [again, back] = [heard(client, "pusher:signin_success"), heard(room, "pusher:subscription_succeeded")];
  relay.cut();
  await Promise.all([again, back]);
  await until(() => client.user.serverToUserChannel?.subscribed, "the sign-in");
  await settled(client);
  assert.deepEqual(room.members.me, { id: "7", info: { name: "Ani" } });
});

test("the watchlist tells who is there at sign-in, and then who comes and goes", async (t) => {
  await signedIn(visitor(t, { id: "budi" }));
  const watcher = visitor(t, { id: "ani", watchlist: ["budi", "cici"] });
  const told = watched(watcher);
  await signedIn(watcher);
  await until(() => told.length === 2, "both users are told");
  assert.deepEqual(told, [["online", ["budi"]], ["offline", ["cici"]]]);

  const cici = await signedIn(visitor(t, { id: "cici" }));
  await until(() => told.length === 3, "cici is online");
  cici.disconnect();
  await until(() => told.length === 4, "cici is offline");
  assert.deepEqual(told.slice(2), [["online", ["cici"]], ["offline", ["cici"]]]);
});

test("a watched user with two connections comes once and goes once", async (t) => {
  const watcher = visitor(t, { id: "ani", watchlist: ["dodi", "eka"] });
  const told = watched(watcher);
  await signedIn(watcher);
  const tabs = [await signedIn(visitor(t, { id: "dodi" })), await signedIn(visitor(t, { id: "dodi" }))];
  await subscribed(tabs[0].subscribe("first-tab"));
  tabs[0].disconnect();
  await left("first-tab");
  await signedIn(visitor(t, { id: "eka" })); // were dodi told to be gone already, it would be told before eka
  await until(() => told.length === 3, "eka is online");
  tabs[1].disconnect();
  await until(() => told.length === 4, "dodi is offline");
  assert.deepEqual(told, [
    ["offline", ["dodi", "eka"]], // in the order of their ids
    ["online", ["dodi"]],
    ["online", ["eka"]],
    ["offline", ["dodi"]],
  ]);
});

test("of a watchlist the first 100 users are watched, and 4302 tells about the rest", async (t) => {
  const watchlist = Array.from({ length: 101 }, (_, n) => `user-${n}`);
  const watcher = visitor(t, { id: "ani", watchlist });
  const told = watched(watcher);
  await connected(watcher);
  const error = heard(watcher.connection, "error");
  await signedIn(watcher);
  assert.equal((await error)[0].data.code, 4302);
  await until(() => told.length === 1, "the watched users are told");
  const [[name, ids]] = told;
  assert.equal(name, "offline");
  assert.deepEqual(ids.toSorted(), watchlist.slice(0, 100).toSorted());

  await signedIn(visitor(t, { id: "user-100" }));
  await signedIn(visitor(t, { id: "user-99" }));
  await until(() => told.length === 2, "user-99 is online");
  assert.deepEqual(told[1], ["online", ["user-99"]]);
});

test("an application without watchlists is told nothing", async (t) => {
  const plain = await startGema((end) => t.after(end), support.config({ app: "watchlist = false" }));
  const watcher = visitor(t, { id: "ani", watchlist: ["budi"] }, plain);
  const told = watched(watcher);
  await signedIn(watcher);
  await signedIn(visitor(t, { id: "budi" }, plain));
  const marker = heard(watcher.user, "marker");
  await backend(plain).sendToUser("ani", "marker", {});
  await marker;
  assert.deepEqual(told, []);
});

test("where connections must be authorized, a signed-in one stays and a silent one is closed with 4009", async (t) => {
  const strict = await startGema((end) => t.after(end), support.config({ app: "authorized_only_s = 3" }));
  const member = await signedIn(visitor(t, { id: "7" }, strict)); // the first, so that its time is over first
  const [silent, reader] = [connect(t, strict), connect(t, strict)];
  const told = ({ connection }) => [heard(connection, "error"), heard(connection, "disconnected")];
  const ends = [silent, reader].map(told);
  reader.subscribe("news"); // a public channel authorizes nobody
  for (const [error, disconnected] of ends) {
    assert.equal((await error)[0].data.code, 4009);
    await disconnected;
  }
  const marker = heard(member.user, "marker");
  await backend(strict).sendToUser("7", "marker", {});
  await marker;
  assert.equal(member.connection.state, "connected");
});

/** A relay before gema whose `cut` breaks every connection, as a network does: `{ host, port, url, cut }`. */
async function startRelay(t) {
  const sockets = new Set();
  const server = createServer((near) => {
    const far = dial(gema.port, gema.host);
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {}).once("close", () => sockets.delete(socket));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => sockets.forEach((socket) => socket.destroy());
  t.after(() => {
    server.close();
    cut();
  });
  const { port } = server.address();
  return { host: "127.0.0.1", port, url: `http://127.0.0.1:${port}`, cut };
}
