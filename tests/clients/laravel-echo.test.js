// What a page with Laravel Echo may rely on, as broadcaster `pusher` and as broadcaster `reverb`.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import Echo from "laravel-echo";
import Pusher from "pusher-js";

import { APP, backend, get, jwt, options, startGema, until, within } from "./support.js";

const ani = jwt({ sub: "7", name: "Ani", rooms: ["1"] });
const budi = jwt({ sub: "8", name: "Budi", rooms: ["1"] });

const gema = await startGema(after);
const sdk = backend(gema);

/** The first value a callback is given: `calledBack((done) => channel.listen("X", done), "X")`. */
const calledBack = (register, what) => within(new Promise(register), what);
const acknowledged = (channel) => calledBack((done) => channel.subscribed(done), `${channel.name} is subscribed`);

for (const broadcaster of ["pusher", "reverb"]) {
  const open = (t, token) => {
    const echo = new Echo({ broadcaster, key: APP.key, Pusher, ...options(gema, token) });
    t.after(() => echo.disconnect());
    return echo;
  };

  describe(`Echo with broadcaster ${broadcaster}`, () => {
    test("listen('X') hears App\\Events\\X, with the namespace's backslashes", async (t) => {
      const channel = open(t, ani).channel("orders");
      await acknowledged(channel);
      const shipped = calledBack((done) => channel.listen("OrderShipped", done), "OrderShipped");
      const nested = calledBack((done) => channel.listen("Order.Lost", done), "Order.Lost");
      await sdk.trigger("orders", "App\\Events\\OrderShipped", { order: 1 });
      await sdk.trigger("orders", "App\\Events\\Order\\Lost", { order: 2 });
      assert.deepEqual(await shipped, { order: 1 });
      assert.deepEqual(await nested, { order: 2 });
    });

    test("listen('.x') hears the name as it is", async (t) => {
      const channel = open(t, ani).channel("orders");
      await acknowledged(channel);
      const event = calledBack((done) => channel.listen(".order.shipped", done), ".order.shipped");
      await sdk.trigger("orders", "order.shipped", { order: 3 });
      assert.deepEqual(await event, { order: 3 });
    });

    test("private() opens with a Bearer token and hears events", async (t) => {
      const channel = open(t, ani).private("booking.7");
      await acknowledged(channel);
      const event = calledBack((done) => channel.listen("BookingStatusUpdated", done), "the event");
      await sdk.trigger("private-booking.7", "App\\Events\\BookingStatusUpdated", { status: "confirmed" });
      assert.deepEqual(await event, { status: "confirmed" });
    });

    test("error() is told when a private channel is refused", async (t) => {
      const channel = open(t, budi).private("booking.7");
      const why = await calledBack((done) => channel.error(done), "the refusal");
      assert.equal(why.status, 403);
    });

    test("join() tells here, joining and leaving", async (t) => {
      const room = open(t, ani).join("room.1");
      assert.deepEqual(await calledBack((done) => room.here(done), "here"), [{ name: "Ani" }]);
      const joining = calledBack((done) => room.joining(done), "joining");
      const guest = open(t, budi);
      const here = await calledBack((done) => guest.join("room.1").here(done), "the guest's here");
      assert.deepEqual(here.map(({ name }) => name).sort(), ["Ani", "Budi"]);
      assert.deepEqual(await joining, { name: "Budi" });
      const leaving = calledBack((done) => room.leaving(done), "leaving");
      guest.leave("room.1");
      assert.deepEqual(await leaving, { name: "Budi" });
    });

    test("whisper() reaches the other members", async (t) => {
      const [speaker, listener] = [open(t, ani).join("room.1"), open(t, budi).join("room.1")];
      await Promise.all([acknowledged(speaker), acknowledged(listener)]);
      const typing = calledBack((done) => listener.listenForWhisper("typing", done), "the whisper");
      speaker.whisper("typing", { name: "Ani" });
      assert.deepEqual(await typing, { name: "Ani" });
    });

    test("leave() gives up every kind of the channel", async (t) => {
      const echo = open(t, ani);
      await Promise.all([acknowledged(echo.private("booking.7")), acknowledged(echo.channel("booking.7"))]);
      echo.leave("booking.7");
      for (const name of ["booking.7", "private-booking.7"]) {
        await until(async () => !(await get(sdk, `/channels/${name}`)).occupied, `${name} is unoccupied`);
      }
    });
  });
}
