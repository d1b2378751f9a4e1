// Questions to the server, actions, and the stream of what happens.

/** What the server said when it refused: `field` names what is wrong, where one thing is. */
export class Refused extends Error {
  constructor(status, { error, field }) {
    super(error ?? `The server answered with ${status}`);
    this.status = status;
    this.field = field;
  }
}

let whenLocked = () => {};

/** What to do when the server asks for the token. */
export function onLocked(act) {
  whenLocked = act;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refused(0, { error: "The server cannot be reached" });
  }
  const body = await response.json().catch(() => ({}));
  if (response.status === 401 && !path.startsWith("api/login")) whenLocked();
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}

function url(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** Reads `path` with the parameters of `query` that say something. */
export const get = (path, query) => ask(url(path, query));

/** Does something; the header is what no page of another site can send. */
export const post = (path, body = {}, query = {}) =>
  ask(url(path, query), {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Gema-Console": "1" },
    body: JSON.stringify(body),
  });

/** How long to wait before the stream is asked for again after the server refused it. */
const PAUSE_MS = 2000;

/** The stream of what happens. It goes on for ever, and misses nothing where its filter changes. */
export class Stream {
  #source = null;
  #query = {};
  #last = null;
  #timer = 0;

  /** `heed` has `entries(message)`, `overview(message)` and `state(name)`: "live", "off". */
  constructor(heed) {
    this.heed = heed;
  }

  /** Begins, or goes on with another filter: the old stream ends when the new one stands. */
  open(query = this.#query) {
    this.#query = query;
    clearTimeout(this.#timer);
    const before = this.#source;
    const from = this.#last === null ? undefined : this.#last + 1;
    const source = new EventSource(url("api/stream", { ...query, from }));
    this.#source = source;
    source.onopen = () => before?.close();
    source.addEventListener("entries", ({ data }) => this.#entries(source, JSON.parse(data)));
    source.addEventListener("overview", ({ data }) => {
      if (source !== this.#source) return;
      this.heed.state("live");
      this.heed.overview(JSON.parse(data));
    });
    source.onerror = () => {
      before?.close();
      if (source !== this.#source) return;
      this.heed.state("off");
      // The browser tries again by itself, unless the server has refused.
      if (source.readyState === EventSource.CLOSED) this.#timer = setTimeout(() => this.#again(), PAUSE_MS);
    };
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /** Another process: its numbers begin anew. */
  forget() {
    this.#last = null;
  }

  async #again() {
    try {
      const { open } = await get("api/session");
      if (!open) return whenLocked();
    } catch {
      // It is away; the stream says so again.
    }
    this.open();
  }

  #entries(source, message) {
    if (source !== this.#source) return;
    message.entries = message.entries.filter(({ n }) => this.#last === null || n > this.#last);
    const newest = message.entries.at(-1);
    if (newest) this.#last = newest.n;
    if (message.entries.length || message.left_out) this.heed.entries(message);
  }
}
