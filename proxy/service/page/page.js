// SPDX-License-Identifier: Apache-2.0
// The live page. Asks for what has finished since the last time, keeps a bounded number of it, and draws each exchange as
// a row of elements. All that comes from outside is put in as text.
"use strict";

const KEEP = 500; // rows at most
const ORIGINS = 100; // of those that the status names, the busiest
const EVERY_MS = 500; // between two looks at exchanges
const STATUS_MS = 2000; // and at the status
const SLOWEST_MS = 10000; // between two looks when the server does not answer
const ANSWER_MS = 5000; // an answer that takes longer is none
const SOON_DAYS = 14; // a certificate that ends sooner is marked
const PHASES = ["queue", "dns", "connect", "tls", "send", "wait", "transfer"];

const $ = (id) => document.getElementById(id);
let kept = []; // exchanges that are shown or hidden by the filter, as they arrived
let cursor = "";
let total = 0; // finished since the page was opened or cleared: kept, dropped and skipped
let paused = false;
let picked = null;
let last = null; // the status before, for rates

function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function ms(value) {
  if (value >= 10000) return (value / 1000).toFixed(1) + " s";
  return (value >= 100 ? value.toFixed(0) : value.toFixed(1)) + " ms";
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  while (value >= 1024 && i < units.length - 1) { value /= 1024; i++; }
  return (i === 0 ? value.toFixed(0) : value.toFixed(1)) + " " + units[i];
}

function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [size, unit] of parts) if (seconds >= 2 * size) return Math.floor(seconds / size) + " " + unit;
  return Math.floor(seconds) + " s";
}

// ---- rows

