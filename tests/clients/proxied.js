// What holds behind any proxy of config/, as tests of the file that calls it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Node, handshakeFrom } from "./nodes.js";
import { backend, connect, heard, subscribed } from "./support.js";

// `proxy` is a running one, called `name`; `start` starts another before other nodes, whose environment begins with `settings`.
export function holdsBehind(name, proxy, start, settings) {
  test(`sessions without a WebSocket stay on their node behind ${name}`, async (t) => {
    const http = { httpHost: proxy.host, httpPort: proxy.port, enabledTransports: ["xhr_streaming"] };
    const clients = Array.from({ length: 6 }, () => connect(t, proxy, http));
    // A subscription is a request of its own, which has to find the session.
    const channels = await Promise.all(clients.map((client) => subscribed(client.subscribe("plain"))));
    const all = channels.map((channel) => heard(channel, "hello"));
    await backend(proxy).trigger("plain", "hello", {});
    await Promise.all(all);
  });

  test(`the address of the client reaches gema through ${name}, not the one it claims to have`, async (t) => {
    const hook = (end) => t.after(end);
    const node = await Node.start(hook, { ...settings, GEMA_LOG: "debug" });
    const alone = await start(hook, [node, node]);
    handshakeFrom(t, "127.0.0.9", alone, "203.0.113.7");
    await node.logs("127.0.0.9");
    assert.ok(!node.program.said("203.0.113.7"));
  });
}
