// SPDX-License-Identifier: Apache-2.0
// What is shown as HAR 1.2: http://www.softwareishard.com/blog/har-12-spec/

import { element } from "./format.js";

const COMMENT = "the value is not kept";
const PAGE = "page_1";

function headersOf(told) {
  const fields = told ? told.fields : [];
  return fields.map((f) => ({ name: f.name, value: f.value ?? "", _size: f.size,
    ...(f.value === undefined && { comment: COMMENT }) }));
}

function valueOf(told, name) {
  const field = told && told.fields.find((f) => f.name.toLowerCase() === name);
  return (field && field.value) || "";
}

// tlsfan puts "..." where it has cut a URL, and "?..." for a query.
const isCut = (url) => url.endsWith("...");

function queryOf(url) {
  const at = url.indexOf("?");
  return at < 0 || isCut(url) ? [] : [...new URLSearchParams(url.slice(at))].map(([name, value]) => ({ name, value }));
}

// A URI may not hold all that a client may write. What tlsfan tells as "\xHH" was that byte.
function uriOf(url) {
  const plain = url.replace(/\\x(..)/g, "%$1").replace(/%(?![0-9a-f]{2})/gi, "%25")
    .replace(/[^!#-;=?-[\]_a-z~]/g, encodeURIComponent);
  return /^[a-z][a-z0-9+.-]*:/i.test(plain) ? plain : "http:" + plain;
}

function requestOf(x) {
  return { method: x.method, url: uriOf(x.url), httpVersion: "HTTP/" + (x.version || "1.1"), cookies: [],
    headers: headersOf(x.request), queryString: queryOf(uriOf(x.url)), headersSize: -1, bodySize: -1,
    ...(isCut(x.url) && { comment: "the URL is not whole" }) };
}

function responseOf(x) {
  return { status: x.status, statusText: "", httpVersion: x.protocol === "h2" ? "HTTP/2" : "HTTP/1.1", cookies: [],
    headers: headersOf(x.response), content: { size: x.body, mimeType: valueOf(x.response, "content-type") },
    redirectURL: valueOf(x.response, "location"), headersSize: -1, bodySize: x.body,
    ...(x.error && { _error: x.sentence || x.error }) };
}

// HAR wants "connect" to hold "ssl", and -1 for what did not happen.
function timingsOf(x) {
  const part = (time) => (time > 0 ? time : -1);
  return { blocked: part(x.ms.queue), dns: part(x.ms.dns), connect: part(x.ms.connect + x.ms.tls), ssl: part(x.ms.tls),
    send: x.ms.send, wait: x.ms.wait, receive: x.ms.transfer };
}

export function entryOf(x) {
  return {
    pageref: PAGE, startedDateTime: new Date(x.start).toISOString(), time: x.ms.total, request: requestOf(x),
    response: responseOf(x), cache: {}, timings: timingsOf(x),
    ...(x.address && { serverIPAddress: x.address }),
    ...(x.upstream_connection && { connection: x.upstream_connection }),
  };
}

// HAR needs no page, but Firefox, Safari and others open none without one.
function pageOf(exchanges) {
  const start = exchanges.length > 0 ? Math.min(...exchanges.map((x) => x.start)) : Date.now();
  return { startedDateTime: new Date(start).toISOString(), id: PAGE, title: "tlsfan", pageTimings: {} };
}

export function harOf(exchanges, version) {
  return { log: { version: "1.2", creator: { name: "tlsfan", version }, pages: [pageOf(exchanges)],
    entries: exchanges.map(entryOf) } };
}

export function download(har) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(har)], { type: "application/json" }));
  link.download = "tlsfan.har";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