function makeRow(x) {
  const row = element("li", x.error ? "failed" : x.readahead ? "ahead" : "");
  const span = element("div", "span");
  row.dataset.id = x.id;
  row.dataset.host = x.host;
  row.dataset.start = x.start;
  row.dataset.end = x.start + x.ms.total;
  for (const phase of PHASES) {
    if (!(x.ms[phase] > 0)) continue;
    const part = element("i", phase);
    part.dataset.phase = phase;
    part.dataset.ms = x.ms[phase];
    part.style.flexGrow = String(x.ms[phase]);
    part.style.flexBasis = "0";
    span.append(part);
  }
  const time = element("div", "time");
  time.append(span);
  row.append(element("span", "method", x.method), element("span", "url", x.url.replace(/^https?:\/\//, "")),
    element("span", "protocol", x.protocol), element("span", "status", x.status || "–"), element("span", "ms", ms(x.ms.total)), time);
  row.title = PHASES.filter((p) => x.ms[p] > 0).map((p) => p + " " + ms(x.ms[p])).join(", ") + (x.sentence ? "\n" + x.sentence : "");
  x.row = row;
  return row;
}

function matches(x) {
  const wanted = $("filter").value.trim().toLowerCase();
  return wanted === "" || x.host.toLowerCase().includes(wanted);
}

// In the order in which they began.
function ordered() {
  return kept.slice().sort((a, b) => a.start - b.start);
}

// The time axis fits what is shown.
function draw() {
  const shown = kept.filter(matches);
  let from = Infinity, to = -Infinity;
  for (const x of shown) {
    from = Math.min(from, x.start);
    to = Math.max(to, x.start + x.ms.total);
  }
  const width = Math.max(to - from, 1);
  for (const x of kept) x.row.hidden = !matches(x);
  for (const x of shown) {
    const span = x.row.lastChild.firstChild;
    // A quick one at the very end stays visible.
    span.style.left = "min(" + (100 * (x.start - from) / width) + "%, 100% - 2px)";
    span.style.width = (100 * x.ms.total / width) + "%";
  }
  $("from").textContent = shown.length ? new Date(from).toLocaleTimeString() : "";
  $("to").textContent = shown.length ? "+" + ms(to - from) : "";
  $("empty").hidden = shown.length > 0;
  $("shown").textContent = total > kept.length ? "showing " + kept.length + " of " + total + " exchanges" : "";
}

function add(exchanges) {
  const rows = $("rows");
  const atEnd = rows.scrollTop + rows.clientHeight >= rows.scrollHeight - 30;
  for (const x of exchanges) kept.push(x);
  // What arrived first goes first. By when they began, a slow one would go as it comes.
  for (const x of kept.splice(0, Math.max(0, kept.length - KEEP))) if (x.row) x.row.remove();
  // Most come in the order in which they began, so few are moved.
  let before = null;
  for (const x of ordered().reverse()) {
    const row = x.row || makeRow(x);
    if (row.parentNode !== rows || row.nextSibling !== before) rows.insertBefore(row, before);
    before = row;
  }
  draw();
  drawErrors();
  if (atEnd) rows.scrollTop = rows.scrollHeight;
}

function pick(x) {
  if (picked && picked.row) picked.row.classList.remove("picked");
  picked = x;
  const list = $("details");
  list.hidden = !x;
  if (!x) return;
  x.row.classList.add("picked");
  const facts = [["request", x.method + " " + x.url], ["status", (x.status || "none") + (x.error ? " " + x.error : "")], ["error", x.sentence],
    ["client", x.client], ["upstream", [x.upstream, x.protocol, x.tls, x.reused ? "reused" : "", x.readahead ? "fetched ahead" : ""].filter(Boolean).join(", ")],
    ["retries", x.retries || ""], ["bytes", bytes(x.bytes_in) + " in, " + bytes(x.bytes_out) + " out"],
    ["phases", PHASES.map((p) => p + " " + ms(x.ms[p])).join(", ") + ", total " + ms(x.ms.total)], ["id", x.id]];
  list.replaceChildren();
  for (const [name, value] of facts) if (value) list.append(element("dt", "", name), element("dd", "", value));
}

// ---- tables

let counts = {}; // of errors, from the status

function drawErrors() {
  const body = $("errors");
  const latest = new Map();
  for (const x of kept) {
    if (!x.error) continue;
    const hosts = latest.get(x.error) || new Map();
    hosts.delete(x.host); // so that the latest one comes last
    latest.set(x.error, hosts.set(x.host, x.sentence || x.url));
  }
  const names = [...new Set([...Object.keys(counts), ...latest.keys()])].sort((a, b) => (counts[b] || 0) - (counts[a] || 0));
  body.replaceChildren();
  for (const name of names) {
    const row = element("tr");
    const cell = element("td");
    for (const [host, sentence] of [...(latest.get(name) || [])].slice(-5)) {
      const line = element("div", "", sentence);
      line.dataset.host = host;
      cell.append(line);
    }
    row.append(element("td", "bad", name), element("td", "", counts[name] || 0), cell);
    body.append(row);
  }
}

function drawOrigins(origins) {
  const body = $("origins");
  const named = origins.filter((o) => o.origin !== "other").sort((a, b) => b.requests - a.requests);
  const sorted = named.slice(0, ORIGINS).concat(origins.filter((o) => o.origin === "other"));
  const soon = Date.now() + SOON_DAYS * 86400000;
  if (body.querySelector("button:active")) return; // a press ends where it began
  const focused = body.contains(document.activeElement) ? document.activeElement.textContent : null;
  body.replaceChildren();
  $("more-origins").textContent = named.length > ORIGINS ? "showing the " + ORIGINS + " busiest of " + named.length + " origins" : "";
  for (const o of sorted) {
    const row = element("tr");
    const name = element("td");
    const host = o.origin.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
    const button = element("button", "", o.origin);
    button.type = "button";
    button.title = "Show this host alone";
    button.addEventListener("click", () => { $("filter").value = host; draw(); });
    name.append(host === o.origin ? o.origin : button); // "other" stands for many
    const ends = o.certificate_expires;
    const mark = ends && Date.parse(ends) < soon ? "warn" : "";
    row.append(name, element("td", "", o.requests), element("td", o.failed ? "bad" : "", o.failed),
      element("td", "", o.in_flight), element("td", "", o.busy), element("td", "", o.idle), element("td", "", o.opened),
      element("td", "", o.requests ? Math.round(100 * o.reused / o.requests) + " %" : "–"),
      element("td", mark, ends ? ends.slice(0, 10) + (mark ? " (soon)" : "") : "–"));
    body.append(row);
    if (o.origin === focused) button.focus({ preventScroll: true });
  }
}

function drawStatus(s) {
  const now = performance.now();
  $("version").textContent = s.version + (s.draining ? ", draining" : "");
  $("in-flight").textContent = s.in_flight;
  $("clients").textContent = s.clients;
  $("uptime").textContent = duration(s.uptime);
  const seconds = last ? (now - last.at) / 1000 : Infinity;
  // A process that is younger than the last look is another one, and counts from 0.
  if (s.uptime > seconds) {
    $("rate").textContent = ((s.exchanges - last.s.exchanges) / seconds).toFixed(1);
    $("error-rate").textContent = ((s.failed - last.s.failed) / seconds).toFixed(1);
    $("byte-rate").textContent = bytes((s.bytes_out - last.s.bytes_out) / seconds) + "/s";
  }
  last = { s, at: now };
  counts = s.errors;
  drawOrigins(s.origins);
  drawErrors();
}

// ---- HAR 1.2

function harEntry(x) {
  const part = (name) => (x.ms[name] > 0 ? x.ms[name] : -1);
  return {
    startedDateTime: new Date(x.start).toISOString(), time: x.ms.total,
    request: { method: x.method, url: x.url, httpVersion: "HTTP/1.1", cookies: [], headers: [], queryString: [], headersSize: -1, bodySize: -1 },
    response: { status: x.status, statusText: "", httpVersion: x.protocol === "h2" ? "HTTP/2" : "HTTP/1.1", cookies: [], headers: [],
      content: { size: x.bytes_out, mimeType: "" }, redirectURL: "", headersSize: -1, bodySize: -1, _error: x.sentence || x.error },
    cache: {}, serverIPAddress: x.upstream.replace(/:\d+$/, "").replace(/^\[|\]$/g, ""),
    // "connect" holds "ssl", as HAR wants it.
    timings: { blocked: part("queue"), dns: part("dns"), connect: x.ms.connect + x.ms.tls > 0 ? x.ms.connect + x.ms.tls : -1, ssl: part("tls"),
      send: x.ms.send, wait: x.ms.wait, receive: x.ms.transfer },
  };
}

function download() {
  const har = { log: { version: "1.2", creator: { name: "tlsfan", version: last ? last.s.version : "" }, entries: ordered().filter(matches).map(harEntry) } };
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(har)], { type: "application/json" }));
  link.download = "tlsfan.har";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// ---- asking

