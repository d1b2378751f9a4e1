// What stands around gema when there are several: nodes that can be restarted at their place, Redis between them and a
// proxy before them, each a real program on a port of its own. None outlives the test, not even one that is killed.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as dial, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

import { APP, ROOT, config, until, within } from "./support.js";

export const GEMA_BIN = resolve(process.env.GEMA_BIN ?? join(ROOT, "target/debug/gema"));
// Below the ports that the system gives to outgoing connections (32768): one of these stays free while a node restarts.
const PORTS = { first: 20_000, count: 12_000 };

/** A port of 127.0.0.1 that nobody has. */
export async function freePort() {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    const server = createServer();
    const free = await new Promise((good) => {
      server.once("error", () => good(false)).listen(port, "127.0.0.1", () => good(true));
    });
    if (!free) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

/**
 * Starts `command` and gives `{ child, exited, said }`: `exited` resolves with its exit code or signal, `said(text)`
 * tells whether it has printed the text. `hook` is `after` of node:test (or of a test), which ends it.
 */
export function startProgram(hook, command, args, { env = {}, cwd } = {}) {
  // The kernel ends it when this process goes, however that happens.
  const child = spawn("setpriv", ["--pdeathsig", "KILL", command, ...args], {
    cwd,
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const exited = new Promise((good, bad) => {
    child.once("error", bad).once("close", (code, signal) => good(signal ?? code));
  });
  exited.catch(() => {}); // who waits for something else is told by that
  hook(() => child.kill("SIGKILL"));
  return { child, exited, said: (text) => output.includes(text), output: () => output };
}

/** Resolves with what `command` printed and its exit code: `{ code, output }`. */
export async function run(hook, command, args, options) {
  const program = startProgram(hook, command, args, options);
  const code = await within(program.exited, `the end of ${command}`);
  return { code, output: program.output() };
}

/** Whether a request to `url` is answered with 200. */
export async function answers(url) {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}

/** A directory that goes with the test. */
export function directory(hook) {
  const dir = mkdtempSync(join(tmpdir(), "gema-"));
  hook(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A Redis that keeps nothing; resolves with its URL. */
export async function startRedis(hook) {
  const port = await freePort();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  const redis = startProgram(hook, "redis-server", args, { cwd: directory(hook) });
  await until(() => redis.said("Ready to accept connections"), "Redis accepts connections");
  return `redis://127.0.0.1:${port}`;
}

/** A node that comes back at the same address after a restart. */
export class Node {
  /** Starts one with the tests' configuration, or `toml`, and `settings` (its environment); resolves once it is ready. */
  static async start(hook, settings = {}, toml = config()) {
    const node = new Node();
    node.settings = settings;
    node.host = "127.0.0.1";
    node.tls = false;
    node.port = await freePort();
    node.address = `${node.host}:${node.port}`;
    node.url = `http://${node.address}`;
    node.file = join(directory(hook), "gema.toml");
    writeFileSync(node.file, toml);
    // One hook for all its lives: one registered in the middle of a test would end with that test.
    hook(() => node.program.child.kill("SIGKILL"));
    await node.begin();
    return node;
  }

  async begin() {
    const env = {
      GEMA_LOG: "warn",
      GEMA_ADMIN__PORT: "0",
      GEMA_SERVER__TRUSTED_PROXIES: "127.0.0.1/32",
      ...this.settings,
      GEMA_SERVER__PORT: String(this.port),
    };
    this.program = startProgram(() => {}, GEMA_BIN, ["serve", "--config", this.file], { env, cwd: dirname(this.file) });
    const ended = this.program.exited.then((how) => {
      throw new Error(`gema ended early (${how}): ${this.program.output()}`);
    });
    ended.catch(() => {});
    await Promise.race([until(() => answers(`${this.url}/ready`), "the node is ready"), ended]);
  }

  /** Asks it to end. */
  terminate() {
    this.program.child.kill("SIGTERM");
  }

  /** Asks it to end and resolves with its exit code. */
  stop() {
    this.terminate();
    return within(this.program.exited, "the end of a node");
  }

  /** Resolves once it has logged `text`. */
  logs(text) {
    return until(() => this.program.said(text), `gema logs ${text}`);
  }

  async restart() {
    const code = await this.stop();
    if (code !== 0) throw new Error(`gema ended with ${code}: ${this.program.output()}`);
    await this.begin();
  }
}

/** A WebSocket handshake with `gema` from the loopback address `from`, whose sender says that it forwards for `claimed`. */
export function handshakeFrom(t, from, gema, claimed) {
  const socket = dial({ host: gema.host, port: gema.port, localAddress: from });
  t.after(() => socket.destroy());
  const lines = [
    `GET /app/${APP.key}?protocol=7 HTTP/1.1`,
    "Host: gema",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    `X-Forwarded-For: ${claimed}`,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
}

/** The beginning of a request that waits for somebody else's to complete it, which would then be answered with 404. */
const SMUGGLED = "GET /nowhere HTTP/1.1\r\nHost: gema\r\nX: ";
const AFTER_NOTHING = `0\r\n\r\n${SMUGGLED}`;
const IN_A_CHUNK = `${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`;

/** Headers that a proxy and a server behind it might read differently, each with the body that would make use of it. */
const SMUGGLINGS = [
  [`Content-Length: ${AFTER_NOTHING.length}\r\nTransfer-Encoding: chunked`, AFTER_NOTHING],
  [`Transfer-Encoding: chunked\r\nContent-Length: ${AFTER_NOTHING.length}`, AFTER_NOTHING],
  ["Transfer-Encoding: chunked\r\nContent-Length: 4", IN_A_CHUNK],
  [`Content-Length: ${AFTER_NOTHING.length}\r\nTransfer-Encoding : chunked`, AFTER_NOTHING],
  [`Content-Length: ${AFTER_NOTHING.length}\r\nTransfer-Encoding:\r\n chunked`, AFTER_NOTHING],
  [`Content-Length: ${AFTER_NOTHING.length}\r\nTransfer-Encoding: xchunked`, AFTER_NOTHING],
  [`Content-Length: ${AFTER_NOTHING.length}\r\nX: y\nTransfer-Encoding: chunked`, AFTER_NOTHING],
  [`Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}`, SMUGGLED],
  [`Content-Length: ${SMUGGLED.length}\r\nContent-Length: 0`, SMUGGLED],
  [`Content-Length: ${SMUGGLED.length}\r\nUpgrade: websocket\r\nConnection: Upgrade`, SMUGGLED],
];

/** Tries each of them at `proxy`, and gives what others were answered meanwhile, who all asked whether it is up. */
export async function smuggle(proxy) {
  const answered = [];
  for (const [headers, body] of SMUGGLINGS) {
    const socket = dial({ host: proxy.host, port: proxy.port });
    socket.on("error", () => {}); // hung up on: that is an answer
    socket.write(`POST /up HTTP/1.1\r\nHost: gema\r\n${headers}\r\n\r\n${body}`);
    const answer = new Promise((done) => ["data", "close"].forEach((event) => socket.once(event, done)));
    await within(answer, `an answer to ${headers}`);
    for (let ask = 0; ask < 4; ask += 1) {
      const response = await fetch(`${proxy.url}/up`);
      answered.push(`${response.status} ${(await response.json()).status}`);
    }
    socket.destroy();
  }
  return answered;
}

/** HAProxy with config/haproxy.cfg before two nodes. `up(n)` and `down(n)` tell how often it has seen node n so. */
export async function startHaproxy(hook, nodes) {
  const port = await freePort();
  const env = haproxySettings(nodes, port);
  const haproxy = startProgram(hook, "haproxy", ["-db", "-f", join(ROOT, "config/haproxy.cfg")], { env });
  const url = `http://127.0.0.1:${port}`;
  await until(() => answers(`${url}/ready`), "HAProxy serves");
  const count = (text) => haproxy.output().split(text).length - 1;
  return {
    host: "127.0.0.1",
    port,
    tls: false,
    url,
    up: (n) => count(`Server ready/gema${n} is UP`),
    down: (n) => count(`Server ready/gema${n} is DOWN`),
    output: haproxy.output,
  };
}

/** The variables of config/haproxy.cfg. */
export function haproxySettings(nodes, port) {
  const [one, two] = nodes.map((node) => node.address);
  return { GEMA_BIND: `127.0.0.1:${port}`, GEMA_1: one, GEMA_2: two, GEMA_MAXCONN: "1000" };
}

/** nginx with config/nginx.conf, its names and its port replaced, before two nodes. */
export async function startNginx(hook, nodes) {
  const port = await freePort();
  const nginx = startProgram(hook, "nginx", nginxArguments(hook, nodes, port));
  const url = `http://127.0.0.1:${port}`;
  await until(() => answers(`${url}/ready`), "nginx serves");
  return { host: "127.0.0.1", port, tls: false, url, output: nginx.output };
}

/** The arguments with which nginx runs config/nginx.conf in this process's hands: in front, with files of its own. */
export function nginxArguments(hook, nodes, port) {
  const dir = directory(hook);
  let site = readFileSync(join(ROOT, "config/nginx.conf"), "utf8").replace("listen 6001;", `listen 127.0.0.1:${port};`);
  nodes.forEach(({ address }, index) => (site = site.replaceAll(`gema${index + 1}:6001`, address)));
  writeFileSync(join(dir, "site.conf"), site);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${dir}/${of};`);
  writeFileSync(
    join(dir, "nginx.conf"),
    `daemon off; master_process off; pid ${dir}/pid; error_log stderr warn; events { worker_connections 256; }
http { access_log off; ${temporary.join(" ")} include ${dir}/site.conf; }`,
  );
  return ["-e", "stderr", "-p", dir, "-c", join(dir, "nginx.conf")];
}
