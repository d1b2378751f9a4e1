// The event creator.

import { by, el, number, pretty, time } from "./dom.js";
import { post } from "./server.js";

/** Events that can be taken up again. */
const SENT = 10;

export class Publish {
  constructor(context) {
    this.context = context;
    const form = by("event-form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    by("event-format").addEventListener("click", () => {
      by("event-data").value = pretty(by("event-data").value);
    });
  }

  /** Fills the form in; what is not given stays. */
  fill({ channel, event, data }) {
    for (const [name, value] of Object.entries({ channel, event, data: data && pretty(data) })) {
      if (value !== undefined) by(`event-${name}`).value = value;
    }
    this.#say("", "");
  }

  async #send() {
    const filled = {
      app: this.context.oneApp(),
      channel: by("event-channel").value.trim(),
      event: by("event-event").value.trim(),
      data: compact(by("event-data").value),
    };
    by("event-send").disabled = true;
    try {
      const { subscriptions } = await post("api/events", filled);
      this.#say("good", `Published to ${number(subscriptions)} subscription${subscriptions === 1 ? "" : "s"}.`);
      this.#remember(filled);
    } catch (error) {
      this.#say("error", error.message, error.field);
    }
    by("event-send").disabled = false;
  }

  #say(kind, text, field) {
    by("event-result").className = kind;
    by("event-result").textContent = text;
    for (const name of ["channel", "event", "data"]) by(`event-${name}`).setAttribute("aria-invalid", String(name === field));
    if (field && by(`event-${field}`)) by(`event-${field}`).focus();
  }

  #remember(filled) {
    const again = el("button", { type: "button", class: "link", on: { click: () => this.fill(filled) } }, `${filled.event} on ${filled.channel}`);
    by("sent").prepend(el("li", {}, el("time", { class: "quiet" }, time(Date.now())), again));
    while (by("sent").childElementCount > SENT) by("sent").lastElementChild.remove();
    by("sent-title").hidden = false;
  }
}

/** JSON without what only makes it readable; whatever is no JSON as it is, for the server to say what is wrong. */
function compact(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  // Not what was parsed: large numbers would be rounded. Blanks outside of strings go.
  return text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");
}
