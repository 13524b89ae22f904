// SPDX-License-Identifier: Apache-2.0
// All that is known of one exchange: facts, phases with bars, the certificate, the fields.

import { bytes, clock, count, element, ms, set, when } from "./format.js";
import { NAMES, PHASES } from "./rows.js";

const SOON_DAYS = 14; // a certificate that ends sooner is marked

// A list of names and values; what is empty is left out.
function facts(pairs) {
  const list = element("dl", "facts");
  for (const [name, value, className] of pairs) {
    if (!value) continue;
    list.append(element("dt", "", name), element("dd", className ?? "", value));
  }
  return list;
}

function part(title, ...children) {
  const e = element("div", "part");
  e.append(element("h3", "", title), ...children);
  return e;
}

const joined = (...parts) => parts.filter(Boolean).join(", ");

function overview(x) {
  return facts([
    ["request", x.method + " " + x.url],
    ["status", joined(x.status || "no answer", x.error)],
    ["what happened", x.sentence, "bad"],
    ["now", x.doing],
    ["began", when(x.start) + "." + clock(x.start, true).split(".")[1]],
    ["took", x.doing === undefined && ms(x.ms.total)],
    ["bytes", joined(bytes(x.bytes_in) + " in", bytes(x.bytes_out) + " out", x.body > 0 && "body " + bytes(x.body))],
    ["retries", x.retries],
    ["id", x.id],
  ]);
}

const ordinal = (n) => (n > 0 ? "request " + n + " on it" : "");

function connection(x) {
  return part("Connection", facts([
    ["client", x.client],
    ["client connection", joined(x.client_connection, ordinal(x.client_position))],
    ["upstream", joined(x.upstream, x.protocol, x.tls)],
    ["upstream connection", joined(x.upstream_connection, x.stream > 0 && "stream " + x.stream,
      ordinal(x.upstream_position), x.upstream && (x.reused ? "reused" : "new"))],
    ["parent proxy", x.parent],
    ["fetched ahead", x.readahead && "yes: before the client asked"],
  ]));
}

// ---- phases

function phaseRow(phase, x, begin) {
  const row = element("tr");
  const track = element("td", "track");
  const fill = element("i", phase);
  fill.style.marginLeft = (100 * begin) / x.ms.total + "%";
  fill.style.width = (100 * x.ms[phase]) / x.ms.total + "%";
  track.append(fill);
  row.append(set(element("th", "", NAMES[phase]), { scope: "row" }), element("td", "number", ms(x.ms[phase])), track);
  return row;
}

function heads(...names) {
  const row = element("tr");
  row.append(...names.map((name) => set(element("th", "", name), { scope: "col" })));
  const head = element("thead");
  head.append(row);
  return head;
}

function phases(x) {
  const table = element("table", "phases");
  const body = element("tbody");
  let begin = 0;
  for (const phase of PHASES) {
    if (!(x.ms[phase] > 0)) continue;
    body.append(phaseRow(phase, x, begin));
    begin += x.ms[phase];
  }
  table.append(heads("phase", "time", "when"), body);
  return part("Phases", begin > 0 ? table : element("p", "soft", "It took no time that can be shown."));
}

// ---- certificate

function daysLeft(expires) {
  return (Date.parse(expires) - Date.now()) / 86400000;
}

function ends(expires) {
  const days = daysLeft(expires);
  const rest = days < 0 ? "expired" : "in " + count(Math.floor(days), "day", "days");
  return expires.slice(0, 10) + " (" + rest + ")";
}

export function endsSoon(expires) {
  return Boolean(expires) && daysLeft(expires) < SOON_DAYS;
}

// What tells one certificate, or none, from another.
export function idOf(certificate) {
  return certificate ? certificate.subject + " " + certificate.expires : "";
}

// CERTIFICATE: of the last handshake with the origin; null where there was none.
function certificateOf(x, certificate) {
  if (!certificate) return x.tls ? part("Certificate", element("p", "soft", "Not known any more.")) : "";
  return part("Certificate", facts([
    ["subject", certificate.subject],
    ["issuer", certificate.issuer],
    ["expires", certificate.expires && ends(certificate.expires), endsSoon(certificate.expires) ? "warn" : ""],
  ]));
}

// ---- fields

function fieldValue(f, hasValues) {
  if (f.hidden) return element("td", "soft", "hidden");
  return element("td", hasValues ? "" : "soft", f.value === undefined ? "" : f.value + (f.cut ? "…" : ""));
}

function fieldRow(f, hasValues) {
  const row = element("tr");
  const size = element("td", "number", f.size < 0 ? "secret" : bytes(f.size));
  row.append(set(element("th", "", f.name), { scope: "row" }), size);
  if (hasValues) row.append(fieldValue(f, hasValues));
  return row;
}

const NOT_KEPT = "Not kept: fields are kept for failures, and for others while the page is open and not too many come.";

function fields(title, told, whyNone) {
  if (!told) return part(title, element("p", "soft", whyNone));
  const hasValues = told.fields.some((f) => f.value !== undefined);
  const table = element("table", "fields");
  const body = element("tbody");
  body.append(...told.fields.map((f) => fieldRow(f, hasValues)));
  table.append(heads(...["field", "size", "value"].slice(0, hasValues ? 3 : 2)), body);
  const more = told.more > 0 ? element("p", "soft", count(told.more, "field more", "fields more")) : "";
  return part(title, told.fields.length > 0 ? table : element("p", "soft", "None."), more);
}

function bothFields(x) {
  if (!x.request && !x.response) return [part("Fields", element("p", "soft", NOT_KEPT))];
  return [fields("Request fields", x.request, "No request was sent."),
    fields("Answer fields", x.response, x.status > 0 && x.status < 400 ? NOT_KEPT : "No answer came.")];
}

// The details of X. CERTIFICATE: of its origin, or null. What is under way has no fields yet.
export function detailsOf(x, certificate) {
  const box = element("div");
  const columns = element("div", "columns");
  columns.append(phases(x), connection(x), certificateOf(x, certificate));
  if (x.doing === undefined) columns.append(...bothFields(x));
  box.append(overview(x), columns);
  box.dataset.certificate = idOf(certificate);
  return box;
}
