// The documents keep their word: what they show is run as it is printed, but for the port, against a server on the
// defaults that knows a secret for tokens, with what surroundings.js puts around them. Kinds of blocks:
//
//     posts [CHANNEL EVENT]     ends well, and a subscriber hears the event
//     hears CHANNEL EVENT …     a page: it prints what is posted on these channels
//     verifies                  its function isFromGema believes a webhook of gema's, and not a changed one
//     shows [BLOCK …]           commands after "$ ", and what they print; the named blocks lie beside them as files
//     file                      is put where another block needs it
//
// and those of other test files: env and nginx (deployment-guides.test.js), page (tests/browser/guides.test.js),
// prelude and answers (http-api.test.js).

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";

import { blockNamed, blocks, blocksToRun } from "./documents.js";
import { GEMA_BIN, directory, run, startProgram } from "./nodes.js";
import { startReceiver } from "./receiver.js";
import { JWT_SECRET, PYTHON, ROOT, backend, connect, heard, jwt, startGema, subscribed, until, within } from "./support.js";

const OUT = join(ROOT, "tests/clients/out"); // below tests/, so that Node finds the client packages
const KINDS = ["posts", "hears", "verifies", "shows", "file", "env", "nginx", "page", "prelude", "answers"];
// Whoever writes a block in one of these says whether it is run.
const RUNNABLE = ["js", "jsx", "vue", "bash", "python", "ini"];
const AROUND = pathToFileURL(join(ROOT, "tests/clients/surroundings.js")).href;
const FLAGS = { bash: ["-euo", "pipefail"], js: ["--import", AROUND] };
const RUNNERS = { bash: ["bash", "sh"], js: [process.execPath, "mjs"], python: [PYTHON, "py"] };

const NATIVE = join(ROOT, "tests/clients/react-native"); // for modules that React Native has and Node does not
const APP = { id: "app-id", key: "app-key", secret: "app-secret" };
const TOKEN = jwt({ sub: "7", name: "Ani", rooms: ["1"] });

// One server for all blocks that want the same of its environment.
const servers = new Map();
for (const { run } of blocks()) {
  const settings = JSON.stringify(run?.settings ?? {});
  if (!servers.has(settings)) servers.set(settings, await startGema(after, null, { JWT_SECRET, ...JSON.parse(settings) }));
}
const serverOf = ({ run }) => servers.get(JSON.stringify(run.settings));

test("each block in a language that runs says whether it is run", () => {
  const silent = blocks().filter(({ language, run, notRun }) => RUNNABLE.includes(language) && !run && !notRun);
  assert.deepEqual(silent.map(({ at, language }) => `${at} (${language})`), []);
});

test("each block that is run has a name of its own and a kind that is known", () => {
  const named = blocks().flatMap(({ at, run }) => (run ? [{ at, ...run }] : []));
  assert.ok(named.length > 20, "the documents mark blocks to run");
  for (const { at, name, kind } of named) {
    assert.ok(KINDS.includes(kind), `${at}: nobody runs blocks of the kind ${kind}`);
    assert.equal(named.filter((other) => other.name === name).length, 1, `${at}: another block is called ${name}`);
  }
});

describe("each block that posts is heard", () => {
  for (const block of blocksToRun("posts")) {
    const [channel = "availability", event = "App\\Events\\AvailabilityUpdated"] = block.run.args;
    test(block.run.name, async (t) => {
      const gema = serverOf(block);
      const listener = await subscribed(connect(t, gema, { key: APP.key, token: TOKEN }).subscribe(channel));
      const posted = heard(listener, event);
      const program = begin(t, block, gema);
      assert.equal(await within(program.exited, `the end of ${block.at}`), 0, program.output());
      await posted;
    });
  }
});

describe("each page hears what is posted", () => {
  for (const block of blocksToRun("hears")) {
    test(block.run.name, async (t) => {
      const gema = serverOf(block);
      const sdk = backend(gema, { appId: APP.id, ...APP });
      const page = begin(t, block, gema);
      const { args } = block.run;
      for (let at = 0; at < args.length; at += 2) {
        const [channel, event] = args.slice(at, at + 2);
        // Posted again until it is printed: a page does not say when it has subscribed.
        const sign = `sign-${at}-${process.pid}`;
        const printed = async () => {
          if (page.child.exitCode !== null) throw new Error(`${block.at} has ended: ${page.output()}`);
          if (page.said(sign)) return true;
          await sdk.trigger(channel, event, payload(sign));
          await delay(100);
          return page.said(sign);
        };
        await until(printed, `${block.at} prints ${event} of ${channel}`).catch((error) => {
          throw new Error(`${error.message}; it printed: ${page.output()}`);
        });
      }
    });
  }
});

