// Whether all is well: the parts of this node, its figures over the last minutes, and the other nodes.

import { by, bytes, el, number, span } from "./dom.js";

/** Points of a graph: two minutes at one in two seconds. */
const POINTS = 60;

const SVG = "http://www.w3.org/2000/svg";

const GRAPHS = [
  ["connections", "Connections", number],
  ["published", "Events published a second", rate],
  ["sent", "Frames sent a second", rate],
  ["outbox_bytes", "Waiting in outboxes", bytes],
];

export class Health {
  #points = Object.fromEntries(GRAPHS.map(([name]) => [name, []]));
  #before = null;

  /** Takes an overview; the rates of what is counted come from the one before. */
  take(now) {
    const before = this.#before?.node === now.node ? this.#before : null;
    const seconds = before ? Math.max(0.001, (now.now_ms - before.now_ms) / 1000) : 0;
    const rates = {
      connections: now.connections,
      outbox_bytes: now.outbox_bytes,
      published: before ? Math.max(0, now.published - before.published) / seconds : 0,
      sent: before ? Math.max(0, now.sent - before.sent) / seconds : 0,
    };
    for (const [name, points] of Object.entries(this.#points)) {
      points.push(rates[name]);
      if (points.length > POINTS) points.shift();
    }
    this.#before = now;
    this.#head(now, rates);
    by("alarm").hidden = !problems(now).length;
    return rates;
  }

  draw() {
    const now = this.#before;
    if (!now) return;
    by("health-cards").replaceChildren(...cards(now));
    by("graphs").replaceChildren(
      ...GRAPHS.map(([name, title, write]) => {
        const points = this.#points[name];
        return el("div", { class: "card" }, el("h3", {}, title), el("div", { class: "big" }, write(points.at(-1) ?? 0)), graph(points, title));
      }),
    );
    by("nodes").replaceChildren(nodes(now));
  }

  #head(now, rates) {
    const figures = [
      [now.connections === 1 ? "connection" : "connections", number(now.connections)],
      [now.channels === 1 ? "channel" : "channels", number(now.channels)],
      ["events/s", rate(rates.published)],
      ["sent/s", rate(rates.sent)],
    ];
    by("figures").replaceChildren(...figures.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    by("node").textContent = `node ${now.node}, version ${now.version}, up ${span(now.uptime_s)}`;
  }
}

function rate(value) {
  return value >= 100 ? number(Math.round(value)) : value.toFixed(value && value < 10 ? 1 : 0);
}

function problems(now) {
  const found = [];
  if (now.draining) found.push("draining");
  if (now.bus && !now.bus.up) found.push("bus");
  if (now.database && !now.database.up) found.push("database");
  return found;
}

function cards(now) {
  const sum = (counts) => Object.entries(counts).filter(([, count]) => count).map(([name, count]) => `${number(count)} ${name}`).join(", ");
  const { webhooks } = now;
  return [
    card("This node", now.draining ? "draining" : "serving", !now.draining, `Up ${span(now.uptime_s)}; ${number(now.consoles)} console${now.consoles === 1 ? "" : "s"} open`),
    now.bus
      ? card("Redis", now.bus.up ? "connected" : "away", now.bus.up, now.bus.error, `${number(now.bus.sent)} sent, ${number(now.bus.received)} received, ${number(now.bus.gaps)} missing, ${number(now.bus.dropped)} dropped`)
      : card("Redis", "not used", null, "One node alone (redis.url is empty)"),
    now.database
      ? card("Database", now.database.up ? "answers" : "away", now.database.up, now.database.error)
      : card("Database", "not used", null, "No part that is on needs one"),
    card("Webhooks", `${number(webhooks.delivered ?? 0)} delivered`, null, `${number(webhooks.failed ?? 0)} attempts failed, ${number(webhooks.given_up ?? 0)} events given up, ${number(webhooks.overflowed ?? 0)} found no room`),
    card("Connections", number(now.connections), null, sum(now.gateways), `${number(now.connected)} came, ${number(now.disconnected)} went, ${number(now.slow_consumers)} for reading too slowly`),
    card("Subscriptions", number(Object.values(now.subscriptions).reduce((all, count) => all + count, 0)), null, sum(now.subscriptions)),
    now.outbox_lag_ms === null ? null : card("Outbox table", `${number(now.outbox_lag_ms)} ms behind`, null),
  ].filter(Boolean);
}

/** `good`: whether it is well; null where that is not for this page to say. */
function card(title, state, good, ...lines) {
  const [first, ...rest] = lines.filter(Boolean);
  const bad = good === false;
  return el(
    "div",
    { class: "card" },
    el("h3", {}, title, good !== null && el("span", { class: `tag ${bad ? "bad" : "ok"}` }, bad ? "not well" : "well")),
    el("div", { class: `big ${bad ? "error" : ""}` }, state),
    first && el("p", { class: bad ? "error" : "" }, first),
    ...rest.map((line) => el("p", {}, line)),
  );
}

/** A line through the points, from zero to the highest. */
function graph(points, title) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "graph");
  svg.setAttribute("viewBox", `0 0 ${POINTS - 1} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${title}, over the last ${points.length * 2} seconds`);
  const most = Math.max(1, ...points);
  const start = POINTS - points.length;
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", points.map((value, at) => `${at ? "L" : "M"}${start + at} ${97 - (value / most) * 94}`).join(""));
  svg.append(path);
  return svg;
}

function nodes(now) {
  if (now.nodes === null) return el("p", { class: "quiet" }, "This node is alone. With redis.url it is one of several: docs/cluster.md.");
  if (typeof now.nodes === "string") return el("p", { class: "error" }, now.nodes);
  const cell = (name, ...content) => el("td", { data: { name } }, ...content);
  const row = (node) =>
    el(
      "tr",
      {},
      cell("Node", el("span", { class: "mono" }, node.id), node.self ? " (this one)" : ""),
      cell("Name in Redis", el("span", { class: "mono" }, node.name)),
      el("td", { class: "number", data: { name: "Connections" } }, number(node.connections)),
      cell("Lease", node.lease_left_ms > 0 ? `${(node.lease_left_ms / 1000).toFixed(1)} s left` : el("span", { class: "error" }, "over")),
    );
  const head = ["Node", "Name in Redis", "Connections", "Lease"].map((name) => el("th", { class: name === "Connections" ? "number" : "" }, name));
  return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...now.nodes.map(row)));
}
