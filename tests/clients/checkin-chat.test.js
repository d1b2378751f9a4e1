// The check-in chat: guests of a restaurant write to each other over a plain WebSocket, with the token of their check-in.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { door, open, plainConfig, python, refusal } from "./plain.js";
import { connect, heard, jwt, startGema, subscribed } from "./support.js";

const christine = { name: "Christine Stanley", photo_url: "/public/uploads/12345_christine.jpg", table_number: "01" };
const tokens = {
  1: jwt({ sub: 1, name: "Ani" }),
  5: jwt({ sub: 5, ...christine }),
  10: jwt({ sub: 10 }),
  12: jwt({ sub: 12 }),
};

const gema = await startGema(after, plainConfig());

/** What is due besides the flat messages: what a sender is told about its own. */
const flat = (message) => message.type === undefined;

test("without a token, or with a bad one, the connection is refused", async () => {
  for (const token of [undefined, "", "token_andi"]) assert.equal((await refusal(door(gema, token))).status, 401);
});

test("a message arrives with all that the token of its sender says", async (t) => {
  const [one, five] = [await open(t, door(gema, tokens[1])), await open(t, door(gema, tokens[5]))];
  await Promise.all([one.settled(), five.settled()]);
  one.say({ recipient_id: 5, text: "Halo, salam kenal juga!" });
  assert.deepEqual(await five.next(), { sender_id: 1, sender_name: "Ani", text: "Halo, salam kenal juga!" });
  five.say({ recipient_id: 1, text: "Iya, salam kenal :)" });
  assert.deepEqual(await one.next(flat), {
    sender_id: 5,
    sender_name: "Christine Stanley",
    sender_photo_url: "/public/uploads/12345_christine.jpg",
    sender_table_number: "01",
    text: "Iya, salam kenal :)",
  });
});

test("what the token does not say is left out", async (t) => {
  const [andi, budi] = [await open(t, door(gema, tokens[10])), await open(t, door(gema, tokens[12]))];
  await Promise.all([andi.settled(), budi.settled()]);
  andi.say({ recipient_id: 12, text: "Bro, join sini lah..." });
  assert.deepEqual(await budi.next(), { sender_id: 10, text: "Bro, join sini lah..." });
});

test("every connection of the receiver hears it, and nobody else", async (t) => {
  const [one, twelve] = [await open(t, door(gema, tokens[1])), await open(t, door(gema, tokens[12]))];
  const fives = [await open(t, door(gema, tokens[5])), await open(t, door(gema, tokens[5]))];
  await Promise.all([one, twelve, ...fives].map((ws) => ws.settled()));
  one.say({ recipient_id: 5, text: "Halo" });
  for (const five of fives) assert.equal((await five.next()).text, "Halo");
  const sent = await one.next(({ type }) => type === "message_sent");
  assert.deepEqual([sent.data.receiver_id, sent.data.content, sent.channel], [5, "Halo", "private-chat.1"]);
  assert.deepEqual(await twelve.settled(), []);
});

test("a message that is given a name is sent once however often it is repeated", async (t) => {
  const [one, five] = [await open(t, door(gema, tokens[1])), await open(t, door(gema, tokens[5]))];
  await Promise.all([one.settled(), five.settled()]);
  for (let n = 0; n < 3; n++) one.say({ recipient_id: 5, text: "once", client_id: "1b7c" });
  one.say({ recipient_id: 5, text: "then" });
  assert.equal((await five.next()).text, "once");
  assert.equal((await five.next()).text, "then");
});

test("a message that cannot be sent is answered with the reason, and nobody hears it", async (t) => {
  const [one, five] = [await open(t, door(gema, tokens[1])), await open(t, door(gema, tokens[5]))];
  await Promise.all([one.settled(), five.settled()]);
  for (const [message, code] of [
    [{ recipient_id: 5, text: "" }, "empty"],
    [{ recipient_id: 5 }, "bad_request"],
    [{ text: "to nobody" }, "bad_request"],
    [{ type: "mark_as_read", data: { message_id: 999_999_999 } }, "no_such_message"],
  ]) {
    one.say(message);
    const { type, data } = await one.next();
    assert.deepEqual([type, data.code], ["error", code]);
  }
  assert.deepEqual(await five.settled(), []);
});

test("the author is told who has read a message", async (t) => {
  const [one, five] = [await open(t, door(gema, tokens[1])), await open(t, door(gema, tokens[5]))];
  await Promise.all([one.settled(), five.settled()]);
  one.say({ recipient_id: 5, text: "read me" });
  const { data } = await one.next(({ type }) => type === "message_sent");
  five.say({ type: "mark_as_read", data: { message_id: data.id } });
  const read = await one.next(({ type }) => type === "messege_read");
  assert.deepEqual(read.data, { message_id: data.id, user_id: 5 });
  one.say({ type: "mark_as_read", data: { message_id: data.id } });
  assert.equal((await one.next(({ type }) => type === "error")).data.code, "not_yours");
});

test("a page with pusher-js and a Python client are in the same chat", async (t) => {
  const five = await subscribed(connect(t, gema, { token: tokens[5] }).subscribe("private-chat.5"));
  const received = heard(five, "receive_message");
  const [sent] = await python(door(gema, tokens[12]), { send: [{ recipient_id: 5, text: "Halo" }], receive: 1 });
  assert.equal(sent.type, "message_sent");
  const [{ sender_id, receiver_id, content }] = await received;
  assert.deepEqual([sender_id, receiver_id, content], [12, 5, "Halo"]);
});
