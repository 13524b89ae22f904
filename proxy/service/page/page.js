// SPDX-License-Identifier: Apache-2.0
// The live page: asks tlsfan what runs, what has ended and what has failed, and shows what is wanted of it.

import { $, clock, count, element, isMarked, ms, say, seconds, set } from "./format.js";
import { axisOf } from "./axis.js";
import { drawAges, drawScale, dragToZoom, longestAge } from "./scale.js";
import { COLUMNS, drawAge, drawBar, finishedRow, grown, isLong, kindOf, runningRow, spanOf } from "./rows.js";
import { Grid } from "./grid.js";
import { detailsOf, idOf } from "./details.js";
import { addFailures, addFinished, clear, matches, overlaps, setClock, setRunning, sorted, store, wordsOf }
  from "./store.js";
import { drawBenefit, drawEmpty, drawHead, drawRates } from "./figures.js";
import { drawErrors, drawFailures, drawOrigins } from "./tables.js";
import { download, harOf } from "./har.js";

const EVERY_MS = 500; // between two looks at exchanges
const STATUS_MS = 2000; // and at the status and the failures
const HIDDEN_MS = 5000; // while nobody sees the page; its title is seen
const SLOWEST_MS = 10000; // between two looks when the server does not answer
const ANSWER_MS = 5000; // an answer that takes longer is none
const AT_ONCE = 500; // exchanges in one answer
const LOOKS = 8; // one after the other, while more wait
const TICK_MS = 200; // between two pictures of what is under way
const CALM_MS = 60000; // so long the list of those keeps its height: what is below it is being read
const LEAST = 2; // rows that it has room for
const HUNG_MS = 1000; // a worker that is late by less is only busy
const ZOOM_MARGIN = 0.1; // on both sides of an exchange that is zoomed to

let cursor = "";
let failuresCursor = "";
let isPaused = false;
let order = { name: "began", isDown: false };
let zoom = null; // [from, to], or null: all
let axis = null; // as drawn
let shown = []; // of what is kept, in the order of the rows

const column = (name) => COLUMNS.find((c) => c.name === name);
const wanted = () => wordsOf($("filter").value);

function certificateOf(x) {
  const origin = store.status && store.status.origins.find((o) => o.origin === x.origin);
  return (origin && origin.certificate) || null;
}

// ---- what has ended

const rows = new Grid($("rows"), {
  row: finishedRow,
  details: (x) => detailsOf(x, certificateOf(x)),
  draw: (inView, drawn) => {
    axis = axisOf(inView.map(spanOf), zoom);
    drawScale($("scale"), $("rows"), axis);
    if (axis) for (const [x, row] of drawn) drawBar(axis, row, x);
  },
});

function select() {
  const words = wanted();
  const isFailedOnly = $("failed-only").checked;
  const some = store.kept.filter((x) => matches(x, words) && (!isFailedOnly || kindOf(x) !== "") &&
    (!zoom || overlaps(x, zoom)));
  return sorted(some, column(order.name).by, order.isDown);
}

function draw() {
  shown = select();
  rows.follows = order.name === "began" && !order.isDown && !zoom;
  rows.show(shown);
  drawBenefit(shown);
  drawEmpty(shown.length);
}

function drawAll() {
  draw();
  drawRunning();
  drawFailed();
}

let failuresWait = false; // to be drawn

function drawFailed() {
  const words = wanted();
  failuresWait = isMarked($("failures"));
  if (failuresWait) return;
  drawFailures(store.failures.filter((x) => matches(x, words)), store.failures.length, certificateOf);
}

// A certificate may be known only after the details were opened.
function renewCertificate() {
  const x = rows.items[rows.openIndex()];
  if (!x || !rows.details || !getSelection().isCollapsed) return;
  if (rows.details.firstChild.dataset.certificate === idOf(certificateOf(x))) return;
  rows.details = null;
  rows.paint();
}

// ---- what is under way

let counts = []; // [when, how many rows], of the last moments
let longest = longestAge(0); // of the scale that is drawn

const running = new Grid($("running"), {
  row: runningRow,
  details: (x) => detailsOf({ ...x, ms: grown(x, sinceTold()) }, certificateOf(x)),
  draw: (inView, drawn) => {
    for (const [x, row] of drawn) drawAge(row, x, grown(x, sinceTold()), longest);
  },
});
running.follows = false;

