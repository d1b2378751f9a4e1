// Clients of the plain door: Node's `ws` with waits that end, and the Python library.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import WebSocket from "ws";

import { PYTHON, ROOT, config, until, within } from "./support.js";

/** The tests' configuration, with the chat's channels. */
export const plainConfig = (options) => `${config(options)}
[[auth.channels]]
channel = "private-chat.{user}"
user = "{user}"
`;

/** The address of the door of `gema`. */
export const door = (gema, token) => `${gema.url.replace("http", "ws")}/ws${token ? `?token=${token}` : ""}`;

/** A connected client, which `t` ends. What it hears gathers in `messages`. */
export async function open(t, url, options = {}) {
  const ws = new WebSocket(url, options);
  t.after(() => ws.terminate());
  ws.messages = [];
  ws.on("message", (data) => ws.messages.push(JSON.parse(data.toString())));
  await within(once(ws, "open"), "the connection");
  ws.say = (message) => ws.send(JSON.stringify(message));
  /** The next message for which `fits` holds; it and what came before are forgotten. */
  ws.next = async (fits = () => true) => {
    await until(() => ws.messages.some(fits), "a message");
    return ws.messages.splice(0, ws.messages.findIndex(fits) + 1).at(-1);
  };
  /** Resolves once all it asked for before is done; gives what it has heard meanwhile. */
  ws.settled = async () => {
    ws.say({ type: "ping", data: {} });
    await until(() => ws.messages.some(({ type }) => type === "pong"), "a pong");
    return ws.messages.splice(0).filter(({ type }) => type !== "pong");
  };
  return ws;
}

/** The status with which the server refuses the handshake, and its body. */
export async function refusal(url, options = {}) {
  const ws = new WebSocket(url, options);
  ws.on("error", () => {}); // ending it below is one
  const refused = once(ws, "unexpected-response").then(([, response]) => response);
  const opened = once(ws, "open").then(() => {
    ws.terminate();
    throw new Error("not refused");
  });
  opened.catch(() => {});
  const response = await within(Promise.race([refused, opened]), "a refusal");
  const body = await text(response);
  ws.terminate();
  return { status: response.statusCode, body, headers: response.headers };
}

/** What a Python client hears that says `send` and waits for `receive` messages; last is how it ended. */
export async function python(url, { headers = {}, send = [], receive = 0 } = {}) {
  const child = spawn(PYTHON, [join(ROOT, "tests/clients/plain_websockets.py")], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((good, bad) => child.once("error", bad).once("close", good));
  child.stdin.end(JSON.stringify({ url, headers, send, receive }));
  try {
    const [output] = await within(Promise.all([text(child.stdout), ended]), "plain_websockets.py");
    return output.trim().split("\n").map((line) => JSON.parse(line));
  } finally {
    child.kill("SIGKILL");
  }
}
