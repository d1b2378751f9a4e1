// Elements out of values, never out of markup, and how numbers and times are written.

export const by = (id) => document.getElementById(id);

/** An element; `props` are properties, except `class`, `data`, `on` and those with a dash or `role`, which are attributes. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

const whole = new Intl.NumberFormat("en");

export const number = (value) => whole.format(value);

export function bytes(value) {
  if (value < 1024) return `${value} B`;
  return value < 1048576 ? `${(value / 1024).toFixed(1)} KiB` : `${(value / 1048576).toFixed(1)} MiB`;
}

/** A length of time in its two largest units. */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} m`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** The time of day with milliseconds, as this browser's clock has it. */
export function time(unixMs) {
  const date = new Date(unixMs);
  return date.toLocaleTimeString("en-GB", { hour12: false }) + "." + String(date.getMilliseconds()).padStart(3, "0");
}

/** JSON with line breaks, and whatever is no JSON as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Calls `act` once things have been quiet for `ms`. */
export function debounced(ms, act) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...args), ms);
  };
}

/** Replaces the rows of a list and keeps the focus on the row, and the control in it, that had it. */
export function replaceRows(list, rows) {
  const focused = document.activeElement?.closest?.("[data-key]");
  const key = list.contains(focused) ? focused.dataset.key : undefined;
  const which = key === undefined ? -1 : [...focused.querySelectorAll("button")].indexOf(document.activeElement);
  list.replaceChildren(...rows);
  if (key === undefined) return;
  const again = rows.find((row) => row.dataset.key === key);
  again?.querySelectorAll("button")[Math.max(0, which)]?.focus();
}

/** Opens the one dialog for details; it has a title, a body, and is closed by Escape. */
export function detail(title, ...body) {
  by("detail-title").textContent = title;
  by("detail-body").replaceChildren(...body);
  if (!by("detail").open) by("detail").showModal();
}

export const closeDetail = () => by("detail").close();

/** A list of facts: pairs of a name and what it is, text or element; those that are not known are left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return el("dl", { class: "facts" }, ...known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}
