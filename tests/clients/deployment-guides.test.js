// What the guides say to put around gema, taken from the Markdown: Laravel's .env feeds gema by `gema import`, a back end
// and a page that read it meet there, and the location for nginx lets both through.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseEnv } from "node:util";

import Echo from "laravel-echo";
import Pusher from "pusher-js";
import Server from "pusher";

import { blocksToRun } from "./documents.js";
import { GEMA_BIN, answers, directory, freePort, run, startProgram } from "./nodes.js";
import { APP, backend, connect, heard, startGema, subscribed, until, within } from "./support.js";

for (const { at, code, run: said } of blocksToRun("env")) {
  test(`the .env at ${at} (${said.name}) brings a back end and a page together at gema`, async (t) => {
    const hook = (end) => t.after(end);
    const cwd = directory(hook);
    writeFileSync(join(cwd, ".env"), code);
    const imported = await run(hook, GEMA_BIN, ["import", ".env", "--output", "gema.toml"], { cwd });
    assert.equal(imported.code, 0, imported.output);
    assert.doesNotMatch(imported.output, /not carried over: [A-Z]+_/); // a variable
    const toml = readFileSync(join(cwd, "gema.toml"), "utf8");
    const gema = await startGema(hook, toml, { GEMA_SERVER__HOST: "127.0.0.1", GEMA_SERVER__PORT: "0" });

    const env = { ...laravels(code.replaceAll("6001", String(gema.port))), ...said.settings };
    const prefix = env.BROADCAST_CONNECTION.toUpperCase();
    // As config/broadcasting.php does.
    const of = (name) => env[`${prefix}_${name}`];
    const account = { appId: of("APP_ID"), key: of("APP_KEY"), secret: of("APP_SECRET") };
    const laravel = new Server({ ...account, host: of("HOST"), port: of("PORT"), useTLS: of("SCHEME") === "https" });
    // As the page does, which the browser tests build with the documented code. Without variables of its own it is told the same.
    const pages = (name) => env[`VITE_${prefix}_${name}`] ?? of(name);
    const echo = new Echo({
      broadcaster: env.BROADCAST_CONNECTION,
      Pusher,
      key: pages("APP_KEY"),
      cluster: pages("APP_CLUSTER") ?? "",
      wsHost: pages("HOST"),
      wsPort: pages("PORT"),
      forceTLS: pages("SCHEME") === "https",
      enabledTransports: ["ws", "wss"],
    });
    hook(() => echo.disconnect());
    const channel = echo.channel("orders");
    await within(new Promise((done) => channel.subscribed(done)), "the subscription");
    const shipped = within(new Promise((done) => channel.listen("OrderShipped", done)), "the event");
    await laravel.trigger("orders", "App\\Events\\OrderShipped", { order: 7 });
    assert.deepEqual(await shipped, { order: 7 });
  });
}

for (const { at, code, run: said } of blocksToRun("nginx")) {
  test(`the location at ${at} (${said.name}) lets pages and back ends through nginx`, async (t) => {
    const hook = (end) => t.after(end);
    const gema = await startGema(hook);
    const [port, dir] = [await freePort(), directory(hook)];
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${dir}/${of};`);
    writeFileSync(
      join(dir, "nginx.conf"),
      `daemon off; master_process off; pid ${dir}/pid; error_log stderr warn; events { worker_connections 64; }
http { access_log off; ${temporary.join(" ")} server { listen 127.0.0.1:${port};
${code.replaceAll("6001", String(gema.port))} } }`,
    );
    const nginx = startProgram(hook, "nginx", ["-e", "stderr", "-p", dir, "-c", join(dir, "nginx.conf")]);
    const proxy = { host: "127.0.0.1", port, tls: false, url: `http://127.0.0.1:${port}` };
    await until(() => answers(`${proxy.url}/ready`), "nginx serves");
    assert.doesNotMatch(nginx.output(), /\[(warn|error|emerg)\]/);

    const http = { httpHost: proxy.host, httpPort: port, enabledTransports: ["xhr_streaming"] };
    for (const more of [{}, http]) {
      const channel = await subscribed(connect(t, proxy, more).subscribe("orders"));
      const hello = heard(channel, "hello");
      await backend(proxy, { appId: APP.id }).trigger("orders", "hello", {});
      await hello;
    }
  });
}

/** The variables of a .env as Laravel reads them: a value may name others, as in "${PUSHER_HOST}". */
function laravels(text) {
  const env = parseEnv(text);
  const filled = (value) => value.replace(/\$\{(\w+)\}/g, (_, name) => filled(env[name] ?? ""));
  return Object.fromEntries(Object.entries(env).map(([name, value]) => [name, filled(value)]));
}
