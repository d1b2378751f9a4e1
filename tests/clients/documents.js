// The fenced blocks of README.md and docs/*.md, each with what the comment before it says about being run:
//
//     <!-- run: NAME KIND ARGUMENT… SETTING=VALUE… -->     a test of that kind runs it as printed, but for the port
//     <!-- not run: reason -->                             and why none does
//
// documents.test.js says what the kinds are, which of its own and which of other test files, and that no block of a
// language that could run goes without such a comment.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./support.js";

const ALIASES = { javascript: "js", sh: "bash", shell: "bash" };
const MARKER = /^\s*<!-- (run|not run): (.*?) -->\s*$/;

/** The names of the documents, from the root of the repository. */
export function documents() {
  const pages = readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
  return ["README.md", ...pages.sort().map((name) => `docs/${name}`)];
}

/**
 * All fenced blocks, in the order of their documents: `{ at, document, language, code, run, notRun }`. `at` is where the
 * block begins, `run` is `{ name, kind, args, settings }`, `notRun` the reason; both undefined without a comment.
 */
export function blocks() {
  return documents().flatMap((name) => blocksOf(name, readFileSync(join(ROOT, name), "utf8")));
}

/** The blocks of a `kind`, which a test of that kind runs. */
export function blocksToRun(kind) {
  return blocks().filter(({ run }) => run?.kind === kind);
}

/** The block of this name; there is one. */
export function blockNamed(name) {
  const found = blocks().filter(({ run }) => run?.name === name);
  if (found.length !== 1) throw new Error(`${found.length} blocks are called ${name}`);
  return found[0];
}

function blocksOf(document, text) {
  const found = [];
  let open; // the block whose end has not come yet
  let marker;
  text.split("\n").forEach((line, index) => {
    const fence = /^(\s*)```\s*(\S*)\s*$/.exec(line);
    if (open) {
      if (!fence) return void open.lines.push(line);
      const { indent, lines, ...block } = open;
      found.push({ ...block, code: lines.map((line) => line.slice(Math.min(indent, line.search(/\S|$/)))).join("\n") + "\n" });
      open = undefined;
    } else if (fence) {
      const [, { length: indent }, language] = fence;
      const at = `${document}:${index + 1}`;
      open = { at, document, language: ALIASES[language] ?? language, indent, lines: [], ...marker };
      marker = undefined;
    } else if (line.trim() !== "") {
      const said = MARKER.exec(line);
      if (marker) throw new Error(`${document}:${index}: the comment about running stands before no block`);
      marker = said && (said[1] === "run" ? { run: instructions(said[2]) } : { notRun: said[2] });
    }
  });
  if (open || marker) throw new Error(`${document}: a block without an end, or a comment without a block`);
  return found;
}

function instructions(said) {
  const [name, kind, ...rest] = said.split(/\s+/);
  const settings = rest.filter((word) => /^[A-Z_]+=/.test(word));
  return {
    name,
    kind,
    args: rest.filter((word) => !settings.includes(word)),
    settings: Object.fromEntries(settings.map((setting) => setting.split(/=(.*)/).slice(0, 2))),
  };
}
