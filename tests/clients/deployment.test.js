// The files that run gema elsewhere agree with gema and with each other: docker-compose.yml, the Dockerfile, the proxies,
// Prometheus, systemd. What a Docker daemon would make of them is not tried here.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

import { GEMA_BIN, run } from "./nodes.js";
import { PYTHON, ROOT } from "./support.js";

const read = (file) => readFileSync(join(ROOT, file), "utf8");
const compose = yaml("docker-compose.yml");
const dockerfile = read("Dockerfile");
const nodes = Object.entries(compose.services).filter(([, service]) => service.image === "gema");
// After the grace, the last farewells and the last webhooks (src/server).
const LAST_S = 2 + 5;

test("gema takes what docker-compose.yml tells it", async (t) => {
  assert.equal(nodes.length, 2);
  for (const [name, { environment }] of nodes) {
    const given = Object.entries(environment).map(([key, value]) => [key, withDefaults(value)]);
    const env = { GEMA_SERVER__HOST: "0.0.0.0", ...Object.fromEntries(given) };
    const { code, output } = await run((end) => t.after(end), GEMA_BIN, ["check"], { env });
    assert.equal(code, 0, `${name}: ${output}`);
    assert.notEqual(env.PUSHER_APP_SECRET, "app-secret", "gema refuses it on this address");
  }
  assert.match(dockerfile, /^ENV GEMA_SERVER__HOST=0\.0\.0\.0 /m);
});

test("a node is given the time that its drain takes", () => {
  for (const [, { environment, stop_grace_period: patience }] of nodes) {
    assert.ok(seconds(patience) > Number(environment.GEMA_SERVER__SHUTDOWN_GRACE_S) + LAST_S);
  }
  const [, patience] = /^TimeoutStopSec=(\S+)$/m.exec(read("config/gema.service"));
  const [, grace] = /^shutdown_grace_s = (\d+)$/m.exec(read("config/default.toml"));
  assert.ok(seconds(patience) > Number(grace) + LAST_S);
});

test("what a service waits for can come: its services are checked, its files are there", () => {
  for (const [name, service] of Object.entries(compose.services)) {
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      assert.equal(condition, "service_healthy", `${name} waits for ${other}`);
      const built = compose.services[other].build;
      assert.ok(built ? /^HEALTHCHECK /m.test(dockerfile) : compose.services[other].healthcheck, `${other} is checked`);
    }
    const files = (service.volumes ?? []).filter((volume) => volume.startsWith("./"));
    for (const file of files) assert.ok(existsSync(join(ROOT, file.split(":")[0])), `${name} mounts ${file}`);
  }
});

test("the proxies and Prometheus know the nodes of docker-compose.yml", () => {
  const names = nodes.map(([name]) => name);
  const presets = [...read("config/haproxy.cfg").matchAll(/presetenv GEMA_\d (\S+)/g)].map(([, address]) => address);
  assert.deepEqual(presets, names.map((name) => `${name}:6001`));
  const servers = read("config/nginx.conf").matchAll(/^ {4}server (\S+) /gm);
  assert.deepEqual([...new Set([...servers].map(([, address]) => address))], names.map((name) => `${name}:6001`));
  const [job] = yaml("config/prometheus.yml").scrape_configs;
  assert.deepEqual(job.static_configs[0].targets, names.map((name) => `${name}:9601`));
  const token = compose.services.prometheus.configs[0];
  assert.equal(job.authorization.credentials_file, token.target);
  assert.equal(compose.configs[token.source].content, nodes[0][1].environment.GEMA_ADMIN__TOKEN);
});

test("the image's build is given all that the program is made of", () => {
  const shown = [...read(".dockerignore").matchAll(/^!(\S+)$/gm)].map(([, path]) => path);
  const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, sources]) => sources.split(" "));
  const below = (path, folders) => folders.some((folder) => path === folder || path.startsWith(`${folder}/`));
  assert.ok(copies.length > 5);
  for (const path of copies) assert.ok(existsSync(join(ROOT, path)) && below(path, shown), `.dockerignore shows ${path}`);
  const sources = ["src", "protocol/src"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true }).map((file) => join(folder, file)).filter((file) => file.endsWith(".rs")),
  );
  const included = sources.flatMap((file) =>
    // Of a name put together from parts the first says where it is.
    [...withoutTests(read(file)).matchAll(/include_(?:str|bytes)!\((?:concat!\(\s*)?"([^"]+)"/g)].map(([, path]) =>
      relative(ROOT, resolve(ROOT, dirname(file), path)),
    ),
  );
  assert.ok(included.some((path) => path.startsWith("migrations/")) && included.length > 10);
  for (const path of included) assert.ok(below(path, copies), `the Dockerfile copies ${path}`);
});

/** A source file up to its tests, which the image does not build. */
function withoutTests(source) {
  return source.split("#[cfg(test)]")[0];
}

/** What `file` says. */
function yaml(file) {
  const program = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
  const { status, stdout, stderr } = spawnSync(PYTHON, ["-c", program], { input: read(file), encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}

/** A value of docker-compose.yml where the environment says nothing: ${NAME:-default} is its default. */
function withDefaults(value) {
  return value.replace(/\$\{\w+:-([^}]*)\}/g, "$1");
}

function seconds(duration) {
  return Number(/^(\d+)s$/.exec(duration)[1]);
}
