// The pages of the guides in a real browser: their files are taken from the Markdown, but for the port, and built by Vite as a
// reader would; only what mounts a component is ours.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";

import react from "@vitejs/plugin-react";
import vue from "@vitejs/plugin-vue";
import { build } from "vite";

import { blockNamed, blocksToRun } from "../clients/documents.js";
import { JWT_SECRET, ROOT, backend, get, jwt, startGema, until } from "../clients/support.js";
import { launch } from "./chromium.js";
import { OUT } from "./site.js";

const PUSHER_JS = join(ROOT, "tests/node_modules/pusher-js/dist/web/pusher.min.js");
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript" };
// In StrictMode, and built for development: each component is mounted twice.
const REACT = `import React, { StrictMode } from "react"; import { createRoot } from "react-dom/client";
const root = createRoot(document.getElementById("root"));
const show = (page) => root.render(<StrictMode>{page}</StrictMode>);`;

/** What a reader has besides the files of a guide: the entry of the page, the guides' files it borrows, its .env. */
const SITES = {
  react: {
    entry: `${REACT} import Orders from "./Orders.jsx";
      show(<><Orders /><Orders /></>); window.unmount = () => root.unmount();`,
  },
  vue: {
    files: { "realtime.js": "react-connection" },
    entry: `import { createApp } from "vue"; import Orders from "./Orders.vue";
      const app = createApp(Orders); app.mount("#root"); window.unmount = () => app.unmount();`,
  },
  "laravel-pusher": { files: { ".env": "laravel-pusher.env" }, entry: `import "./echo.js"; ${listening()}` },
  "laravel-reverb": { files: { ".env": "laravel-reverb.env" }, entry: `import "./echo.js"; ${listening()}` },
  "echo-react": {
    files: { ".env": "laravel-reverb.env" },
    entry: `import "./echo.js"; import Order from "./Order.jsx"; ${REACT} show(<Order userId="7" />);`,
  },
  "echo-vue": {
    files: { ".env": "laravel-reverb.env", "echo.js": "echo-react-setup" },
    // The comment in the snippet says which package to write for Vue.
    change: (code) => code.replace('"@laravel/echo-react"; //', '"@laravel/echo-vue"; //'),
    entry: `import "./echo.js"; import { createApp } from "vue"; import Order from "./Order.vue";
      createApp(Order, { userId: "7" }).mount("#root");`,
  },
};

/** Shows what the page's Echo hears on `orders`. */
function listening() {
  return `window.Echo.channel("orders").listen("OrderShipped", ({ item }) => (document.getElementById("root").textContent = item));`;
}

const DEFAULT = { appId: "app-id", key: "app-key", secret: "app-secret" };
const SHOP = { appId: "shop", key: "shop-key", secret: "shop-secret" };
const app = ({ appId, key, secret }) => `[[apps]]\nid = "${appId}"\nkey = "${key}"\nsecret = "${secret}"\n`;
const toml = `[server]\nport = 0\n${app(DEFAULT)}${app(SHOP)}[auth]\napp = "shop"\n`;
const gema = await startGema(after, toml, { JWT_SECRET });
const [site, shop] = [backend(gema, DEFAULT), backend(gema, SHOP)];
const browser = await launch(after);
const context = await browser.newContext();
await context.addInitScript((token) => {
  if (location.protocol === "http:") localStorage.setItem("token", token);
}, jwt({ sub: "7", name: "Ani", rooms: ["1"] }));
// Pusher's CDN is not asked: the same file of npm's package is given.
await context.route("https://js.pusher.com/**", (route) => route.fulfill({ path: PUSHER_JS }));

test("every file of the guides' pages belongs to a page that is opened here", () => {
  const pages = new Set(blocksToRun("page").map(({ run }) => run.args[0].split("/")[0]));
  assert.deepEqual([...pages].sort(), [...Object.keys(SITES), "quick-start"].sort());
});

test("the page of the quick start shows the event, opened as a file", async (t) => {
  const file = join(OUT, "guides/quick-start.html");
  write(file, printed("quick-start.html"));
  const page = await opened(t, pathToFileURL(file).href);
  await listeners(site, "orders", 1);
  await site.trigger("orders", "new-order", { item: "Nasi goreng" });
  await page.locator("#orders li").filter({ hasText: "Nasi goreng" }).waitFor();
});