let heldAt = null; // performance.now() since when nothing is known of them: paused, or no answer

function sinceTold() {
  return (heldAt ?? performance.now()) - store.toldAt;
}

// A list that shrinks with each that ends would make the page jump.
function calmHeight(n) {
  const now = performance.now();
  counts = counts.filter(([at]) => now - at < CALM_MS).concat([[now, n]]);
  return Math.max(LEAST, ...counts.map(([, each]) => each));
}

function drawRunning() {
  const some = store.running.filter((x) => matches(x, wanted()));
  const oldest = some.length > 0 ? grown(some[0], sinceTold()).total : 0;
  longest = longestAge(oldest);
  drawAges($("ages"), $("running"), longest);
  running.root.style.setProperty("--rows", calmHeight(some.length));
  running.root.classList.toggle("opened", running.openIndex() >= 0);
  running.show(some);
  const all = store.running.length + store.runningMore;
  say($("under-way"), all === 0 ? "none" : some.length < all ? some.length + " of " + all : String(all));
  say($("oldest"), oldest > 0 ? ", the oldest for " + ms(oldest) : "");
  $("oldest").className = oldest > 0 && isLong(some[0], oldest) ? "warn" : "soft";
  drawEmpty(shown.length);
}

// Details that were open go on where the exchange has gone.
function followDetails() {
  const key = running.open;
  if (key === null || store.running.some((x) => x.key === key)) return;
  running.pick(null, false);
  if (rows.index.has(key)) rows.pick(key, true);
}

function renewDetails() {
  if (running.open !== null && getSelection().isCollapsed) running.details = null;
}

// ---- zoom, order, keys

function setZoom(to) {
  zoom = to && to[1] - to[0] > 0.01 ? to : null;
  $("whole").hidden = !zoom;
  draw();
  $("rows").focus({ preventScroll: true });
}

function zoomToActive() {
  const x = rows.items[rows.index.get(rows.active)];
  if (!x) return;
  const margin = Math.max(x.ms.total, 1) * ZOOM_MARGIN;
  setZoom([spanOf(x)[0] - margin, spanOf(x)[1] + margin]);
}

// First one way, then the other, then as they began.
function sortBy(name) {
  if (order.name !== name) order = { name, isDown: false };
  else if (!order.isDown) order = { name, isDown: true };
  else order = { name: "began", isDown: false };
  markOrder();
  draw();
}

function markOrder() {
  for (const head of document.querySelectorAll("#rows [data-column]")) {
    const isIt = head.dataset.column === order.name;
    set(head, { "aria-sort": isIt ? (order.isDown ? "descending" : "ascending") : "none" });
  }
}

function makeHeads() {
  const row = $("rows").querySelector(".head");
  const heads = COLUMNS.map((c) => {
    const head = set(element("span", c.name), { role: "columnheader", "data-column": c.name });
    const button = set(element("button", "", c.title), { type: "button", title: "Sort by this" });
    button.addEventListener("click", () => sortBy(c.name));
    head.append(button);
    return head;
  });
  row.prepend(...heads);
  markOrder();
}

// One step back: details, then the zoom.
function back() {
  return rows.close() || running.close() || (zoom !== null && (setZoom(null), true));
}

function keys(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const isTyping = event.target.matches("input");
  if (event.key === "Escape" && event.target === $("filter")) leaveFilter();
  else if (event.key === "Escape" && back()) event.preventDefault();
  else if (event.key === "/" && !isTyping) {
    event.preventDefault();
    $("filter").select();
    $("filter").focus();
  } else if (event.key === "z" && !isTyping) zoomToActive();
}

function leaveFilter() {
  filterBy("");
  $("rows").focus();
}

function filterBy(text) {
  $("filter").value = text;
  drawAll();
}

function pause() {
  isPaused = !isPaused;
  heldAt = isPaused ? performance.now() : null;
  set($("pause"), { "aria-pressed": isPaused });
  say($("pause"), isPaused ? "Go on" : "Pause");
  say($("waiting"), "");
}

function clearAll() {
  clear();
  rows.pick(null, false);
  draw();
}

// ---- asking

// Without the user and password that the address of the page may hold: with them nothing can be asked for.
const HERE = location.origin + location.pathname;
const silent = new Map(); // paths that did not answer as they should, and what they did
let answered = Date.now();

