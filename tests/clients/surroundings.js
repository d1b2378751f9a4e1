// What stands around a snippet of the documents that is the middle of a page or of a back end: `token`, a client called
// `pusher` and one called `echo` in a page, an SDK called `pusher` in a back end, the functions that show something. A
// snippet that makes its own has its own. Loaded before the snippet, which `documents.test.js` runs.

import Echo from "laravel-echo";
import Server from "pusher";
import Client from "pusher-js";
import WebSocket from "ws";

import "./react-native/register.js";

const { KIND, PORT, TOKEN } = process.env;
const key = "app-key";
const gema = { host: "127.0.0.1", port: Number(PORT) };
const options = {
  cluster: "",
  wsHost: gema.host,
  wsPort: gema.port,
  forceTLS: false,
  enabledTransports: ["ws"],
  authEndpoint: `http://${gema.host}:${gema.port}/api/broadcasting/auth`,
  auth: { headers: { Authorization: `Bearer ${TOKEN}` } },
};

globalThis.WebSocket ??= WebSocket;
globalThis.window ??= globalThis;
globalThis.token = TOKEN;
for (const name of ["show", "confirm", "tick", "alert"]) globalThis[name] = console.log;

/** A global that is made when a snippet asks for it. */
function lazily(name, make) {
  let made;
  Object.defineProperty(globalThis, name, { get: () => (made ??= make()) });
}
lazily("echo", () => new Echo({ broadcaster: "pusher", key, Pusher: Client, ...options }));
lazily("pusher", () =>
  KIND === "posts" ? new Server({ appId: "app-id", key, secret: "app-secret", ...gema }) : new Client(key, options),
);
