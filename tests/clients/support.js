// The harness of the client tests: a real gema on a port of its own, real clients
// and publishers pointed at it, and waits that end when the thing happens or say what did not.

import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import PusherServer from "pusher";
import Pusher from "pusher-js";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
// The id is a number because the Python SDK takes no other.
export const APP = { id: "1001", key: "test-key", secret: "test-secret" };
export const MASTER_KEY = Buffer.alloc(32, "k").toString("base64");
export const PYTHON = process.env.GEMA_PYTHON ?? join(ROOT, ".venv/bin/python");

const GEMA_BIN = resolve(process.env.GEMA_BIN ?? join(ROOT, "target/debug/gema"));
export const JWT_SECRET = "a-secret-of-the-tests-that-is-long-enough";
const DEADLINE_MS = 10_000;

/** The configuration the tests share; `tls` names the PEM files, `app` adds lines to the app. */
export function config({ tls, app = "" } = {}) {
  return `
[server]
port = 0
${tls ? `tls_cert = "${tls.cert}"\ntls_key = "${tls.key}"` : ""}

[[apps]]
id = "${APP.id}"
key = "${APP.key}"
secret = "${APP.secret}"
client_events = true
encryption_master_key = "${MASTER_KEY}"
${app}

[auth]
jwt_secret = "${JWT_SECRET}"

[[auth.channels]]
channel = "private-booking.{user}"
user = "{user}"
[[auth.channels]]
channel = "private-encrypted-notes.{user}"
user = "{user}"
[[auth.channels]]
channel = "private-desk"
roles = ["staff"]
[[auth.channels]]
channel = "presence-room.{room}"
claim = { rooms = "{room}" }
`;
}

/**
 * Starts gema and resolves once it accepts: `{ host, port, tls, url }`. `toml` is its configuration file, null
 * starts it on the embedded defaults; `settings` is its environment. `hook` is `after` of node:test (or of a
 * test), which ends it. Not from `before`: an `after` registered there runs when `before` ends.
 */
export async function startGema(hook, toml = config(), settings = {}) {
  const dir = mkdtempSync(join(tmpdir(), "gema-"));
  const args = ["serve"];
  if (toml === null) {
    args.push("--port", "0");
  } else {
    writeFileSync(join(dir, "gema.toml"), toml);
    args.push("--config", join(dir, "gema.toml"));
  }
  // Nothing of the caller's environment may configure the server under test. Without the admin listener, whose port
  // two servers at once would both want.
  const own = { PATH: process.env.PATH, GEMA_LOG: process.env.GEMA_LOG ?? "warn" };
  const env = { ...own, GEMA_ADMIN__PORT: "0", ...settings };
  const child = spawn(GEMA_BIN, args, { cwd: dir, env, stdio: ["ignore", "pipe", "inherit"] });
  const end = () => {
    child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  };
  process.once("exit", end);
  process.once("SIGTERM", () => process.exit(143)); // the runner's time-out: leave no server behind
  hook(end);

  const failed = new Promise((_, reject) => {
    child.once("error", (cause) => reject(new Error(`${GEMA_BIN} cannot be started`, { cause })));
    child.once("exit", (code, signal) => reject(new Error(`gema ended early: ${signal ?? code}`)));
  });
  failed.catch(() => {}); // after the start nobody waits for it
  const firstLine = new Promise((good) => createInterface({ input: child.stdout }).once("line", good));
  const line = await within(Promise.race([firstLine, failed]), "gema's first line");
  const listening = /^gema \S+ listening on (\S+):(\d+)( \(TLS\))?$/.exec(line);
  if (!listening) throw new Error(`gema's first line is not what was promised: ${line}`);
  child.stdout.resume();
  const [, host, port, tls] = listening;
  return { host, port: Number(port), tls: Boolean(tls), url: `${tls ? "https" : "http"}://${host}:${port}` };
}