for (const block of blocksToRun("verifies")) {
  test(`${block.run.name} believes webhooks of gema's and no others`, async (t) => {
    const receiver = await startReceiver((end) => t.after(end));
    const webhook = `[[apps.webhooks]]\nurl = "${receiver.url}/hook"\n`;
    const gema = await startGema((end) => t.after(end), `[server]\nport = 0\n${tomlOf(APP)}${webhook}`);
    await subscribed(connect(t, gema, { key: APP.key }).subscribe("orders"));
    await until(() => receiver.requests.length > 0, "a webhook");
    const [{ rawBody, headers }] = receiver.requests;
    const { isFromGema } = await import(written(block, `${block.code}\nexport { isFromGema };`));
    assert.equal(isFromGema(rawBody, headers), true);
    assert.equal(isFromGema(rawBody.replace("orders", "0rders"), headers), false);
    assert.equal(isFromGema(rawBody, {}), false);
  });
}

describe("each command prints what is shown", () => {
  for (const block of blocksToRun("shows")) {
    test(block.run.name, async (t) => {
      const cwd = directory((end) => t.after(end));
      for (const name of block.run.args) writeFileSync(join(cwd, name), blockNamed(name).code);
      for (const part of block.code.split(/^\$ /m).slice(1)) {
        const [command, ...lines] = part.split("\n");
        const { output } = await run((end) => t.after(end), "bash", ["-c", `exec 2>&1; ${command}`], { cwd, env: commands() });
        assert.equal(output, lines.join("\n"), command);
      }
    });
  }
});

describe("each part of a configuration is one that gema check takes", () => {
  for (const { at, code, run: said, notRun } of blocks().filter(({ language }) => language === "toml")) {
    if (said || notRun) continue;
    test(at, async (t) => {
      const cwd = directory((end) => t.after(end));
      // A webhook belongs to an app, which the text before it speaks of.
      const app = /^\[\[apps\.webhooks/m.test(code) && !/^\[\[apps\]\]/m.test(code);
      writeFileSync(join(cwd, "gema.toml"), (app ? tomlOf(APP) : "") + code);
      const { code: status, output } = await run((end) => t.after(end), GEMA_BIN, ["check", "--config", "gema.toml"], { cwd });
      assert.equal(status, 0, output);
    });
  }
});

/** The lines of an app in a configuration. */
function tomlOf(app) {
  const lines = Object.entries(app).map(([key, value]) => `${key} = "${value}"\n`);
  return `[[apps]]\n${lines.join("")}`;
}

/** Begins to run a block: `gema` on its PATH is the one under test, and what the text before it sets up is there. */
function begin(t, block, gema) {
  const [program, extension] = RUNNERS[block.language] ?? [];
  assert.ok(program, `${block.at}: no way to run ${block.language}`);
  const port = String(gema.port);
  const file = written(block, block.code.replaceAll("6001", port), extension);
  const flags = FLAGS[block.language] ?? [];
  const env = commands({ GEMA_SERVER__PORT: port, PORT: port, TOKEN, KIND: block.run.kind });
  return startProgram((end) => t.after(end), program, [...flags, file], { cwd: OUT, env });
}

/** Data with the names that the documents' payloads have, each holding the sign. */
function payload(sign) {
  const names = ["session_id", "available_slots", "invoice_number", "id", "sender_id", "content", "message", "status", "total"];
  return Object.fromEntries(names.map((name) => [name, sign]));
}

/** An environment in which `gema` is the program under test, and NetInfo of React Native one that says "connected". */
function commands(env = {}) {
  return { PATH: `${dirname(GEMA_BIN)}:${process.env.PATH}`, NODE_PATH: NATIVE, ...env };
}

/** Writes a block's code where Node finds the client packages, and gives the file. */
function written({ run: { name } }, code, extension = "mjs") {
  const file = join(OUT, `${name}.${extension}`);
  mkdirSync(OUT, { recursive: true });
  writeFileSync(file, code);
  return file;
}
