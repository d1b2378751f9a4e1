// The web server in front of the tests' pages: builds them for one gema, serves them over TLS and
// hands /api/broadcasting/* on to gema, as nginx would in production.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, request } from "node:https";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import react from "@vitejs/plugin-react";
import vue from "@vitejs/plugin-vue";
import { build } from "vite";

import { APP } from "../clients/support.js";

export const OUT = fileURLToPath(new URL("out/", import.meta.url));

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css" };

/** A self-signed certificate for this machine: the paths and text of its PEM files. `hook` removes them. */
export function certificate(hook) {
  const dir = mkdtempSync(join(tmpdir(), "gema-tls-"));
  hook(() => rmSync(dir, { recursive: true, force: true }));
  const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
  const names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
  const kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost";
  execFileSync("openssl", [...kind.split(" "), "-addext", names, "-keyout", key, "-out", cert], { stdio: "pipe" });
  return { cert, key, certPem: readFileSync(cert), keyPem: readFileSync(key) };
}

/** Where the built pages of `source` stand; each test file builds its own, for they run side by side. */
const site = (source) => join(OUT, `site-${source}`);

/** Builds the pages of the folder `source` with the settings an application would have in its environment. */
export async function buildPages(gema, source = "page") {
  const settings = { KEY: APP.key, CLUSTER: "mt1", HOST: gema.host, PORT: String(gema.port) };
  const define = { "process.env.MIX_PUSHER_APP_KEY": APP.key, "process.env.MIX_PUSHER_APP_CLUSTER": "mt1" };
  for (const prefix of ["process.env.MIX_PUSHER", "process.env.REACT_APP_PUSHER", "import.meta.env.VITE_PUSHER"]) {
    for (const [name, value] of Object.entries(settings)) define[`${prefix}_${name}`] = value;
  }
  for (const name in define) define[name] = JSON.stringify(define[name]);
  await build({
    configFile: false,
    root: fileURLToPath(new URL(`${source}/`, import.meta.url)),
    build: { outDir: site(source), emptyOutDir: true },
    logLevel: "warn",
    define,
    plugins: [react(), vue()],
  });
}

/** Serves the built pages of `source` until `hook` ends it, and gives their address. */
export async function serveSite(hook, gema, tls, source = "page") {
  const proxy = (incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const target = { host: gema.host, port: gema.port, method, path, headers, ca: tls.certPem };
    const onward = request(target, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    onward.once("error", (error) => outgoing.writeHead(502).end(error.message));
    incoming.pipe(onward);
  };
  const server = createServer({ cert: tls.certPem, key: tls.keyPem }, (incoming, outgoing) => {
    const { pathname } = new URL(incoming.url, "https://site");
    if (pathname.startsWith("/api/broadcasting/")) return proxy(incoming, outgoing);
    const file = pathname === "/" ? "/index.html" : pathname;
    try {
      const body = readFileSync(join(site(source), file));
      outgoing.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }).end(body);
    } catch {
      outgoing.writeHead(404).end();
    }
  });
  await new Promise((good, bad) => server.once("error", bad).listen(0, "127.0.0.1", good));
  hook(() => {
    server.close();
    server.closeAllConnections();
  });
  return `https://127.0.0.1:${server.address().port}/`;
}
