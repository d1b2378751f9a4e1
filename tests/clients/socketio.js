// What the tests of Socket.IO's client share: clients that leave when the test does, and waits for their events.

import { io } from "socket.io-client";

import { config, jwt, until, within } from "./support.js";

/** The tests' configuration with the chat's channels. */
export const chatting = () => `${config()}
[[auth.channels]]
channel = "private-chat.{user}"
user = "{user}"
`;

/** Resolves once the chat of `gema` has its database: a server starts without waiting for it. */
export const chatReady = (gema) => {
  const headers = { Authorization: `Bearer ${jwt({ sub: "1" })}` };
  return until(async () => (await fetch(`${gema.url}/api/chats/`, { headers })).ok, "the chat has its database");
};

/** A client of `gema` that leaves when `t` ends; `auth` and the rest are its options. */
export function connect(t, gema, more = {}) {
  const socket = io(gema.url, { forceNew: true, ...more });
  t.after(() => socket.disconnect());
  return socket;
}

/** The arguments of the next `event`. Call it before what causes the event. */
export function next(socket, event) {
  const timely = within(new Promise((good) => socket.once(event, (...args) => good(args))), `the event ${event}`);
  timely.catch(() => {}); // a test that failed before it waits for the event reports its own failure only
  return timely;
}

/** Resolves with `socket` once it is connected; fails with the server's reason. */
export async function connected(socket) {
  if (socket.connected) return socket;
  const refused = new Promise((_, bad) => socket.once("connect_error", bad));
  refused.catch(() => {});
  await Promise.race([next(socket, "connect"), refused]);
  return socket;
}

/** What the server answers to `event`. */
export const ask = (socket, event, ...data) => within(socket.emitWithAck(event, ...data), `the answer to ${event}`);