// What came of a question: [answer, why there is none].
async function fetched(path) {
  try {
    const answer = await fetch(HERE + path, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.ok) return [await answer.json(), ""];
    return [null, "tlsfan answers " + answer.status + " to this page" +
      (answer.status < 500 ? ": reload it." : "; trying again.")];
  } catch (e) { // nobody listens, or what came is no answer
    return [null, "tlsfan does not answer; trying again. What is shown is of " + clock(answered) + "."];
  }
}

async function ask(path, use) {
  const name = path.split("?")[0];
  const [got, why] = await fetched(path);
  if (got) {
    silent.delete(name);
    answered = Date.now();
  } else {
    silent.set(name, why);
    heldAt ??= performance.now();
  }
  say($("state"), silent.size ? [...silent.values()][0] : "");
  if (got) use(got);
  return got !== null;
}

// While paused nothing is taken: the rings hold it, and tell how much that is.
function takeWaiting(got) {
  if (!isPaused) return;
  const gone = got.gone > 0 ? ", " + got.gone + " are lost: tlsfan keeps the latest alone" : "";
  say($("waiting"), got.waiting + got.gone > 0 ? count(got.waiting, "waits", "wait") + gone : "none wait");
}

let more = 0; // that are to be had at once

function takeExchanges(got) {
  if (isPaused) return; // asked for before; they are asked for again
  cursor = got.cursor;
  more = got.waiting;
  heldAt = null;
  if (setClock("kept", got)) rows.rows.clear();
  renewDetails();
  setRunning(got.running, got.running_more, got.cursor);
  if (got.exchanges.length > 0 || got.gone > 0) {
    addFinished(got.exchanges, got.gone, got.cursor);
    draw();
  }
  followDetails();
  drawRunning();
  const hung = got.silent.filter((w) => w.ms >= HUNG_MS);
  say($("silent"), hung.map((w) => "Worker " + w.worker + " has not answered for " + seconds(w.ms) +
    ": what is shown of it is as old as that.").join(" "));
}

async function lookAtExchanges() {
  const path = "exchanges?after=" + encodeURIComponent(cursor) + "&limit=";
  if (isPaused) return ask(path + 0, takeWaiting);
  return ask(path + AT_ONCE, takeExchanges);
}

// All that waits, as far as it comes in a few answers.
async function look() {
  let ok = await lookAtExchanges();
  for (let i = 1; ok && more > 0 && !isPaused && i < LOOKS; i++) ok = await lookAtExchanges();
  return ok;
}

function takeStatus(s) {
  store.status = s;
  drawHead(s);
  drawRates(s);
  drawOrigins(s.origins, filterBy);
  drawErrors(s.errors, filterBy);
  drawEmpty(shown.length);
  renewCertificate();
}

function takeFailures(got) {
  failuresCursor = got.cursor;
  setClock("failures", got);
  addFailures(got.failures, got.cursor);
  if (got.failures.length > 0 || failuresWait) drawFailed();
}

// The next look comes only when the last one has ended; slower and slower while nobody answers.
function poll(every, once) {
  let wait = every;
  let timer = null;
  const again = async () => {
    timer = null;
    const isAnswered = await once().catch((e) => (console.error(e), false)); // an answer that cannot be shown
    wait = isAnswered ? every : Math.min(2 * wait, SLOWEST_MS);
    timer = setTimeout(again, document.hidden ? Math.max(wait, HIDDEN_MS) : wait);
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || timer === null) return;
    clearTimeout(timer);
    again();
  });
  again();
}

function begin() {
  makeHeads();
  $("filter").addEventListener("input", drawAll);
  $("failed-only").addEventListener("change", draw);
  $("pause").addEventListener("click", pause);
  $("clear").addEventListener("click", clearAll);
  $("whole").addEventListener("click", () => setZoom(null));
  $("har").addEventListener("click", () => download(harOf(shown, store.status ? store.status.version : "")));
  document.addEventListener("keydown", keys);
  dragToZoom($("rows"), () => axis, setZoom);
  drawAll();
  setInterval(() => { if (!isPaused && !document.hidden && store.running.length > 0) drawRunning(); }, TICK_MS);
  poll(STATUS_MS, () => ask("status", takeStatus));
  poll(STATUS_MS, () => ask("failures?after=" + encodeURIComponent(failuresCursor), takeFailures));
  poll(EVERY_MS, look);
}

begin();
