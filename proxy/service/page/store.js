// SPDX-License-Identifier: Apache-2.0
// What the page has been told, and which of it is wanted.

import { kindOf, spanOf } from "./rows.js";

export const KEEP = 3000; // finished exchanges at most
const FAILURES = 100; // that tlsfan ended, and as many that others did: it keeps as many

export const store = {
  kept: [], // finished, as they arrived
  total: 0, // finished since the page was opened or cleared: kept, dropped and gone
  running: [],
  runningMore: 0, // that are not in `running`
  toldAt: 0, // performance.now() when `running` was told
  failures: [],
  status: null, // the last one
};

// What is searched: all that a person may have in mind.
function textOf(x) {
  return [x.method, x.url, x.status || "", x.error, x.sentence, x.protocol, x.tls, x.client, x.upstream, x.origin,
    x.phase, x.doing].filter(Boolean).join(" ").toLowerCase();
}

// A process counts its exchanges from the beginning: the cursor tells one process from another.
function keyed(x, cursor) {
  x.key = cursor.split(".")[0] + "-" + x.id;
  x.text = textOf(x);
  return x;
}

const CLOCK_MS = 100; // by less it is not set, but was read late
const clocks = {}; // of the two lists: [process, its clock]

// Of tlsfan's clock when it told GOT. Once that is set, it tells all times by the new one: what LIST, "kept" or
// "failures", has already goes along. True when it did.
export function setClock(list, got) {
  const process = got.cursor.split(".")[0];
  const [before, was] = clocks[list] ?? [];
  const by = before === process ? got.clock - was : 0;
  clocks[list] = [process, got.clock];
  if (!(Math.abs(by) > CLOCK_MS)) return false;
  for (const x of store[list].filter((each) => each.key.startsWith(process + "-"))) x.start += by;
  return true;
}

export function addFinished(exchanges, gone, cursor) {
  store.total += exchanges.length + gone;
  for (const x of exchanges) store.kept.push(keyed(x, cursor));
  // What arrived first goes first. By when they began, a slow one would go as it comes.
  store.kept.splice(0, Math.max(0, store.kept.length - KEEP));
}

export function setRunning(running, more, cursor) {
  store.running = running.map((x) => keyed(x, cursor));
  store.runningMore = more;
  store.toldAt = performance.now();
}

// The latest first, as they arrived: once a clock was set their times may say otherwise.
export function addFailures(failures, cursor) {
  const have = new Set(store.failures.map((x) => x.key));
  const fresh = failures.map((x) => keyed(x, cursor)).filter((x) => !have.has(x.key));
  const n = { true: 0, false: 0 };
  store.failures = fresh.reverse().concat(store.failures).filter((x) => n[kindOf(x) === "tlsfan"]++ < FAILURES);
}

export function clear() {
  store.kept = [];
  store.total = 0;
}

// WANTED: each word of it has to be somewhere in X.
export function matches(x, wanted) {
  return wanted.every((word) => x.text.includes(word));
}

export function wordsOf(text) {
  return text.toLowerCase().split(/\s+/).filter(Boolean);
}

export function overlaps(x, zoom) {
  const [from, to] = spanOf(x);
  return from <= zoom[1] && to >= zoom[0];
}

// Of several that are alike, the one that began first comes first.
export function sorted(exchanges, by, isDown) {
  const sign = isDown ? -1 : 1;
  const compare = ([a, x], [b, y]) => (a < b ? -sign : a > b ? sign : x.start - y.start);
  return exchanges.map((x) => [by(x), x]).sort(compare).map(([, x]) => x);
}