for (const framework of ["react", "vue"]) {
  test(`components in ${framework} hear each event once, and leave the channel with the last of them`, async (t) => {
    const page = await opened(t, await served(t, framework));
    await listeners(site, "orders", 1);
    await site.trigger("orders", "new-order", { id: 1, item: "Nasi goreng" });
    await site.trigger("orders", "new-order", { id: 2, item: "Es teh" });
    await page.locator("li").filter({ hasText: "Es teh" }).first().waitFor();
    const lists = await page.locator("ul").allInnerTexts();
    assert.deepEqual(lists, lists.map(() => "Nasi goreng\nEs teh"));
    await page.evaluate(() => window.unmount());
    await listeners(site, "orders", 0);
  });
}

for (const driver of ["pusher", "reverb"]) {
  test(`Laravel's page for the driver ${driver}, built with its .env, hears what its back end posts`, async (t) => {
    const page = await opened(t, await served(t, `laravel-${driver}`));
    await listeners(shop, "orders", 1);
    await shop.trigger("orders", "App\\Events\\OrderShipped", { item: "Nasi goreng" });
    await page.locator("#root").filter({ hasText: "Nasi goreng" }).waitFor();
  });
}

test("the hooks of @laravel/echo-react hear private, public and presence channels, authorized by gema", async (t) => {
  const page = await opened(t, await served(t, "echo-react"));
  for (const channel of ["private-booking.7", "availability", "presence-room.1"]) await listeners(shop, channel, 1);
  await shop.trigger("private-booking.7", "App\\Events\\BookingStatusUpdated", { status: "confirmed" });
  await shop.trigger("availability", "App\\Events\\AvailabilityUpdated", { available_slots: 5 });
  await shop.trigger("presence-room.1", "App\\Events\\NoticePosted", { text: "full soon" });
  await page.locator("#order").filter({ hasText: "confirmed, 5 free, full soon" }).waitFor();
});

test("the hooks of @laravel/echo-vue hear a private channel, and tell the connection's state", async (t) => {
  const page = await opened(t, await served(t, "echo-vue"));
  await listeners(shop, "private-booking.7", 1);
  await shop.trigger("private-booking.7", "App\\Events\\BookingStatusUpdated", { status: "confirmed" });
  await page.locator("#order").filter({ hasText: "confirmed, connected" }).waitFor();
});

/** The code of a block, with the port of the server under test. */
const printed = (name) => blockNamed(name).code.replaceAll("6001", String(gema.port));

function write(file, text) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** Builds the page of this name and serves it until the test ends; gives its address. */
async function served(t, name) {
  const { entry, files = {}, change = (code) => code } = SITES[name];
  const root = join(OUT, "guides", name);
  rmSync(root, { recursive: true, force: true });
  const own = blocksToRun("page").filter(({ run }) => run.args[0].startsWith(`${name}/`));
  const all = { ...files, ...Object.fromEntries(own.map(({ run }) => [run.args[0].slice(name.length + 1), run.name])) };
  for (const [file, block] of Object.entries(all)) write(join(root, file), change(printed(block)));
  write(join(root, "main.jsx"), entry);
  write(join(root, "index.html"), '<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="./main.jsx"></script>');
  const dist = join(root, "dist");
  const define = { "process.env.NODE_ENV": '"development"' };
  await build({ configFile: false, root, define, build: { outDir: dist }, logLevel: "warn", plugins: [react(), vue()] });

  const server = createServer(({ url }, answer) => {
    const file = join(dist, url === "/" ? "index.html" : new URL(url, "http://page").pathname);
    answer.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }).end(readFileSync(file));
  });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `http://127.0.0.1:${server.address().port}/`;
}

/** Opens an address in a page that is closed with the test, and that must not throw. */
async function opened(t, address) {
  const page = await context.newPage();
  t.after(() => page.close());
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => assert.fail(error));
  await page.goto(address);
  return page;
}

/** Waits until so many connections are subscribed to a channel. */
function listeners(sdk, channel, count) {
  const subscribed = async () => {
    const { subscription_count: now = 0 } = await get(sdk, `/channels/${channel}`, { info: "subscription_count" });
    return now === count;
  };
  return until(subscribed, `${count} subscribed to ${channel}`);
}