/** A Bearer token as an application would issue it (RFC 7519, HS256). */
export function jwt(claims, header = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 600;
  const signed = `${part({ alg: "HS256", typ: "JWT", ...header })}.${part({ exp, ...claims })}`;
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`;
}

/** The options that point pusher-js or Echo at `gema`, authorised by gema itself with `token`. */
export function options(gema, token) {
  return {
    cluster: "",
    wsHost: gema.host,
    wsPort: gema.port,
    forceTLS: false,
    enabledTransports: ["ws"],
    authEndpoint: `${gema.url}/api/broadcasting/auth`,
    userAuthentication: {
      endpoint: `${gema.url}/api/broadcasting/user-auth`,
      transport: "ajax",
      headers: { Authorization: `Bearer ${token}` },
    },
    auth: { headers: { Authorization: `Bearer ${token}` } },
  };
}

/** A pusher-js client that leaves when the test `t` ends. `more` overrides its options. */
export function connect(t, gema, { token = "", key = APP.key, ...more } = {}) {
  const client = new Pusher(key, { ...options(gema, token), ...more });
  t.after(() => client.disconnect());
  return client;
}

/** The backend: the Node SDK signing for the tests' app. `ca` is the certificate of a TLS server. */
export function backend(gema, { ca, ...more } = {}) {
  return new PusherServer({
    appId: APP.id,
    key: APP.key,
    secret: APP.secret,
    host: gema.host,
    port: gema.port,
    useTLS: gema.tls,
    ...(ca && { agent: new Agent({ ca }) }),
    ...more,
  });
}

/**
 * The backend in Python: has its SDK carry out `calls` ([method, keyword arguments])
 * and gives what each returned, or `{ error }`. `more` are further arguments of its constructor.
 */
export async function python(gema, calls, more = {}) {
  const child = spawn(PYTHON, [join(ROOT, "tests/clients/publisher.py")], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((good, bad) => child.once("error", bad).once("close", good));
  const account = { app_id: APP.id, key: APP.key, secret: APP.secret };
  const connect = { ...account, host: gema.host, port: gema.port, ssl: false, ...more };
  child.stdin.end(JSON.stringify({ connect, calls }));
  const [output, code] = await within(Promise.all([text(child.stdout), ended]), "publisher.py");
  if (code !== 0) throw new Error(`publisher.py ended with ${code}`);
  return output.trim().split("\n").map((line) => JSON.parse(line));
}

/** A GET of the HTTP API through the SDK, decoded. */
export async function get(sdk, path, params = {}) {
  return (await sdk.get({ path, params })).json();
}

/** Resolves with `promise`, or fails by name when it takes too long. */
export async function within(promise, what) {
  const stop = new AbortController();
  const late = delay(DEADLINE_MS, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`${what}: not within ${DEADLINE_MS} ms`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

/** The next `event` of anything with `bind`: `[data, metadata]`. Call it before what causes the event. */
export function heard(emitter, event) {
  const next = new Promise((good) => {
    const once = (...args) => {
      emitter.unbind(event, once);
      good(args);
    };
    emitter.bind(event, once);
  });
  const timely = within(next, `the event ${event}`);
  timely.catch(() => {}); // a test that failed before it waits for the event reports its own failure only
  return timely;
}

/** Resolves with the socket id once `client` is connected. */
export async function connected(client) {
  if (client.connection.state !== "connected") await heard(client.connection, "connected");
  return client.connection.socket_id;
}

/** Resolves with `channel` once the server has acknowledged it; fails with the server's or authorizer's reason. */
export async function subscribed(channel) {
  if (channel.subscribed) return channel;
  const refused = new Promise((_, reject) => {
    channel.bind("pusher:subscription_error", (why) => {
      reject(new Error(`${channel.name} was refused: ${JSON.stringify(why)}`));
    });
  });
  refused.catch(() => {});
  await Promise.race([heard(channel, "pusher:subscription_succeeded"), refused]);
  return channel;
}

/** Signs `client` in, as its userAuthentication option says; resolves with it once events for the user arrive. */
export async function signedIn(client) {
  const done = heard(client, "pusher:signin_success");
  client.signin();
  await done;
  await until(() => client.user.serverToUserChannel?.subscribed, "the sign-in");
  return client;
}

/** Asks `condition` again until it holds, for `ms` at most: for state that announces itself to nobody. */
export async function until(condition, what, ms = DEADLINE_MS) {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await delay(20);
  }
}