const failures = new Set(); // paths that did not answer

async function ask(path, use) {
  try {
    const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    if (!answer.ok) throw new Error("status " + answer.status);
    use(await answer.json());
    failures.delete(path.split("?")[0]);
  } catch (e) {
    failures.add(path.split("?")[0]);
  }
  $("state").textContent = failures.size ? "tlsfan does not answer; trying again." : "";
  return failures.size === 0;
}

function takeExchanges(got) {
  if (paused) return; // asked for before; they are asked for again
  cursor = got.cursor;
  total += got.skipped + got.exchanges.length;
  if (got.exchanges.length > 0 || got.skipped > 0) add(got.exchanges);
}

// The next look comes only when the last one has ended; slower and slower while nobody answers.
function poll(every, look) {
  let wait = every;
  const again = async () => {
    if (!document.hidden) wait = (await look()) ? every : Math.min(2 * wait, SLOWEST_MS);
    setTimeout(again, wait);
  };
  again();
}

function begin() {
  $("filter").addEventListener("input", draw);
  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    $("pause").textContent = paused ? "Go on" : "Pause";
  });
  $("clear").addEventListener("click", () => {
    for (const x of kept) x.row.remove();
    kept = [];
    total = 0;
    pick(null);
    draw();
    drawErrors();
  });
  $("har").addEventListener("click", download);
  $("rows").addEventListener("click", (event) => {
    const row = event.target.closest("li");
    pick(row ? kept.find((x) => x.row === row) : null);
  });
  $("rows").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const shown = ordered().filter(matches);
    if (!step || shown.length === 0) return;
    event.preventDefault();
    const at = shown.indexOf(picked);
    pick(shown[Math.min(Math.max(at < 0 ? shown.length - 1 : at + step, 0), shown.length - 1)]);
    picked.row.scrollIntoView({ block: "nearest" });
  });
  poll(STATUS_MS, () => ask("status", drawStatus));
  poll(EVERY_MS, () => {
    if (!paused) return ask("exchanges?after=" + encodeURIComponent(cursor), takeExchanges);
    failures.delete("exchanges"); // nobody asks for them now
    return true;
  });
}

begin();
