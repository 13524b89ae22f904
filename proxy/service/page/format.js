// SPDX-License-Identifier: Apache-2.0
// Values as a person reads them, and elements that hold them. What comes from outside is put in as text, never as HTML.

export const $ = (id) => document.getElementById(id);

export function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// ATTRIBUTES: names and values; null leaves one out.
export function set(e, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) e.removeAttribute(name);
    else if (e.getAttribute(name) !== String(value)) e.setAttribute(name, value);
  }
  return e;
}

// Who has marked text in E is about to copy it: it may not be made anew.
export function isMarked(e) {
  return !getSelection().isCollapsed && getSelection().containsNode(e, true);
}

// Writes only what has changed: a selection in the text stays, and a screen reader is silent.
export function say(e, text) {
  if (e.textContent !== String(text)) e.textContent = text;
}

// "4.2 ms", "871 ms", "1.25 s", "12.3 s", "4 min 10 s", "75 min"
export function ms(value) {
  if (value < 99.95) return value.toFixed(1) + " ms";
  if (value < 999.5) return value.toFixed(0) + " ms";
  if (value < 9995) return (value / 1000).toFixed(2) + " s";
  if (value < 119950) return (value / 1000).toFixed(1) + " s";
  const seconds = Math.round(value / 1000);
  if (seconds < 600) return Math.floor(seconds / 60) + " min " + (seconds % 60) + " s";
  if (seconds < 7200) return Math.floor(seconds / 60) + " min";
  return Math.floor(seconds / 3600) + " h " + (Math.floor(seconds / 60) % 60) + " min";
}

// Three digits, in seconds: "1.04 s", "10.4 s", "104 s"
export function seconds(value) {
  const s = value / 1000;
  return (s < 0.9995 ? s.toFixed(3) : s < 9.995 ? s.toFixed(2) : s < 99.95 ? s.toFixed(1) : s.toFixed(0)) + " s";
}

// As short as it can be said in three digits: "500 ms", "1.5 s", "62 s", "10 min"
export function short(value) {
  if (value >= 7199500) return Number((value / 3600000).toPrecision(3)) + " h";
  if (value >= 119950) return Number((value / 60000).toPrecision(3)) + " min";
  return value >= 999.5 ? Number((value / 1000).toPrecision(3)) + " s" : Number(value.toPrecision(3)) + " ms";
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (value >= 1023.95 && i < units.length - 1) { value /= 1024; i++; }
  return (i === 0 ? value.toFixed(0) : value.toFixed(1)) + " " + units[i];
}

export function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [size, unit] of parts) if (seconds >= 2 * size) return Math.floor(seconds / size) + " " + unit;
  return Math.floor(seconds) + " s";
}

export function count(n, one, many) {
  return n + " " + (n === 1 ? one : many);
}

const pad = (n, digits) => String(n).padStart(digits, "0");

// Local time, as logs have it; with thousandths where DIGITS says so.
export function clock(t, digits) {
  const d = new Date(t);
  const text = [d.getHours(), d.getMinutes(), d.getSeconds()].map((n) => pad(n, 2)).join(":");
  return digits ? text + "." + pad(d.getMilliseconds(), 3) : text;
}

// The same with the day, where that is not today.
export function when(t) {
  const d = new Date(t);
  const day = [d.getFullYear(), pad(d.getMonth() + 1, 2), pad(d.getDate(), 2)].join("-");
  return (d.toDateString() === new Date().toDateString() ? "" : day + " ") + clock(t);
}
