// docs/http-api.md keeps its word: blocks of the kind "answers" run as printed (but for the port), after those of the kind
// "prelude", and print the block that follows, in which `…` is anything. Each refusal in its tables is
// brought about and comes with that status, and no refusal in the source is left out.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";

import { blocks, blocksToRun } from "./documents.js";
import { JWT_SECRET, ROOT, connect, jwt, startGema, subscribed, within } from "./support.js";

const GEMA_BIN = resolve(process.env.GEMA_BIN ?? join(ROOT, "target/debug/gema"));
const document = readFileSync(join(ROOT, "docs/http-api.md"), "utf8");
const prelude = blocksToRun("prelude").map(({ code }) => code).join("");
const shown = blocks();
const examples = blocksToRun("answers").map(({ at, run: { name, settings }, code }) => {
  const answer = shown[shown.findIndex((block) => block.at === at) + 1];
  return { name, settings, code, answer: answer.language === "text" ? answer.code : undefined };
});

/** A pattern for the text, in which `…` is anything. */
const like = (text) =>
  new RegExp(`^${text.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[^]*")}$`);

/** A token of user 7. */
const token = (claims = {}, header = {}) => jwt({ sub: "7", ...claims }, header);

async function bash(gema, code) {
  const env = { PATH: `${dirname(GEMA_BIN)}:${process.env.PATH}`, JWT_SECRET };
  const script = (prelude + code).replaceAll("6001", String(gema.port));
  const child = spawn("bash", ["-euo", "pipefail", "-c", script], { env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((good, bad) => child.once("error", bad).once("close", good));
  const [output, status] = await within(Promise.all([text(child.stdout), ended]), "the example's end");
  assert.equal(status, 0, output);
  return output;
}

test("each request has an answer beside it", () => {
  assert.ok(examples.length > 12);
  for (const { name, answer } of examples) assert.ok(answer, `${name} has an answer`);
});

describe("each request is answered as the page says", () => {
  let page;
  const end = [];
  before(async () => {
    page = await startGema((stop) => end.push(stop), null, { JWT_SECRET });
        const client = connect({ after: (stop) => end.unshift(stop) }, page, { key: "app-key", token: token({ name: "Ani", rooms: ["1"] }) });
    await Promise.all(["orders", "presence-room.1"].map((name) => subscribed(client.subscribe(name))));
  });
  after(() => end.forEach((stop) => stop()));

  for (const { name, settings, code, answer } of examples) {
    test(name, async (t) => {
      const own = Object.keys(settings).length > 0;
      const gema = own ? await startGema((stop) => t.after(stop), null, { JWT_SECRET, ...settings }) : page;
      assert.match(await bash(gema, code), like(answer));
    });
  }
});

/** The rows of the tables of refusals: `[status, text]`, those of the API and those of the authorizer. */
const tables = document.split("## The authorizer").map((part) =>
  [...part.matchAll(/^\| ([45]\d\d) \| `([^`]*)` \|/gm)].map(([, status, told]) => [Number(status), told]),
);

const EVENTS = "/apps/app-id/events";
const event = (more) => JSON.stringify({ name: "a", channel: "orders", data: "1", ...more });
const many = (count, make) => Array.from({ length: count }, (_, index) => make(index));

/** A signed request; `sign` replaces parameters of the signature, or takes them away with undefined. */
function api(path, { method = "POST", body = method === "POST" ? "{}" : "", query = {}, sign = {} } = {}) {
  const unsigned = {
    ...query,
    auth_key: "app-key",
    auth_timestamp: String(Math.floor(Date.now() / 1000)),
    auth_version: "1.0",
    ...(body.length > 0 && { body_md5: createHash("md5").update(body).digest("hex") }),
  };
  const params = Object.entries({ ...unsigned, ...sign }).filter(([, value]) => value !== undefined);
  const signed = params.filter(([name]) => name !== "auth_signature").sort(([a], [b]) => (a < b ? -1 : 1));
  const line = signed.map((pair) => pair.join("=")).join("&");
  const signature = createHmac("sha256", "app-secret").update(`${method}\n${path}\n${line}`).digest("hex");
  const all = new URLSearchParams("auth_signature" in sign ? params : [...params, ["auth_signature", signature]]);
  return [`${path}?${all}`, { method, ...(body.length > 0 && { body }) }];
}
const get = (path, query = {}) => api(path, { method: "GET", query });
const ask = (path, { token: bearer = token(), body = "socket_id=1.2&channel_name=private-booking.7", type } = {}) => [
  path,
  {
    method: "POST",
    body,
    headers: {
      "Content-Type": type ?? "application/x-www-form-urlencoded",
      ...(bearer && { Authorization: `Bearer ${bearer}` }),
    },
  },
];
const AUTH = "/api/broadcasting/auth";
const wants = (channel, claims) => ask(AUTH, { token: token(claims), body: `socket_id=1.2&channel_name=${encodeURIComponent(channel)}` });

// What brings a refusal about: its text as in the tables, a request or several, and settings where the defaults do not do it.
const API = [
  ["Invalid JSON in the body: …", api(EVENTS, { body: "{" }), api(EVENTS, { body: '{"name":7}' })],
  ["Missing required parameter: …", api(EVENTS), api("/apps/app-id/batch_events", { body: '{"batch":[{"name":"a","data":"1"}]}' })],
  ["Event name is longer than limits.event_name_chars (…)", api(EVENTS, { body: event({ name: "a".repeat(201) }) })],
  ["Event name '…' is reserved: names may not begin with 'pusher:' or 'pusher_internal:'", api(EVENTS, { body: event({ name: "pusher:a" }) })],
  ["Too many channels: …, limits.channels_per_event is …", api(EVENTS, { body: event({ channels: many(101, String) }) })],
  ["Batch too large: … events, limits.events_per_batch is …", api("/apps/app-id/batch_events", { body: JSON.stringify({ batch: many(11, () => ({})) }) })],
  ["batch[…]: 'channels' is not supported, use 'channel'", api("/apps/app-id/batch_events", { body: '{"batch":[{"channels":["a"]}]}' })],
  ["Invalid channel name: it is empty: ''", api(EVENTS, { body: event({ channel: "" }) })],
  ["Invalid channel name: … characters, limits.channel_name_chars allows …: '…'", get(`/apps/app-id/channels/${"a".repeat(201)}`)],
  ["Invalid channel name: … is not allowed (letters, digits and - _ = @ , . ; are): '…'", api(EVENTS, { body: event({ channel: "a b" }) })],
  ["Invalid socket_id: '…'", api(EVENTS, { body: event({ socket_id: "x" }) })],
  ["The body is not UTF-8", api("/apps/app-id/channels/a/events", { body: Buffer.from([0xff]), query: { name: "a" } })],
  ["Unknown attribute in info: '…'; known are user_count, subscription_count, cache", get("/apps/app-id/channels/a", { info: "all" })],
  ["The following query string parameters are extraneous: …", get("/apps/app-id/connections", { page: "2" }), api("/apps/app-id/users/7/terminate_connections", { query: { page: "2" } })],
  ["user_count may only be requested for presence channels - please supply filter_by_prefix beginning with presence-", get("/apps/app-id/channels", { info: "user_count" })],
  ["cache may only be requested for one channel", get("/apps/app-id/channels", { info: "cache" })],
  ["Cannot retrieve the user count unless the channel is a presence channel", get("/apps/app-id/channels/a", { info: "user_count" })],
  ["Cannot retrieve the cache unless the channel is a cache channel", get("/apps/app-id/channels/a", { info: "cache" })],
  ["Cannot retrieve the users unless the channel is a presence channel", get("/apps/app-id/channels/a/users")],
  ["Missing parameter: auth_key", api(EVENTS, { sign: { auth_key: undefined } })],
  ["Unknown auth_key", api(EVENTS, { sign: { auth_key: "x" } })],
  ["Version required", api(EVENTS, { sign: { auth_version: undefined } })],
  ["Version not supported", api(EVENTS, { sign: { auth_version: "2.0" } })],
  ["Timestamp required", api(EVENTS, { sign: { auth_timestamp: undefined } })],
  ["Timestamp invalid: auth_timestamp must be the Unix time in whole seconds", api(EVENTS, { sign: { auth_timestamp: "now" } })],
  ["Timestamp expired: Given timestamp (…) not within 600s of server time (…)", api(EVENTS, { sign: { auth_timestamp: "1" } })],
  ["Missing parameter: body_md5", api(EVENTS, { sign: { body_md5: undefined } })],
  ["Invalid body_md5: it is not the MD5 of the body that was received", api(EVENTS, { sign: { body_md5: "0" } })],
  ["Missing parameter: auth_signature", api(EVENTS, { sign: { auth_signature: undefined } })],
  ["Invalid signature: you should have sent HmacSHA256Hex(…, your_secret_key), but you sent …", api(EVENTS, { sign: { auth_signature: "0" } })],
  ["Application is disabled: …", api(EVENTS), { GEMA_APPS__0__ENABLED: "false" }],
  ["Unknown app: …", api("/apps/nobody/events")],
  ["Not found", get("/nowhere")],
  ["Method not allowed", get(EVENTS)],
  ["The request exceeds limits.request_bytes (… bytes)", api(EVENTS, { body: "1".repeat(1048577) })],
  ["The data content of this event exceeds the allowed maximum (… bytes). See limits.event_data_bytes for more info", api(EVENTS, { body: event({ data: "1".repeat(10241) }) })],
  ["Too many requests for this app (limits.api_requests_per_s)", ...many(5, () => get("/apps/app-id/connections")), { GEMA_LIMITS__API_REQUESTS_PER_S: "1" }],
  ["Apps cannot be looked up at the moment (database.apps): …", api("/apps/nobody/events"), { GEMA_DATABASE__APPS: "true", GEMA_DATABASE__URL: "postgres://127.0.0.1:1/x" }],
];

const AUTHORIZER = [
  ["Missing parameter: …", ask(AUTH, { body: "" }), ask(AUTH, { body: "socket_id=1.2" }), ask("/api/broadcasting/user-auth", { body: "" })],
  ["Invalid socket_id: '…'", ask(AUTH, { body: "socket_id=x" })],
  ["Invalid channel name: …", wants("a b")],
  ["Invalid JSON in the body: …", ask(AUTH, { body: "{", type: "application/json" })],
  ["Send the user's token in the header 'Authorization: Bearer …'", ask(AUTH, { token: null })],
  ["The token is not a signed JWT", ask(AUTH, { token: "x" })],
  ["The token's signature is wrong", ask(AUTH, { token: `${token().slice(0, -6)}AAAAAA` })],
  ["The token's algorithm does not suit the key that is configured", ask(AUTH, { token: token({}, { alg: "HS512" }) })],
  ["The token's header has 'crit', and none of its extensions are known", ask(AUTH, { token: token({}, { crit: ["x"] }) })],
  ["The token has expired", ask(AUTH, { token: token({ exp: 1 }) })],
  ["The token is not valid yet (nbf)", ask(AUTH, { token: token({ nbf: 99999999999 }) })],
  ["The token's issuer is not '…'", ask(AUTH, { token: token({ iss: "you" }) }), { GEMA_AUTH__JWT_ISSUER: "me" }],
  ["The token is not meant for the audience '…'", ask(AUTH, { token: token({ aud: "them" }) }), { GEMA_AUTH__JWT_AUDIENCE: "us" }],
  ["The token has no claim '…'", ask(AUTH, { token: token({ sub: undefined }) })],
  ["The token's claim '…' must be …", ask(AUTH, { token: token({ roles: 7 }) })],
  ["This server has no key to check tokens with: set auth.jwt_secret (or JWT_SECRET), auth.jwt_public_key or auth.jwks_url", ask(AUTH), { JWT_SECRET: "" }],
  ["No rule in auth.channels is about channel …", wants("private-nobody")],
  ["Channel … is for user …; the token is user …'s", wants("private-booking.8")],
  ["Channel … needs …", wants("private-admin"), wants("private-staff"), wants("presence-room.1")],
  ["Channel … is public; it needs no authorization", wants("orders")],
  ["Channel … opens by signing in (pusher:signin), not by authorization", wants("#server-to-user-7")],
  ["Channel … is encrypted, and the app has no apps.encryption_master_key", wants("private-encrypted-x"), '[[auth.channels]]\nchannel = "private-encrypted-x"'],
  ["Channel … is not user …'s by the rule's sql", wants("private-order.5"), '[[auth.channels]]\nchannel = "private-order.{order}"\nsql = "select 1 where 1 = 2"'],
  ["Channel … cannot be decided about now; try again later", wants("private-order.5"), '[[auth.channels]]\nchannel = "private-order.{order}"\nsql = "select 1"\n[database]\nurl = "postgres://127.0.0.1:1/x"'],
  ["The body is longer than … bytes", ask(AUTH, { body: "a".repeat(16385) })],
  ["The token's key cannot be had: the key set at auth.jwks_url is unreachable; try again", ask(AUTH, { token: token({}, { alg: "RS256", kid: "x" }) }), { JWT_SECRET: "", GEMA_AUTH__JWKS_URL: "http://127.0.0.1:1/" }],
  ["The token was signed with a key that is not in the key set of auth.jwks_url", ask(AUTH, { token: token({}, { alg: "RS256", kid: "x" }) }), { JWT_SECRET: "", GEMA_AUTH__JWKS_URL: "KEYS" }],
  ["No enabled app to sign for (auth.app)", ask(AUTH), { GEMA_APPS__0__ENABLED: "false" }],
];

// Elsewhere: tests/slow_clients.rs waits for the 408. An early end has nobody left to be told, and the 500 has no known cause.
const NOT_HERE = ["The request's body did not arrive within 10 seconds", "The request's body ended early", "Internal server error"];

for (const [title, rows, provoked] of [
  ["the API", tables[0], API],
  ["the authorizer", tables[1], AUTHORIZER],
]) {
  describe(`each refusal of ${title} comes with its status`, () => {
    let defaults;
    const end = [];
    before(async () => (defaults = await startGema((stop) => end.push(stop), null, { JWT_SECRET })));
    after(() => end.forEach((stop) => stop()));

    test("the page has all of them", () => {
      const told = provoked.map(([told]) => told);
      const listed = rows.map(([, told]) => told).filter((told) => !NOT_HERE.includes(told));
      assert.deepEqual([...listed].sort(), told.sort());
    });
    for (const [told, ...how] of provoked) {
      test(told, async (t) => {
        const [status] = rows.find(([, row]) => row === told) ?? assert.fail("it is on the page");
        const setting = Array.isArray(how.at(-1)) ? undefined : how.pop();
        const gema = setting === undefined ? defaults : await startWith(t, setting);
        let answer;
        for (const [path, request] of how) {
          const response = await fetch(gema.url + path, request);
          answer = { status: response.status, text: await response.text(), headers: response.headers };
          // Of several that are the same the last is refused.
          if (response.ok) continue;
          const found = answer.text.startsWith("{") ? JSON.parse(answer.text).error : answer.text;
          assert.match(found.replace(/^batch\[\d+\]: (?!'channels')/, ""), like(told));
          assert.equal(answer.status, status);
        }
        assert.equal(answer.status, status);
        if (status === 405) assert.equal(answer.headers.get("allow"), "POST");
        if (status === 429) assert.match(answer.headers.get("retry-after"), /^[1-9]\d*$/);
      });
    }
  });
}

/** A server with other settings: variables, or lines of a file. */
async function startWith(t, setting) {
  if (typeof setting === "string") {
    return startGema((stop) => t.after(stop), `[server]\nport = 0\n${setting}`, { JWT_SECRET });
  }
  if (setting.GEMA_AUTH__JWKS_URL === "KEYS") {
    const keys = createServer((_, response) => response.end('{"keys":[]}')).listen(0, "127.0.0.1");
    await new Promise((good) => keys.once("listening", good));
    t.after(() => keys.close());
    setting = { ...setting, GEMA_AUTH__JWKS_URL: `http://127.0.0.1:${keys.address().port}/` };
  }
  return startGema((stop) => t.after(stop), null, { JWT_SECRET, ...setting });
}

test("every text of a refusal in the source is on the page", () => {
  const rows = tables.flat().map(([, told]) => told);
  const files = ["src/http/api.rs", "src/http/body.rs", "src/http/events.rs", "src/http/channels.rs", "src/http/broadcasting.rs"];
  const sources = [...files, "protocol/src/request.rs", "src/auth/jwt.rs", "src/auth/rules.rs"];
  let found = 0;
  for (const file of sources) {
    const source = readFileSync(join(ROOT, file), "utf8").split("pub enum GuardRefusal")[0];
    const texts = source.matchAll(/(?:#\[error\(|Bad\(|TooLarge\(|Bad\(format!\(|TooLarge\(format!\()\s*"((?:[^"\\]|\\[^])*)"/g);
    for (const [, literal] of texts) {
      const parts = literal.replace(/\\\n\s*/g, "").replace(/\\"/g, '"').split(/\{[^}]*\}/).filter(Boolean);
      if (!parts.some((part) => /[a-z]{3}/.test(part))) continue; // it passes another's text on
      found += 1;
      const holds = (row) => parts.every((part) => row.includes(part.trim()) || row.includes("…") && like(row).test(literal));
      assert.ok(rows.some(holds), `${file}: "${literal}" is in docs/http-api.md`);
    }
  }
  assert.ok(found > 40, `${found} texts`);
});
