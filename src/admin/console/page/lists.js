// Connections and channels: lists of which the server sends a page at a time, and one of them alone.

import { by, bytes, closeDetail, debounced, detail, el, facts, number, pretty, replaceRows, span } from "./dom.js";
import { get, post } from "./server.js";

/** A list that the server pages. `after(item)` names where the page behind an item begins. */
class Paged {
  #starts = [{}]; // where each page up to this one begins
  #busy = false;
  #stale = false;

  constructor(id, { path, query, after, row, count }) {
    Object.assign(this, { id, path, query, after, row, count });
    const pager = by(`${id}-pager`);
    this.previous = el("button", { type: "button", class: "plain", on: { click: () => this.#turn(-1) } }, "Previous page");
    this.next = el("button", { type: "button", class: "plain", on: { click: () => this.#turn(1) } }, "Next page");
    pager.append(this.previous, this.next);
    by(`${id}-q`).addEventListener("input", debounced(250, () => this.restart()));
    by(id).querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  }

  restart() {
    this.#starts = [{}];
    return this.load();
  }

  /** Asks for this page. What is wanted meanwhile is asked for once, afterwards. */
  async load() {
    if (this.#busy) {
      this.#stale = true;
      return;
    }
    this.#busy = true;
    try {
      const q = by(`${this.id}-q`).value.trim();
      this.#show(await get(this.path, { q, ...this.query(), ...this.#starts.at(-1) }));
    } catch (error) {
      by(`${this.id}-status`).textContent = error.message;
    }
    this.#busy = false;
    if (this.#stale) {
      this.#stale = false;
      await this.load();
    }
  }

  #turn(by) {
    if (by < 0) this.#starts.pop();
    else this.#starts.push(this.after(this.last));
    this.load();
  }

  #show({ total, more, items }) {
    const page = this.#starts.length;
    // Everybody on this page has gone.
    if (!items.length && page > 1) {
      this.#starts.pop();
      this.#stale = true;
      return;
    }
    this.last = items.at(-1);
    const columns = by(this.id).querySelectorAll("th").length;
    const none = el("tr", { class: "none" }, el("td", { colSpan: columns }, "None."));
    replaceRows(by(`${this.id}-rows`), items.length ? items.map(this.row) : [none]);
    const pages = more || page > 1 ? `, page ${number(page)}` : "";
    by(`${this.id}-status`).textContent = `${this.count(total)}${pages}.`;
    this.previous.disabled = page === 1;
    this.next.disabled = !more;
    by(`${this.id}-pager`).hidden = page === 1 && !more;
  }
}

const cell = (name, ...content) => el("td", { data: { name } }, ...content);
const figure = (name, ...content) => el("td", { class: "number", data: { name } }, ...content);
const link = (text, act) => el("button", { type: "button", class: "link mono", on: { click: act } }, text);
const plural = (count, one) => `${number(count)} ${one}${count === 1 ? "" : "s"}`;

export class Connections {
  #channel = null; // { app, name } whose subscribers are listed

  constructor(context) {
    this.context = context;
    this.list = new Paged("connections", {
      path: "api/connections",
      query: () => ({ app: this.#channel?.app ?? context.app(), channel: this.#channel?.name }),
      after: (item) => ({ before: item.id.split(".")[1] }),
      row: (item) => this.#row(item),
      count: (total) => plural(total, "connection") + " on this node",
    });
  }

  load = () => this.list.load();

  restart = () => this.list.restart();

  /** Lists who hears a channel, or everybody again. */
  of(channel) {
    this.#channel = channel;
    const chip = by("connections-channel");
    chip.hidden = !channel;
    if (channel) {
      const all = { type: "button", class: "plain", "aria-label": "All channels", on: { click: () => this.of(null) } };
      chip.replaceChildren(`in ${channel.name} `, el("button", all, "✕"));
    }
    return this.restart();
  }

  #row(item) {
    const names = item.channels.join(", ");
    const rest = item.channel_count - item.channels.length;
    return el(
      "tr",
      { data: { key: item.id } },
      cell("Socket id", link(item.id, () => this.show(item.id))),
      cell("User", item.user ?? ""),
      cell("Gateway", item.gateway),
      cell("App", item.app),
      cell("Channels", item.channel_count ? `${names}${rest > 0 ? ` and ${number(rest)} more` : ""}` : ""),
      figure("Outbox", item.outbox_bytes ? bytes(item.outbox_bytes) : "0"),
      figure("Age", span(item.age_s)),
      cell("Address", item.client),
    );
  }

  async show(id) {
    let item;
    try {
      item = await get(`api/connections/${encodeURIComponent(id)}`);
    } catch (error) {
      return detail(id, el("p", { class: "error" }, error.message));
    }
    const result = el("p", { role: "status" });
    const end = (code, text, kind) =>
      el("button", { type: "button", class: kind, on: { click: () => this.#end(id, code, result) } }, text);
    const channels = item.channels.map((name) => el("li", {}, link(name, () => this.context.show("channel", { app: item.app, channel: name }))));
    detail(
      item.id,
      facts([
        ["User", item.user],
        ["App", item.app],
        ["Gateway", item.gateway],
        ["Address", item.client],
        ["Connected for", span(item.age_s)],
        ["Last heard", `${span(item.silent_s)} ago`],
        ["Outbox", bytes(item.outbox_bytes)],
        ["Ends with", item.closing],
      ]),
      el("h3", {}, plural(item.channel_count, "channel")),
      el("ul", { class: "names" }, ...channels),
      el(
        "div",
        { class: "buttons" },
        end(4009, "Disconnect (4009: stays away)", "danger"),
        end(4200, "Reconnect (4200: comes back)", "plain"),
      ),
      result,
    );
  }

  async #end(id, code, result) {
    try {
      await post(`api/connections/${encodeURIComponent(id)}/disconnect`, { code });
      closeDetail();
      await this.load();
    } catch (error) {
      result.className = "error";
      result.textContent = error.message;
    }
  }
}

export class Channels {
  constructor(context) {
    this.context = context;
    const order = by("channels-order");
    this.list = new Paged("channels", {
      path: "api/channels",
      query: () => ({ app: context.oneApp(), order: order.value }),
      after: (item) => ({ after: item.name, after_count: item.here }),
      row: (item) => this.#row(item),
      count: (total) => `${plural(total, "channel")} of ${context.oneApp()} with subscribers on this node`,
    });
    order.addEventListener("change", () => this.restart());
  }

  load = () => this.list.load();

  restart = () => this.list.restart();

  #row(item) {
    const app = this.context.oneApp();
    return el(
      "tr",
      { data: { key: item.name } },
      cell("Channel", link(item.name, () => this.show(app, item.name))),
      cell("Kind", item.kind),
      figure("Subscriptions", subscriptions(item)),
    );
  }

  async show(app, name) {
    let item;
    try {
      item = await get("api/channel", { app, name });
    } catch (error) {
      return detail(name, el("p", { class: "error" }, error.message));
    }
    const members = item.members;
    const rest = members ? members.count - members.ids.length : 0;
    const show = (view) => () => {
      closeDetail();
      this.context.show(view, { app, channel: name });
    };
    const button = (text, view) => el("button", { type: "button", class: "plain", on: { click: show(view) } }, text);
    detail(
      name,
      facts([
        ["App", app],
        ["Kind", item.kind + (item.is_cache ? ", cache" : "")],
        ["Subscriptions", subscriptions(item)],
      ]),
      ...(members
        ? [
            el("h3", {}, plural(members.count, "member")),
            el("ul", { class: "names", id: "members" }, ...members.ids.map((id) => el("li", { class: "mono" }, id))),
            rest > 0 ? el("p", { class: "quiet" }, `and ${number(rest)} more`) : "",
          ]
        : []),
      ...(item.cached
        ? [
            el("h3", {}, `Last event: ${item.cached.event}, replayed for ${span(item.cached.ttl_s)} yet`),
            el("pre", { tabIndex: 0 }, pretty(item.cached.data ?? "")),
          ]
        : []),
      el("div", { class: "buttons" }, button("Watch live", "live"), button("Connections", "connections"), button("Publish here", "publish")),
    );
  }
}

const subscriptions = ({ here, all }) => (here === all ? number(here) : `${number(here)} here, ${number(all)} on all nodes`);
