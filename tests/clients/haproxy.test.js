// Several nodes behind HAProxy with config/haproxy.cfg, as it is: what pages and back ends may rely on while nodes come
// and go.

import assert from "node:assert/strict";
import { Agent } from "node:http";
import { after, test } from "node:test";

import { Page, Publisher } from "./load.js";
import { Node, haproxySettings, run, smuggle, startHaproxy, startRedis } from "./nodes.js";
import { holdsBehind } from "./proxied.js";
import { ROOT, backend, connect, connected, get, heard, subscribed, until, within } from "./support.js";

const HAPROXY_CFG = `${ROOT}/config/haproxy.cfg`;
const GRACE_S = 3;

const redis = await startRedis(after);
const settings = { GEMA_REDIS__URL: redis, GEMA_SERVER__SHUTDOWN_GRACE_S: String(GRACE_S) };
const nodes = [await Node.start(after, settings), await Node.start(after, settings)];
const proxy = await startHaproxy(after, nodes);

holdsBehind("HAProxy", proxy, startHaproxy, settings);

test("HAProxy takes config/haproxy.cfg without a warning", async (t) => {
  const env = haproxySettings(nodes, proxy.port);
  const { code, output } = await run((end) => t.after(end), "haproxy", ["-c", "-f", HAPROXY_CFG], { env });
  assert.equal(code, 0, output);
  assert.doesNotMatch(output, /WARNING|ALERT/);
});

test("HAProxy gives connections to every node, and one hears what another's back end posts", async (t) => {
  const clients = Array.from({ length: 8 }, () => connect(t, proxy));
  const channels = await Promise.all(clients.map((client) => subscribed(client.subscribe("spread"))));
  for (const node of nodes) {
    assert.ok((await get(backend(node), "/connections")).connections > 0, `${node.url} has connections`);
    const all = channels.map((channel) => heard(channel, "hello"));
    await backend(node).trigger("spread", "hello", {});
    await Promise.all(all);
  }
});

test("no request can be smuggled past HAProxy", async () => {
  const answered = await smuggle(proxy);
  assert.deepEqual([...new Set(answered)], ["200 up"]);
});

test("a rolling restart fails no request and costs no event of a page that is connected", async (t) => {
  const pages = Array.from({ length: 20 }, (_, user) => new Page(t, proxy, user));
  await Promise.all(pages.map((page) => page.allSubscribed()));
  // One keeps its connection, as PHP-FPM behind a pool or a Node service does; the other makes a new one each time.
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const publishers = [new Publisher(proxy, "kept", { agent }), new Publisher(proxy, "fresh")];
  const posting = publishers.map((publisher) => publisher.run());

  for (const [index, node] of nodes.entries()) {
    const [up, down] = [proxy.up(index + 1), proxy.down(index + 1)];
    await node.restart();
    assert.ok(proxy.down(index + 1) > down, "HAProxy has seen it drain");
    await until(() => proxy.up(index + 1) > up, "HAProxy has the node back");
    await Promise.all(pages.map((page) => page.allSubscribed()));
  }
  publishers.forEach((publisher) => publisher.end());
  await within(Promise.all(posting), "the last posts");

  for (const publisher of publishers) {
    assert.deepEqual(publisher.failures, [], "failed requests");
    assert.ok(publisher.posts.length > 50, `there was load: ${publisher.posts.length}`);
  }
  await until(() => pages.every((page) => page.heardLast(publishers)), "the last events");
  for (const page of pages) {
    page.assertCameBackAtOnce();
    for (const publisher of publishers) page.assertHeard(publisher);
  }
  assert.ok(pages.every((page) => page.moves() > 0), "every page was on a node that was restarted");
  const members = pages.map((page) => page.room).filter(Boolean);
  await until(() => members.every((room) => room.members.count === members.length), "the members are complete");
  const { users } = await get(backend(proxy), "/channels/presence-room.1/users");
  assert.equal(users.length, members.length);
});

test("while no node is ready, those that live go on serving", async (t) => {
  const hook = (end) => t.after(end);
  const [gone, draining] = [await Node.start(hook, settings), await drainable(t)];
  const alone = await startHaproxy(hook, [gone, draining]);
  assert.equal(await gone.stop(), 0);
  draining.terminate();
  await until(() => alone.down(1) && alone.down(2), "HAProxy has no node that is ready");
  await backend(alone).trigger("news", "late", {});
  assert.equal((await fetch(`${alone.url}/up`)).status, 200);
  assert.equal((await fetch(`${alone.url}/ready`)).status, 503);
});

test("a session without a WebSocket that begins while a node drains begins on another", async (t) => {
  const hook = (end) => t.after(end);
  const [draining, staying] = [await drainable(t), await Node.start(hook, settings)];
  const both = await startHaproxy(hook, [draining, staying]);
  draining.terminate();
  await until(() => both.down(1), "HAProxy has seen it drain");
  const http = { httpHost: both.host, httpPort: both.port, enabledTransports: ["xhr_streaming"] };
  for (let client = 0; client < 4; client += 1) {
    const page = connect(t, both, http);
    const states = [];
    page.connection.bind("state_change", ({ current }) => states.push(current));
    await subscribed(page.subscribe("plain"));
    assert.deepEqual(states, ["connected"]);
  }
});

/** A node that drains for as long as the test: of its 40 connections some stay until the grace is over. */
async function drainable(t) {
  const node = await Node.start((end) => t.after(end), { ...settings, GEMA_SERVER__SHUTDOWN_GRACE_S: "600" });
  const pages = Array.from({ length: 40 }, () => connect(t, node));
  await Promise.all(pages.map(connected));
  return node;
}
