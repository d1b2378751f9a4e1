// config/openapi.yaml is a promise: schemathesis makes requests from it, good and bad ones, and looks whether the
// server answers each as it says.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { after, test } from "node:test";

import { APP, PYTHON, ROOT, jwt, startGema } from "./support.js";

const gema = await startGema(after);
const dir = mkdtempSync(join(tmpdir(), "schemathesis-")); // what it notes for itself
after(() => rmSync(dir, { recursive: true, force: true }));

test("every answer is one that config/openapi.yaml describes", async () => {
  const clients = join(ROOT, "tests/clients");
  const env = {
    PATH: process.env.PATH,
    COLUMNS: "120",
    GEMA_URL: gema.url,
    GEMA_HOOKS: join(clients, "openapi_signing.py"),
    GEMA_APP_ID: APP.id,
    GEMA_KEY: APP.key,
    GEMA_SECRET: APP.secret,
    GEMA_TOKEN: jwt({ sub: "7", name: "Ani", roles: ["staff"], rooms: ["1"] }),
  };
  const args = ["--config-file", join(clients, "openapi.toml"), "run", join(ROOT, "config/openapi.yaml")];
  const child = spawn(join(dirname(PYTHON), "schemathesis"), args, { cwd: dir, env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((good, bad) => child.once("error", bad).once("close", good));
  const [output, code] = await Promise.all([text(child.stdout), ended]);
  assert.equal(code, 0, output);
});
