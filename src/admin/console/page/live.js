// The live view: what happens, the newest first, with filters and a pause.

import { by, debounced, el, number, pretty, time } from "./dom.js";

/** Entries that are remembered, and rows that are shown of them: what nobody can read costs nothing. */
const KEPT = 2000;
const ROWS = 200;

/** What the server has told about those who come and go, in words. */
const NEWS = {
  connected: "connected",
  signed_in: "signed in",
  subscribed: "subscribed",
  unsubscribed: "unsubscribed",
  disconnected: "disconnected",
};

export class Live {
  #kept = []; // the oldest first
  #held = []; // while paused
  #fresh = []; // to be shown with the next frame
  #leftOut = 0;
  #paused = false;
  #drawing = 0;

  /** `context`: `app()`, the id that is chosen or ""; `hasApps()`, whether there are several; `reopen(query)`;
   *  `show(view, details)` for other views. */
  constructor(context) {
    this.context = context;
    const changed = debounced(300, () => context.reopen(this.query()));
    for (const id of ["live-channel", "live-event", "live-text"]) {
      by(id).addEventListener("input", () => {
        this.redraw();
        changed();
      });
    }
    by("live-news").addEventListener("change", () => this.redraw());
    by("live-filter").addEventListener("submit", (event) => event.preventDefault());
    by("pause").addEventListener("click", () => this.pause(!this.#paused));
    by("clear").addEventListener("click", () => this.clear());
  }

  /** What the server is to send. */
  query() {
    return { app: this.context.app(), channel: field("live-channel"), event: field("live-event"), text: field("live-text") };
  }

  /** Shows one channel alone. */
  only(channel) {
    by("live-channel").value = channel;
    by("live-channel").dispatchEvent(new Event("input"));
  }

  take({ left_out, entries }) {
    this.#leftOut += left_out;
    if (left_out) entries.unshift({ kind: "gap", text: `${number(left_out)} left out: more happened than this page could take.` });
    this.#accept(entries);
  }

  /** A line of the console's own. */
  say(text) {
    this.#accept([{ kind: "gap", text }]);
  }

  pause(on) {
    this.#paused = on;
    by("pause").setAttribute("aria-pressed", String(on));
    if (!on) {
      const held = this.#held;
      this.#held = [];
      this.#accept(held);
    }
    this.#count();
  }

  clear() {
    this.#kept = [];
    this.#fresh = [];
    this.#leftOut = 0;
    this.redraw();
  }

  redraw() {
    this.#fresh = [];
    const wanted = this.#kept.filter((entry) => this.#wants(entry));
    by("log").replaceChildren(...wanted.slice(-ROWS).reverse().map((entry) => this.#row(entry)));
    this.#count();
  }

  #accept(entries) {
    if (this.#paused) {
      this.#held.push(...entries);
      const over = this.#held.length - KEPT;
      if (over > 0) this.#leftOut += this.#held.splice(0, over).length;
      return this.#count();
    }
    this.#kept.push(...entries);
    if (this.#kept.length > KEPT) this.#kept.splice(0, this.#kept.length - KEPT);
    this.#fresh.push(...entries.filter((entry) => this.#wants(entry)));
    // Many messages, one drawing; a page in the background draws when it is looked at again.
    if (this.#fresh.length > ROWS) this.#fresh.splice(0, this.#fresh.length - ROWS);
    this.#drawing ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#drawing = 0;
    const rows = this.#fresh.reverse().map((entry) => this.#row(entry));
    if (rows.length < 20) for (const row of rows) row.classList.add("new");
    this.#fresh = [];
    const log = by("log");
    log.prepend(...rows);
    while (log.childElementCount > ROWS) log.lastElementChild.remove();
    this.#count();
  }

  #wants(entry) {
    if (entry.kind === "gap") return true;
    if (entry.kind !== "event" && !by("live-news").checked) return false;
    const app = this.context.app();
    const { channel, event, text } = this.query();
    const has = (value, wanted) => value !== undefined && value.toLowerCase().includes(wanted.toLowerCase());
    return (
      (!app || entry.app === app) &&
      (!channel || has(entry.channel, channel)) &&
      (!event || has(entry.event ?? entry.kind, event)) &&
      (!text || [entry.data, entry.event, entry.channel, entry.socket, entry.user, entry.client].some((value) => has(value, text)))
    );
  }

  #count() {
    const shown = by("log").childElementCount;
    by("live-empty").hidden = shown > 0;
    by("live-count").textContent = shown ? `${number(shown)} shown of the last ${number(this.#kept.length)}.` : "Nothing yet.";
    by("left-out").textContent = this.#leftOut ? `${number(this.#leftOut)} left out.` : "";
    const held = this.#held.length;
    by("pause").textContent = this.#paused ? `Resume${held ? ` (${number(held)} new)` : ""}` : "Pause";
  }

  #row(entry) {
    if (entry.kind === "gap") return el("li", { class: "gap" }, entry.text);
    const isEvent = entry.kind === "event";
    const line = el(
      "button",
      { class: "line", type: "button", "aria-expanded": "false" },
      el("time", { dateTime: new Date(entry.t).toISOString() }, time(entry.t)),
      el("span", { class: `tag ${entry.source ?? "news"}` }, entry.source ?? "connection"),
      el("span", { class: "channel", title: entry.channel ?? "" }, this.#where(entry)),
      el("span", { class: "event" }, entry.event ?? NEWS[entry.kind]),
      el("span", { class: "data" }, isEvent ? (entry.data ?? "") : summary(entry)),
    );
    const row = el("li", { class: isEvent ? "published" : "news", data: { kind: entry.kind } }, line);
    line.addEventListener("click", () => this.#toggle(row, line, entry));
    return row;
  }

  /** The channel, with its app where there are several. */
  #where({ app, channel = "" }) {
    return this.context.hasApps() && !this.context.app() ? `${app} / ${channel}` : channel;
  }

  #toggle(row, line, entry) {
    const open = line.getAttribute("aria-expanded") === "true";
    line.setAttribute("aria-expanded", String(!open));
    if (open) return row.lastElementChild.remove();
    const { show } = this.context;
    const button = (text, act) => el("button", { type: "button", class: "plain", on: { click: act } }, text);
    const cut = entry.cut_of && el("p", { class: "quiet" }, `The first 16 KiB of ${number(entry.cut_of)} bytes.`);
    row.append(
      el(
        "div",
        { class: "more" },
        el("pre", { tabIndex: 0 }, entry.kind === "event" ? pretty(entry.data ?? "") : pretty(JSON.stringify(entry))),
        cut,
        el(
          "div",
          { class: "buttons" },
          entry.kind === "event" && button("Publish again", () => show("publish", entry)),
          entry.channel && button("Only this channel", () => this.only(entry.channel)),
          entry.channel && button("Channel", () => show("channel", entry)),
          entry.socket && button("Connection", () => show("connection", entry)),
        ),
      ),
    );
  }
}

const field = (id) => by(id).value.trim();

function summary({ socket, user, gateway, client, code }) {
  const whose = user === undefined ? "" : `user ${user}`;
  const how = gateway === undefined ? "" : `${gateway} from ${client}`;
  return [socket, whose, how, code === undefined ? "" : `code ${code}`].filter(Boolean).join(" · ");
}
