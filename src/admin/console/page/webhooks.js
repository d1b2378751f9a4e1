// The log of webhooks, and sending one again.

import { by, detail, el, facts, number, pretty, replaceRows, time } from "./dom.js";
import { get, post } from "./server.js";

export class Webhooks {
  #totals = "";

  constructor(context) {
    this.context = context;
  }

  /** Loads the log anew when there may be something new in it. */
  heed({ webhooks }, isShown) {
    const totals = JSON.stringify(webhooks);
    if (isShown && totals !== this.#totals) this.load();
    if (isShown) this.#totals = totals;
  }

  async load() {
    const app = this.context.oneApp();
    try {
      const { receivers, items } = await get("api/webhooks", { app });
      const none = receivers.length ? "No deliveries yet." : `The app ${app} has no webhooks (apps.webhooks).`;
      by("webhooks-status").textContent = items.length ? `The last ${number(items.length)} deliveries of ${app}.` : none;
      const empty = el("tr", { class: "none" }, el("td", { colSpan: 6 }, none));
      replaceRows(by("webhooks-rows"), items.length ? items.map((item) => this.#row(app, item)) : [empty]);
    } catch (error) {
      by("webhooks-status").textContent = error.message;
    }
  }

  #row(app, item) {
    const cell = (name, ...content) => el("td", { data: { name } }, ...content);
    const rest = item.event_count - item.events.length;
    const events = item.events.join(", ") + (rest > 0 ? ` and ${number(rest)} more` : "");
    const show = { type: "button", class: "link", on: { click: () => this.#show(app, item) } };
    const replay = { type: "button", class: "plain", "aria-label": `Send delivery ${item.number} again`, on: { click: () => this.#replay(app, item) } };
    return el(
      "tr",
      { data: { key: String(item.number) } },
      cell("Time", el("time", {}, time(item.t))),
      cell("Result", el("span", { class: `tag ${item.ok ? "ok" : "bad"}` }, result(item)), item.replay ? " by hand" : ""),
      cell("Events", el("button", show, events || "(empty)")),
      cell("Receiver", item.receiver),
      el("td", { class: "number", data: { name: "Took" } }, `${number(item.ms)} ms`),
      cell("", el("button", replay, "Send again")),
    );
  }

  async #show(app, item) {
    try {
      const whole = await get(`api/webhooks/${item.number}`, { app });
      detail(
        `Delivery ${whole.number}`,
        facts([
          ["Receiver", whole.receiver],
          ["Result", result(whole) + (whole.replay ? ", sent by hand" : "")],
          ["Sent", new Date(whole.t).toLocaleString("en-GB")],
          ["Took", `${number(whole.ms)} ms`],
          ["Size", `${number(whole.bytes)} bytes, ${number(whole.event_count)} events`],
        ]),
        el("h3", {}, "Body"),
        el("pre", { tabIndex: 0 }, pretty(JSON.stringify(whole.body))),
      );
    } catch (error) {
      detail(`Delivery ${item.number}`, el("p", { class: "error" }, error.message));
    }
  }

  async #replay(app, item) {
    by("webhooks-status").textContent = `Sending delivery ${item.number} again…`;
    try {
      const again = await post(`api/webhooks/${item.number}/replay`, {}, { app });
      await this.load();
      by("webhooks-status").textContent = `Delivery ${item.number} sent again: ${result(again)}.`;
    } catch (error) {
      by("webhooks-status").textContent = error.message;
    }
  }
}

const result = ({ status, error }) => (status === null ? error : String(status));
