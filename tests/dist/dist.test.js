// What `make dist` has made is what docs/releases.md says: taken apart in a directory of its own, and run. Needs dist/, and so is no
// part of `make test`; `make dist` ends with it.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const DIST = join(ROOT, "dist");
const [, VERSION] = /^\[workspace\.package\]\nversion = "(.*)"$/m.exec(readFileSync(join(ROOT, "Cargo.toml"), "utf8"));
const JWT_SECRET = "a-secret-of-the-test-that-is-long-enough";
const DEADLINE_MS = 10_000;

const files = readdirSync(DIST);
const only = (pattern) => {
  const found = files.filter((file) => pattern.test(file));
  assert.equal(found.length, 1, `${pattern} in ${files}`);
  return join(DIST, found[0]);
};
const archive = only(/^gema-.*-linux-musl\.tar\.gz$/);
const deb = only(/^gema_.*\.deb$/);
const bill = only(/^gema-.*\.cdx\.json$/);

let root;
let unpacked;
before(() => {
  root = mkdtempSync(join(tmpdir(), "gema-dist-"));
  run("dpkg-deb", ["--extract", deb, join(root, "deb")]);
  run("tar", ["-xzf", archive, "-C", root]);
  unpacked = join(root, readdirSync(root).find((name) => name.startsWith(`gema-${VERSION}-`)));
});
after(() => rmSync(root, { recursive: true, force: true }));

const installed = (path) => join(root, "deb", path);

test("the checksums are right, and of everything", () => {
  run("sha256sum", ["--check", "--strict", "SHA256SUMS"], { cwd: DIST });
  const named = readFileSync(join(DIST, "SHA256SUMS"), "utf8").trim().split("\n").map((line) => line.split("  ")[1]);
  assert.deepEqual(named.sort(), files.filter((file) => file !== "SHA256SUMS").sort());
});

test("both have the same binary, static, stripped, and without a path of the machine that made it", () => {
  const binary = readFileSync(installed("usr/bin/gema"));
  assert.ok(binary.equals(readFileSync(join(unpacked, "gema"))));
  const headers = run("readelf", ["--program-headers", "--section-headers", "--wide", installed("usr/bin/gema")]);
  assert.doesNotMatch(headers, /INTERP/);
  assert.doesNotMatch(headers, /\.symtab/);
  assert.doesNotMatch(run("readelf", ["--dynamic", installed("usr/bin/gema")]), /NEEDED/);
  assert.ok(!binary.includes(ROOT), ROOT);
  assert.equal(run(installed("usr/bin/gema"), ["--version"]), `gema ${VERSION}\n`);
});

test("nothing tells when, where or by whom it was made", () => {
  const made = new Date(1000 * Number(process.env.SOURCE_DATE_EPOCH ?? run("git", ["log", "-1", "--format=%ct"], { cwd: ROOT })));
  const listing = (tar) => run("bash", ["-c", `set -o pipefail; ${tar} | tar --list --verbose --full-time --numeric-owner --utc`]);
  for (const tar of [`zcat ${archive}`, `dpkg-deb --fsys-tarfile ${deb}`, `dpkg-deb --ctrl-tarfile ${deb}`]) {
    const lines = listing(tar).trim().split("\n");
    assert.ok(lines.length > 2, tar);
    for (const line of lines) {
      const [, owner, , day, time] = line.split(/\s+/);
      assert.equal(owner, "0/0", line);
      assert.equal(`${day}T${time}`, made.toISOString().slice(0, 19), line);
    }
  }
  // gzip's header has a time as well (RFC 1952, section 2.3).
  assert.equal(readFileSync(archive).readUInt32LE(4), 0);
});

test("the package has its files where they belong, and settings that are kept", () => {
  for (const path of [
    "etc/gema/gema.toml",
    "usr/lib/systemd/system/gema.service",
    "usr/share/man/man1/gema.1.gz",
    "usr/share/doc/gema/copyright",
    "usr/share/doc/gema/default.toml",
    "usr/share/doc/gema/examples/sysctl.d/99-gema.conf",
    "usr/share/doc/gema/examples/alerts.yml",
    "usr/share/doc/gema/examples/grafana.json",
  ]) {
    assert.ok(existsSync(installed(path)), path);
    assert.equal(statSync(installed(path)).mode & 0o777, 0o644, path);
  }
  assert.equal(statSync(installed("usr/bin/gema")).mode & 0o777, 0o755);
  const [, program] = /^ExecStart=(\S+)/m.exec(readFileSync(installed("usr/lib/systemd/system/gema.service"), "utf8"));
  assert.ok(existsSync(installed(program)), program);
  assert.equal(run("dpkg-deb", ["--info", deb, "conffiles"]), "/etc/gema/gema.toml\n");
  assert.equal(run("dpkg-deb", ["--field", deb, "Version"]), `${VERSION}-1\n`);
  assert.match(run("dpkg-deb", ["--info", deb, "postinst"]), /--signal=USR2/);
  for (const state of ["/var/lib/gema", "/etc/gema/environment"]) {
    assert.ok(run("dpkg-deb", ["--info", deb, "postrm"]).includes(state), `${state} goes when it is purged`);
  }
});

