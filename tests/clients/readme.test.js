// The README keeps its word: every snippet behind a `<!-- run: NAME -->` comment runs as printed (but for the
// port) against a server on the defaults, and a subscriber hears the event it posts. Settings the text around it
// asks for stand in the comment, as in `<!-- run: NAME PUSHER_APP_ID=1001 -->`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";

import { PYTHON, ROOT, connect, heard, startGema, subscribed, within } from "./support.js";

const OUT = join(ROOT, "tests/clients/out"); // below tests/, so that Node finds the client packages
const RUNNERS = { bash: ["bash", "sh"], js: [process.execPath, "mjs"], python: [PYTHON, "py"] };
const ALIASES = { javascript: "js", sh: "bash", shell: "bash" };

const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const snippets = [...readme.matchAll(/^<!-- run: (\S+)(.*) -->\n+```(\w+)\n([^]*?)^```$/gm)].map(
  ([, name, settings, language, code]) => ({
    name,
    settings: Object.fromEntries(settings.split(/\s+/).filter(Boolean).map((setting) => setting.split("="))),
    language: ALIASES[language] ?? language,
    code,
  }),
);

test("each marker stands before a fenced block", () => {
  assert.ok(snippets.length > 0, "README.md marks snippets to run");
  assert.equal(snippets.length, readme.match(/<!-- run:/g).length);
});

describe("each marked snippet posts what a page hears", () => {
  for (const { name, settings, language, code } of snippets) {
    test(name, async (t) => {
      const gema = await startGema((end) => t.after(end), null, settings);
      assert.ok(RUNNERS[language], `no way to run ${language}`);
      const [program, extension] = RUNNERS[language];
      // A snippet may be written with require().
      const commonjs = language === "js" && !/^import /m.test(code);
      const file = join(OUT, `${name}.${commonjs ? "cjs" : extension}`);
      mkdirSync(OUT, { recursive: true });
      writeFileSync(file, code.replaceAll("6001", String(gema.port)));

      const channel = await subscribed(connect(t, gema, { key: "app-key" }).subscribe("availability"));
      const event = heard(channel, "App\\Events\\AvailabilityUpdated");
      const flags = language === "bash" ? ["-euo", "pipefail"] : [];
      const child = spawn(program, [...flags, file], { cwd: OUT, stdio: ["ignore", "inherit", "inherit"] });
      const ended = new Promise((good, bad) => child.once("error", bad).once("close", good));
      assert.equal(await within(ended, `the end of ${name}`), 0, `${name} exits with 0`);
      await event;
    });
  }
});
