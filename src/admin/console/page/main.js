// The page: its views, the login, and the stream that feeds them.

import { by, el } from "./dom.js";
import { Health } from "./health.js";
import { Channels, Connections } from "./lists.js";
import { Live } from "./live.js";
import { Publish } from "./publish.js";
import { Stream, get, onLocked, post } from "./server.js";
import { Webhooks } from "./webhooks.js";

const VIEWS = ["live", "connections", "channels", "publish", "webhooks", "health"];

let view = "";
let overview = null;

const context = {
  /** The app that is chosen; "" stands for all. */
  app: () => by("app").value,
  /** The app for what belongs to one: the chosen one, or the first. */
  oneApp: () => by("app").value || overview?.apps[0]?.id || "",
  hasApps: () => (overview?.apps.length ?? 0) > 1,
  reopen: (query) => stream.open(query),
  show,
};

const live = new Live(context);
const connections = new Connections(context);
const channels = new Channels(context);
const publish = new Publish(context);
const webhooks = new Webhooks(context);
const health = new Health();

const stream = new Stream({
  entries: (message) => live.take(message),
  overview: takeOverview,
  state(is) {
    const pill = by("state");
    if (pill.dataset.is === is) return;
    if (is === "off" && pill.dataset.is === "live") live.say("The connection to gema was lost. What happens meanwhile is not shown.");
    pill.dataset.is = is;
    pill.textContent = is === "live" ? "live" : "reconnecting";
  },
});

function takeOverview(now) {
  const before = overview;
  overview = now;
  if (before && before.node !== now.node) {
    stream.forget();
    live.say("gema was started anew.");
  }
  listApps(now.apps);
  health.take(now);
  if (view === "health") health.draw();
  webhooks.heed(now, view === "webhooks");
  // Lists are asked for again only when something in them has changed, and somebody looks.
  const isNew = !before || signature(before) !== signature(now);
  if (isNew && document.visibilityState === "visible") {
    if (view === "connections") connections.load();
    if (view === "channels") channels.load();
  }
}

const signature = ({ connected, disconnected, channels, subscriptions, outbox_bytes }) =>
  JSON.stringify([connected, disconnected, channels, subscriptions, outbox_bytes]);

function listApps(apps) {
  const select = by("app");
  const ids = ["", ...apps.map(({ id }) => id)];
  by("app-choice").hidden = apps.length < 2;
  if ([...select.options].map(({ value }) => value).join("\n") === ids.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...ids.map((id) => el("option", { value: id }, id || "all apps")));
  if (ids.includes(chosen)) select.value = chosen;
}

by("app").addEventListener("change", () => {
  live.redraw();
  stream.open(live.query());
  enter();
});

/** Goes to a view, or shows one thing, as other views ask for it. */
function show(what, { app, channel, event, data, socket } = {}) {
  if (app && what !== "channel" && what !== "connection" && by("app").value && by("app").value !== app) by("app").value = app;
  if (what === "channel") return channels.show(app || context.oneApp(), channel);
  if (what === "connection") return connections.show(socket);
  go(what);
  if (what === "live") live.only(channel);
  if (what === "connections") connections.of({ app: app || context.oneApp(), name: channel });
  if (what === "publish") publish.fill({ channel, event, data });
}

function go(to) {
  history.replaceState(null, "", `#${to}`);
  select(to);
}

function select(to) {
  view = VIEWS.includes(to) ? to : "live";
  for (const name of VIEWS) {
    by(name).hidden = name !== view;
    const tab = by(`tab-${name}`);
    tab.setAttribute("aria-selected", String(name === view));
    tab.tabIndex = name === view ? 0 : -1;
    if (name === view) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  enter();
}

/** Loads what the view shows. */
function enter() {
  if (!overview) return;
  if (view === "connections") connections.restart();
  if (view === "channels") channels.restart();
  if (view === "webhooks") webhooks.load();
  if (view === "health") health.draw();
}

by("tabs").addEventListener("click", ({ target }) => {
  const tab = target.closest("[role=tab]");
  if (tab) go(tab.getAttribute("aria-controls"));
});

// Arrows go from tab to tab (WAI-ARIA Authoring Practices, "Tabs").
by("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1, Home: -VIEWS.length, End: VIEWS.length }[event.key];
  if (!step) return;
  event.preventDefault();
  const at = VIEWS.indexOf(view);
  const to = Math.abs(step) === 1 ? (at + step + VIEWS.length) % VIEWS.length : step < 0 ? 0 : VIEWS.length - 1;
  go(VIEWS[to]);
  by(`tab-${VIEWS[to]}`).focus();
});

window.addEventListener("hashchange", () => select(location.hash.slice(1)));
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") enter();
});

function lock() {
  stream.close();
  by("state").dataset.is = "off";
  by("state").textContent = "locked";
  if (!by("login").open) by("login").showModal();
}

onLocked(lock);

// Without the token there is nothing behind the dialog.
by("login").addEventListener("cancel", (event) => event.preventDefault());
by("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await post("api/login", { token: by("login-token").value });
  } catch (error) {
    by("login-result").textContent = error.message;
    return by("login-token").select();
  }
  by("login-token").value = "";
  by("login-result").textContent = "";
  by("login").close();
  by("logout").hidden = false;
  stream.open(live.query());
});

by("logout").addEventListener("click", async () => {
  await post("api/logout").catch(() => {});
  location.reload();
});

async function begin() {
  select(location.hash.slice(1));
  try {
    const { open, token } = await get("api/session");
    by("logout").hidden = !token || !open;
    if (!open) return lock();
  } catch (error) {
    by("state").dataset.is = "bad";
    by("state").textContent = "refused";
    by("live-empty").replaceChildren(el("p", { class: "error" }, error.message));
    return;
  }
  stream.open(live.query());
}

begin();