test("the settings that it installs are good", () => {
  run(installed("usr/bin/gema"), ["check", "--config", installed("etc/gema/gema.toml")]);
});

test("the binary serves with TLS, tokens and SQLite, and says its version wherever it should", async () => {
  const dir = join(root, "run");
  run("mkdir", [dir]);
  const pem = (name) => join(dir, name);
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  run("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", ...subject, "-keyout", pem("key"), "-out", pem("cert")]);
  const admin = await freePort();
  const settings = `
[server]
host = "localhost"
port = 0
tls_cert = "cert"
tls_key = "key"
[admin]
port = ${admin}
[auth]
jwt_secret = "${JWT_SECRET}"
[database]
url = "sqlite://gema.db"
`;
  writeFileSync(join(dir, "gema.toml"), settings);
  // The kernel ends it when this process goes, however that happens.
  const args = ["--pdeathsig", "KILL", installed("usr/bin/gema"), "serve", "--config", "gema.toml"];
  const gema = spawn("setpriv", args, { cwd: dir, env: { PATH: process.env.PATH, GEMA_LOG: "info" }, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  gema.stderr.setEncoding("utf8").on("data", (text) => (log += text));
  try {
    const line = await new Promise((good, bad) => {
      createInterface({ input: gema.stdout }).once("line", good);
      gema.once("exit", (code) => bad(new Error(`it ended with ${code}: ${log}`)));
    });
    const [, version, port] = /^gema (\S+) listening on \S+:(\d+) \(TLS\)$/.exec(line);
    assert.equal(version, VERSION);
    const curl = (path, ...more) => run("curl", ["--silent", "--max-time", "10", "--cacert", pem("cert"), ...more, `https://localhost:${port}${path}`]);
    assert.deepEqual(JSON.parse(curl("/up")), { status: "up", version: VERSION });
    const asked = ["--header", `Authorization: Bearer ${token("7")}`, "--data", "socket_id=1.2&channel_name=private-booking.7"];
    assert.match(JSON.parse(curl("/api/broadcasting/auth", ...asked)).auth, /^app-key:[0-9a-f]{64}$/);
    const figures = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
    assert.ok(figures.includes(`gema_build_info{version="${VERSION}"} 1\n`), figures);
    const deadline = Date.now() + DEADLINE_MS;
    while (!log.includes("the database is open")) {
      assert.ok(Date.now() < deadline, log);
      await delay(20);
    }
  } finally {
    gema.kill("SIGKILL");
  }
});

test("the bill of materials names every crate with the version that Cargo.lock has", () => {
  const materials = JSON.parse(readFileSync(bill, "utf8"));
  assert.equal(materials.bomFormat, "CycloneDX");
  assert.equal(materials.metadata.component.name, "gema");
  assert.equal(materials.metadata.component.version, VERSION);
  const lock = readFileSync(join(ROOT, "Cargo.lock"), "utf8");
  const locked = new Set([...lock.matchAll(/^name = "(.*)"\nversion = "(.*)"$/gm)].map(([, name, version]) => `${name} ${version}`));
  const names = materials.components.map(({ name, version }) => `${name} ${version}`);
  assert.deepEqual(names.filter((name) => !locked.has(name)), []);
  for (const name of ["tokio", "sqlx", "rustls", "tikv-jemallocator", "redis"]) {
    assert.ok(materials.components.some((component) => component.name === name), name);
  }
  assert.ok(!readFileSync(bill, "utf8").includes(tmpdir() + "/"), "a path of the machine that made it");
});

/** What a program prints; it must end well. */
function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", ...options });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${error ?? ""}${stdout}${stderr}`);
  return stdout;
}

/** A Bearer token of this user (RFC 7519, HS256). */
function token(sub) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`;
}

/** A port of 127.0.0.1 that nobody has at the moment. */
function freePort() {
  return new Promise((good, bad) => {
    const server = createServer();
    server.once("error", bad).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => good(port));
    });
  });
}
