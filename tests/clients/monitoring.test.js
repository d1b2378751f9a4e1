// What watches gema names figures that gema has: the alerts, the dashboard and the table in docs/monitoring.md, held against the
// /metrics of a node with everything switched on.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import WebSocket from "ws";

import { Node, freePort, startRedis } from "./nodes.js";
import { APP, PYTHON, ROOT, config, until } from "./support.js";

const read = (file) => readFileSync(join(ROOT, file), "utf8");
/** What Prometheus makes of a target by itself. */
const OF_PROMETHEUS = { up: [], ALERTS: [] };
/** Labels that Prometheus adds to every series. */
const ADDED = ["job", "instance"];
const NAME = /\b(?:gema|process)_[a-z_]+|\bup\b(?=[{ =])/g;

/** Type, labels by family: `{ gema_channels: { type: "gauge", labels: [] } }`. */
let families;

before(async () => {
  const redis = await startRedis(after);
  const admin = await freePort();
  const settings = {
    GEMA_REDIS__URL: redis,
    GEMA_ADMIN__PORT: String(admin),
    GEMA_DATABASE__URL: "sqlite://gema.db",
    GEMA_OUTBOX__ENABLED: "true",
  };
  const node = await Node.start(after, settings, config());
  // Codes have a series once a connection was closed with them.
  const socket = new WebSocket(`ws://${node.address}/app/${APP.key}?protocol=7`);
  socket.once("open", () => socket.close(1000));
  await until(async () => {
    families = parse(await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text());
    return families.gema_disconnections_total.labels.length > 0;
  }, "a connection that has ended is counted");
});

test("the alerts name figures and labels that there are, and each says where to look", () => {
  const rules = yaml("config/alerts.yml").groups.flatMap((group) => group.rules);
  assert.ok(rules.length > 10);
  for (const rule of rules) {
    check(rule.expr, rule.alert);
    const { summary, description } = rule.annotations;
    assert.ok(summary && description, rule.alert);
    assert.match(rule.labels.severity, /^(page|ticket)$/, rule.alert);
    for (const [, name] of description.matchAll(/\b((?:gema|process)_[a-z_]+)/g)) assert.ok(known(name), `${rule.alert}: ${name}`);
  }
});

test("the dashboard names figures and labels that there are, on panels that do not overlap", () => {
  const board = JSON.parse(read("config/grafana.json"));
  const queries = board.panels.flatMap((panel) => (panel.targets ?? []).map(({ expr }) => [expr, panel.title]));
  assert.ok(queries.length > 30);
  for (const [expr, title] of queries) check(expr, title);
  for (const { definition, name } of board.templating.list.slice(1)) {
    const [, family, label] = /^label_values\((\w+)(?:\{.*\})?, (\w+)\)$/.exec(definition);
    assert.ok(labels(family).includes(label), name);
  }
  const variables = board.templating.list.map(({ name }) => name);
  for (const [, name] of read("config/grafana.json").matchAll(/\$\{?([a-z]+)\b/g)) assert.ok(variables.includes(name), name);
  const places = new Set();
  for (const { gridPos: at, title } of board.panels) {
    assert.ok(at.x + at.w <= 24, title);
    for (let x = at.x; x < at.x + at.w; x++) {
      for (let y = at.y; y < at.y + at.h; y++) {
        assert.ok(!places.has(`${x},${y}`), `${title} lies on another panel`);
        places.add(`${x},${y}`);
      }
    }
  }
  assert.equal(new Set(board.panels.map(({ id }) => id)).size, board.panels.length);
});

test("the table of figures in docs/monitoring.md is what a node gives", () => {
  const rows = read("docs/monitoring.md").matchAll(/^\| `((?:gema|process)_\w+)` \| (\w+) \|(.*?)\| .+ \|$/gm);
  const table = Object.fromEntries(
    [...rows].map(([, name, type, cell]) => [name, { type, labels: [...cell.matchAll(/`(\w+)`/g)].map(([, label]) => label) }]),
  );
  assert.deepEqual(table, families);
});

test("the table of alerts in docs/monitoring.md is config/alerts.yml", () => {
  const rows = read("docs/monitoring.md").matchAll(/^\| `(Gema\w+)` \| .+ \| (\w+) \|$/gm);
  const rules = yaml("config/alerts.yml").groups.flatMap((group) => group.rules);
  assert.deepEqual(
    [...rows].map(([, name, severity]) => [name, severity]),
    rules.map(({ alert, labels }) => [alert, labels.severity]),
  );
});

/** The family that a series' name belongs to. */
function known(name) {
  const base = name.replace(/_(bucket|sum|count)$/, "");
  return families[name] ?? (families[base]?.type === "histogram" ? families[base] : undefined);
}

function labels(name) {
  return [...ADDED, ...(known(name)?.labels ?? OF_PROMETHEUS[name] ?? []), ...(name.endsWith("_bucket") ? ["le"] : [])];
}

/** Every name in a query is a family, every label in braces behind it is one of its own, and so are those that are summed by. */
function check(query, where) {
  const names = query.match(NAME) ?? [];
  assert.ok(names.length > 0, where);
  for (const name of names) assert.ok(known(name) ?? OF_PROMETHEUS[name], `${where}: there is no ${name}`);
  for (const [, name, matchers] of query.matchAll(/(\w+)\{([^}]*)\}/g)) {
    for (const [, label] of matchers.matchAll(/(\w+)(?:=~|!=|!~|=)"/g)) {
      assert.ok(labels(name).includes(label), `${where}: ${name} has no label ${label}`);
    }
  }
  const all = names.flatMap(labels);
  for (const [, list] of query.matchAll(/\b(?:by|on) \(([^)]*)\)/g)) {
    for (const label of list.split(", ")) assert.ok(all.includes(label), `${where}: nothing has a label ${label}`);
  }
}

/** Families of Prometheus' text format. */
function parse(text) {
  const families = {};
  for (const [, name, type] of text.matchAll(/^# TYPE (\w+) (\w+)$/gm)) families[name] = { type, labels: [] };
  for (const [, name, list] of text.matchAll(/^(\w+)\{(.*)\} /gm)) {
    const names = [...list.matchAll(/(\w+)="/g)].map(([, label]) => label);
    if (families[name]) families[name].labels = names;
  }
  return families;
}

/** What `file` says. */
function yaml(file) {
  const program = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
  const { status, stdout, stderr } = spawnSync(PYTHON, ["-c", program], { input: read(file), encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}
