// SPDX-License-Identifier: Apache-2.0
// The tables below the exchanges: failures that are kept, origins.

import { $, element, isMarked, say, set, when } from "./format.js";
import { detailsOf, endsSoon } from "./details.js";
import { MARKS, kindOf } from "./rows.js";

const ORIGINS = 100; // of those that the status names, the busiest

// ---- failures

let opened = null; // key of the one whose details are shown

function failureRow(x, toggle) {
  const row = element("tr", MARKS[kindOf(x)]);
  const at = when(x.start + x.ms.total);
  const time = set(element("button", "", at), { type: "button", title: "Details",
    "aria-label": at + " " + x.host + ": details", "aria-expanded": opened === x.key });
  const cell = element("td");
  time.addEventListener("click", () => toggle(x));
  cell.append(time);
  row.dataset.host = x.host;
  const host = element("td", "host");
  host.append(element("span", "", x.host || "–"));
  row.append(cell, host, element("td", "status", x.status || "–"),
    element("td", "error", x.error || x.method), element("td", "sentence", x.sentence || x.url));
  return row;
}

function failureDetails(x, certificate) {
  const row = element("tr", "details");
  const cell = set(element("td"), { colspan: 5 });
  cell.append(detailsOf(x, certificate));
  row.append(cell);
  return row;
}

// How far below the upper edge of BOX the row is that is read: the opened one, or the first that is seen once the
// table was scrolled. [its key, px]; null: none.
function readRow(box, body) {
  const isRead = (row) => (opened ? row.dataset.key === opened : box.scrollTop > 0 && row.offsetTop >= box.scrollTop);
  const row = [...body.rows].find(isRead);
  return row ? [row.dataset.key, row.offsetTop - box.scrollTop] : null;
}

function keepInPlace(box, body, [key, top]) {
  const row = [...body.rows].find((each) => each.dataset.key === key);
  if (row) box.scrollTop = row.offsetTop - top;
}

// FAILURES: of ALL that are kept, those that are wanted; the latest first. CERTIFICATE_OF: gives that of the origin of
// an exchange, or null.
export function drawFailures(failures, all, certificateOf) {
  const body = $("failures");
  if (body.querySelector("button:active")) return; // a press ends where it began
  const box = $("failures-table");
  const read = readRow(box, body);
  const focused = body.contains(document.activeElement) ? document.activeElement.closest("tr").dataset.key : null;
  const toggle = (x) => {
    opened = opened === x.key ? null : x.key;
    drawFailures(failures, all, certificateOf);
  };
  body.replaceChildren();
  for (const x of failures) {
    const row = failureRow(x, toggle);
    row.dataset.key = x.key;
    body.append(row);
    if (x.key === opened) body.append(failureDetails(x, certificateOf(x)));
    if (x.key === focused) row.querySelector("button").focus({ preventScroll: true });
  }
  $("no-failures").hidden = failures.length > 0;
  say($("no-failures"), all > 0 ? "None of " + all + " matches." : "None.");
  box.hidden = failures.length === 0;
  if (read) keepInPlace(box, body, read);
}

// COUNTS: how often each error was since the start. USE gets one that is pressed.
export function drawErrors(counts, use) {
  const list = $("errors");
  const names = Object.keys(counts).sort((a, b) => counts[b] - counts[a] || (a < b ? -1 : 1));
  const wanted = names.map((name) => name + " " + counts[name]).join("\n");
  if (list.dataset.shown === wanted || list.querySelector("button:active")) return;
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.error : null;
  list.dataset.shown = wanted;
  list.replaceChildren();
  for (const name of names) {
    const item = element("li");
    const button = set(element("button", "", name + " "),
      { type: "button", title: "Show these alone", "data-error": name });
    button.append(element("b", "", counts[name]));
    button.addEventListener("click", () => use(name));
    item.append(button);
    list.append(item);
    if (name === focused) button.focus({ preventScroll: true });
  }
}

// ---- origins

function originName(o, use) {
  const name = element("td");
  const host = o.origin.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  if (host === o.origin) { // "other" stands for many
    name.append(o.origin);
    return name;
  }
  const button = set(element("button", "", o.origin), { type: "button", title: "Show this host alone" });
  button.addEventListener("click", () => use(host));
  name.append(button);
  return name;
}

function certificateCell(o) {
  const ends = o.certificate_expires;
  const mark = endsSoon(ends) ? "warn" : "";
  const cell = element("td", mark, ends ? ends.slice(0, 10) + (mark ? " (soon)" : "") : "–");
  if (o.certificate) cell.title = o.certificate.subject + "\nissued by " + o.certificate.issuer;
  return cell;
}

function originRow(o, use) {
  const row = element("tr");
  row.append(originName(o, use), element("td", "", o.requests), element("td", o.failed ? "bad" : "", o.failed),
    element("td", "", o.in_flight), element("td", "", o.busy), element("td", "", o.idle), element("td", "", o.opened),
    element("td", "", o.requests ? Math.round((100 * o.reused) / o.requests) + " %" : "–"), certificateCell(o));
  return row;
}

// USE gets the host of an origin that is pressed.
export function drawOrigins(origins, use) {
  const body = $("origins");
  const named = origins.filter((o) => o.origin !== "other").sort((a, b) => b.requests - a.requests);
  const shown = named.slice(0, ORIGINS).concat(origins.filter((o) => o.origin === "other"));
  if (body.querySelector("button:active") || isMarked(body)) return; // a press ends where it began
  const focused = body.contains(document.activeElement) ? document.activeElement.textContent : null;
  body.replaceChildren(...shown.map((o) => originRow(o, use)));
  const again = [...body.querySelectorAll("button")].find((button) => button.textContent === focused);
  if (again) again.focus({ preventScroll: true });
  const left = named.length > ORIGINS;
  say($("more-origins"), left ? "showing the " + ORIGINS + " busiest of " + named.length + " origins" : "");
}
