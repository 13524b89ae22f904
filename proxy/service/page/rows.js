// SPDX-License-Identifier: Apache-2.0
// An exchange as a row: its cells, and its bar in which each phase has a colour.

import { bytes, clock, element, ms, say, set } from "./format.js";
import { place } from "./axis.js";

export const PHASES = ["queue", "dns", "connect", "tls", "send", "wait", "transfer"];
export const NAMES = { queue: "queue", dns: "DNS", connect: "connect", tls: "TLS", send: "send", wait: "wait",
  transfer: "transfer", deliver: "deliver" };
const LONG_MS = 10000; // what has been under way for longer is marked

// The columns, in order; `by` is what they are sorted by.
export const COLUMNS = [
  { name: "began", title: "Began", by: (x) => x.start, text: (x) => clock(x.start) },
  { name: "method", title: "Method", by: (x) => x.method, text: (x) => x.method },
  { name: "url", title: "URL", by: (x) => shortUrl(x), text: (x) => shortUrl(x) },
  { name: "protocol", title: "HTTP", by: (x) => x.protocol, text: (x) => x.protocol },
  { name: "status", title: "Status", by: (x) => x.status, text: (x) => x.status || "–" },
  { name: "size", title: "Size", by: (x) => x.body ?? x.bytes_out, text: (x) => bytes(x.body ?? x.bytes_out) },
  { name: "ms", title: "Took", by: (x) => x.ms.total, text: (x) => ms(x.ms.total) },
];

export function shortUrl(x) {
  return x.url.replace(/^https?:\/\//, "");
}

// "tlsfan": it failed; "origin": the origin's own 4xx or 5xx; "client": it left; "": it went well.
export function kindOf(x) {
  return x.kind ?? "";
}

// Classes of rows, by kind.
export const MARKS = { tlsfan: "failed", origin: "refused", client: "left", "": "" };

// A tunnel lasts as long as its two ends like: nobody waits for it. Until there is one, somebody does.
export function isTunnel(x) {
  const isThere = !x.error && (x.phase ?? "transfer") === "transfer";
  return (x.method === "CONNECT" && isThere) || x.status === 101;
}

export function spanOf(x) {
  return [x.start, x.start + x.ms.total];
}

function phasesOf(x) {
  return PHASES.filter((p) => x.ms[p] > 0);
}

export function phaseText(x) {
  return phasesOf(x).map((p) => NAMES[p] + " " + ms(x.ms[p])).join(", ");
}

function bar(x) {
  const span = element("div", "span");
  for (const phase of phasesOf(x)) {
    const part = element("i", phase);
    part.dataset.phase = phase;
    part.dataset.ms = x.ms[phase];
    span.append(part);
  }
  return span;
}

function cell(name, text) {
  return set(element("span", name, text), { role: "gridcell" });
}

// Where there is little room, the host keeps the larger half of it: who is hidden there could be anybody.
function urlCell(x) {
  const [, host, path] = /^([^/?]*)(.*)$/s.exec(shortUrl(x));
  const url = set(cell("url"), { "aria-label": shortUrl(x) });
  url.append(element("span", "host", host), element("span", "path", path));
  url.lastChild.style.minWidth = `min(45%, ${path.length}ch)`;
  return url;
}

function makeRow(x, texts) {
  const row = element("div", MARKS[kindOf(x)]);
  row.classList.toggle("ahead", x.readahead === true);
  row.append(...COLUMNS.map((c) => (c.name === "url" ? urlCell(x) : cell(c.name, texts[c.name] ?? c.text(x)))));
  const time = cell("time");
  time.append(bar(x));
  row.append(time);
  return row;
}

export function finishedRow(x) {
  const row = makeRow(x, {});
  row.dataset.host = x.host;
  row.dataset.start = x.start;
  row.dataset.end = x.start + x.ms.total;
  set(row.lastChild, { "aria-label": phaseText(x) || "no time" });
  row.title = phaseText(x) + (x.sentence ? "\n" + x.sentence : "");
  return row;
}

// Draws the bar of X into ROW; phases take the room that the axis gives to their time.
export function drawBar(axis, row, x) {
  const span = row.lastChild.firstChild;
  const [from, to] = spanOf(x).map((t) => place(axis, t));
  const isOut = x.start > axis.to || x.start + x.ms.total < axis.from;
  span.hidden = isOut;
  if (isOut) return;
  // A quick one at the very end stays visible.
  span.style.left = `min(${(100 * from).toFixed(4)}%, 100% - 2px)`;
  span.style.width = (100 * (to - from)).toFixed(4) + "%";
  let t = x.start;
  for (const part of span.children) {
    const length = x.ms[part.dataset.phase];
    part.style.flexGrow = String(Math.max(place(axis, t + length) - place(axis, t), 0) * 1000);
    t += length;
  }
}

// ---- under way

// How long X has been under way by now, and its phases: its own clock, and what has passed since it was told.
export function grown(x, since) {
  if (x.phase === "deliver") return x.ms;
  const more = Math.max(since, 0);
  return { ...x.ms, [x.phase]: (x.ms[x.phase] || 0) + more, total: x.ms.total + more };
}

export function isLong(x, total) {
  return total > LONG_MS && !isTunnel(x);
}

export function runningRow(x) {
  const row = makeRow(x, { status: NAMES[x.phase] ?? x.phase, size: bytes(x.bytes_out) });
  row.dataset.host = x.host;
  row.dataset.phase = x.phase;
  row.title = x.doing;
  return row;
}

// Its bar is as long as it has been under way, on a scale that ends at LONGEST.
export function drawAge(row, x, now, longest) {
  const time = row.lastChild;
  const span = time.firstChild;
  if (span.dataset.parts !== phasesOf({ ms: now }).join()) {
    span.replaceChildren(...bar({ ms: now }).children);
    span.dataset.parts = phasesOf({ ms: now }).join();
  }
  span.style.width = Math.min((100 * now.total) / longest, 100).toFixed(3) + "%";
  for (const part of span.children) part.style.flexGrow = String(now[part.dataset.phase]);
  row.classList.toggle("long", isLong(x, now.total));
  say(row.querySelector(".ms"), ms(now.total));
  say(row.querySelector(".status"), NAMES[x.phase] ?? x.phase);
  say(row.querySelector(".size"), bytes(x.bytes_out));
  say(row.querySelector(".protocol"), x.protocol);
  row.dataset.phase = x.phase;
  row.title = x.doing;
  set(time, { "aria-label": x.doing });
}
