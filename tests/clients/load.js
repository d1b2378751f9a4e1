// Load for a restart: back ends that post numbered events, and pages that note when they were subscribed to what, so that
// it can be said afterwards what each of them had to hear.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";

import { backend, connect, jwt, until } from "./support.js";

/** A back end that posts numbered events to three channels in turn, 25 a second, each after the answer to the last. */
export class Publisher {
  static CHANNELS = ["news", "presence-room.1", "private-desk"];

  constructor(gema, name, options) {
    this.name = name;
    this.sdk = backend(gema, options);
    this.posts = []; // { n, channel, sent, answered }, ms
    this.failures = [];
  }

  async run() {
    for (let n = 0; !this.ended; n += 1) {
      const channel = Publisher.CHANNELS[n % Publisher.CHANNELS.length];
      const sent = performance.now();
      try {
        await this.sdk.trigger(channel, this.name, { n });
        this.posts.push({ n, channel, sent, answered: performance.now() });
      } catch (cause) {
        this.failures.push(`${n}: ${cause.status ?? cause}`);
      }
      await delay(Math.max(0, sent + 40 - performance.now()));
    }
  }

  end() {
    this.ended = true;
  }
}

/** A page of user `user` that notes when it was subscribed to what, and what it heard. Every second is in the room. */
export class Page {
  constructor(t, gema, user) {
    const token = jwt({ sub: String(user), name: `User ${user}`, roles: ["staff"], rooms: ["1"] });
    this.client = connect(t, gema, { token });
    this.states = [];
    this.subscriptions = []; // { channel, from, to }, ms; `to` is Infinity while it lasts
    this.heard = new Map(); // publisher -> numbers, as they came
    this.client.connection.bind("state_change", ({ previous, current }) => {
      this.states.push(current);
      if (previous === "connected") this.left();
    });
    const room = user % 2 ? [] : ["presence-room.1"];
    this.channels = ["news", "private-desk", ...room].map((name) => this.listen(this.client.subscribe(name)));
    this.room = this.channels.find((channel) => channel.name === "presence-room.1");
  }

  listen(channel) {
    channel.bind("pusher:subscription_succeeded", () => {
      this.subscriptions.push({ channel: channel.name, from: performance.now(), to: Infinity });
    });
    for (const publisher of ["kept", "fresh"]) {
      this.heard.set(publisher, []);
      channel.bind(publisher, ({ n }) => this.heard.get(publisher).push(n));
    }
    return channel;
  }

  left() {
    for (const one of this.subscriptions) one.to = Math.min(one.to, performance.now());
  }

  allSubscribed() {
    const open = () => this.subscriptions.filter((one) => one.to === Infinity).length;
    return until(() => open() === this.channels.length, "a page has all its channels");
  }

  moves() {
    return this.states.filter((state) => state === "connected").length - 1;
  }

  heardLast(publishers) {
    return publishers.every(({ name, posts }) => {
      const last = posts.findLast(({ channel }) => this.subscriptions.some((one) => one.channel === channel));
      return this.heard.get(name).includes(last.n);
    });
  }

  /** Sent away, it was let in at its first attempt. */
  assertCameBackAtOnce() {
    assert.match(this.states.join(" "), /^connected( connecting connected)*$/);
  }

  /** Each event that was posted while it was subscribed, until a second before it was sent away; each once, in order. */
  assertHeard({ name, posts }) {
    const heard = this.heard.get(name);
    const due = posts.filter(({ channel, sent, answered }) =>
      this.subscriptions.some((one) => one.channel === channel && one.from <= sent && answered + 1000 <= one.to),
    );
    const missing = due.filter(({ n }) => !heard.includes(n)).map(({ n }) => n);
    assert.deepEqual(missing, [], `of ${due.length} of ${name}`);
    assert.deepEqual(heard, [...new Set(heard)].sort((a, b) => a - b), `the order of ${name}`);
  }
}
