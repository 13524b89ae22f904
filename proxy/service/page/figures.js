// SPDX-License-Identifier: Apache-2.0
// Figures in words: the head of the page, what was saved, what is not shown, the title.

import { $, bytes, count, duration, say, seconds } from "./format.js";
import { together } from "./axis.js";
import { store } from "./store.js";
import { isTunnel, spanOf } from "./rows.js";

let last = null; // the status before, for rates

// "10 exchanges, 10.4 s of waiting in 1.04 s (10 at once)"
export function benefit(exchanges) {
  const waited = exchanges.filter((x) => !isTunnel(x));
  const tunnels = exchanges.length - waited.length;
  const names = [count(waited.length, "exchange", "exchanges"), tunnels > 0 && count(tunnels, "tunnel", "tunnels")];
  const sum = together(waited.map(spanOf));
  const text = names.filter(Boolean).join(" and ");
  if (waited.length === 0) return text;
  return `${text}, ${seconds(sum.waited)} of waiting in ${seconds(sum.took)} (${sum.most} at once)`;
}

export function drawBenefit(shown) {
  say($("benefit"), shown.length > 0 ? benefit(shown) : "");
  const kept = store.kept.length;
  const notes = [shown.length < kept && shown.length + " of " + kept + " match",
    store.total > kept && "showing " + kept + " of " + store.total + " exchanges"];
  say($("shown"), notes.filter(Boolean).join("; "));
}

export function drawRates(s) {
  const now = performance.now();
  const elapsed = last ? (now - last.at) / 1000 : Infinity;
  // A process that is younger than the last look is another one, and counts from 0.
  if (s.uptime > elapsed) {
    say($("rate"), ((s.exchanges - last.s.exchanges) / elapsed).toFixed(1));
    say($("error-rate"), ((s.failed - last.s.failed) / elapsed).toFixed(1));
    say($("byte-rate"), bytes((s.bytes_out - last.s.bytes_out) / elapsed) + "/s");
  }
  last = { s, at: now };
}

export function drawHead(s) {
  say($("version"), s.version + (s.draining ? ", draining" : ""));
  say($("in-flight"), s.in_flight);
  say($("clients"), s.clients);
  say($("failed"), s.failed);
  say($("uptime"), duration(s.uptime));
  $("failed").classList.toggle("bad", s.failed > 0);
  document.title = (s.failed > 0 ? "(" + s.failed + " failed) " : "") + location.host + " – tlsfan";
}

// The address by which this browser's machine reaches the proxy listener ADDRESS; "" where curl cannot.
export function proxyUrl(address) {
  const found = /^(tls:)?(.*):(\d+)$/.exec(address || "");
  if (!found || /^(unix|transparent):/.test(address)) return "";
  const host = ["0.0.0.0", "[::]"].includes(found[2]) ? location.hostname : found[2];
  return (found[1] ? "https://" : "http://") + host + ":" + found[3];
}

export function drawEmpty(shown) {
  const isNew = store.kept.length === 0 && store.running.length === 0;
  const url = proxyUrl(store.status && store.status.proxy);
  $("empty").hidden = shown > 0;
  say($("empty-why"), isNew ? "Nothing yet. Send a request through the proxy, and it appears here" + (url ? ":" : ".")
    : store.kept.length === 0 ? "Nothing has ended yet." : "Nothing that has ended matches.");
  say($("curl"), url && "curl -x " + url + " http://example.com/");
  $("curl").hidden = !isNew || !url;
}
