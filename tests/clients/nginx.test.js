// Several nodes behind the open nginx with config/nginx.conf, which asks nobody for their health: what pages and back
// ends may still rely on.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { Page } from "./load.js";
import { Node, nginxArguments, run, smuggle, startNginx, startRedis } from "./nodes.js";
import { holdsBehind } from "./proxied.js";
import { backend, connect, get, heard, subscribed } from "./support.js";

const redis = await startRedis(after);
const settings = { GEMA_REDIS__URL: redis, GEMA_SERVER__SHUTDOWN_GRACE_S: "2" };
const nodes = [await Node.start(after, settings), await Node.start(after, settings)];
const proxy = await startNginx(after, nodes);

holdsBehind("nginx", proxy, startNginx, settings);

test("nginx takes config/nginx.conf without a warning", async (t) => {
  const hook = (end) => t.after(end);
  const { code, output } = await run(hook, "nginx", ["-t", ...nginxArguments(hook, nodes, proxy.port)]);
  assert.equal(code, 0, output);
  assert.doesNotMatch(output, /\[(warn|error|emerg)\]/);
});

test("WebSockets and the HTTP API pass through nginx to every node", async (t) => {
  const clients = Array.from({ length: 8 }, () => connect(t, proxy));
  const channels = await Promise.all(clients.map((client) => subscribed(client.subscribe("spread"))));
  for (const node of nodes) {
    assert.ok((await get(backend(node), "/connections")).connections > 0, `${node.url} has connections`);
  }
  const all = channels.map((channel) => heard(channel, "hello"));
  await backend(proxy).trigger("spread", "hello", {});
  await Promise.all(all);
});

test("no request can be smuggled past nginx", async () => {
  const answered = await smuggle(proxy);
  assert.deepEqual([...new Set(answered)], ["200 up"]);
});

test("pages that a node sends away are let in by another at their first attempt", async (t) => {
  const pages = Array.from({ length: 12 }, (_, user) => new Page(t, proxy, user));
  await Promise.all(pages.map((page) => page.allSubscribed()));
  for (const node of nodes) {
    await node.restart();
    await Promise.all(pages.map((page) => page.allSubscribed()));
  }
  for (const page of pages) page.assertCameBackAtOnce();
  assert.ok(pages.every((page) => page.moves() > 0), "every page was on a node that was restarted");
});
