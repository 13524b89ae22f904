// SPDX-License-Identifier: Apache-2.0
// The time axis: it fits the exchanges that are in view, and a silence between them takes little of it.

const SILENCE = 0.1; // of the work in view: a longer silence is drawn as long as this
const OUTLIER = 20; // times all shorter ones together: what lasts longer is not what the picture is about
const FEW = 4; // of the shorter ones: with fewer nothing is an outlier

// The stretches in which at least one of SPANS, [from, to], lasts; in order.
export function busy(spans) {
  const found = [];
  for (const [from, to] of spans.slice().sort((a, b) => a[0] - b[0])) {
    const last = found[found.length - 1];
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  return found;
}

const length = (stretches) => stretches.reduce((sum, [from, to]) => sum + to - from, 0);

// Without the few that last so long (tunnels, timeouts) that nothing of the others could be seen beside them.
function withoutOutliers(spans) {
  const sorted = spans.slice().sort((a, b) => a[1] - a[0] - (b[1] - b[0]));
  for (let n = Math.max(FEW, Math.ceil(sorted.length / 2)); n < sorted.length; n++) {
    const shorter = sorted.slice(0, n);
    if (sorted[n][1] - sorted[n][0] > OUTLIER * length(busy(shorter))) return shorter;
  }
  return spans;
}

// Stretches of time, each with the room that it gets. A fold is a silence that gets less than it lasts.
function stretchesOf(from, to, work) {
  const most = length(work) * SILENCE;
  const found = [];
  const silence = (a, b) => {
    if (b > a) found.push({ from: a, to: b, room: Math.min(b - a, most), fold: b - a > most });
  };
  let at = from;
  for (const [a, b] of work) {
    silence(at, a);
    found.push({ from: a, to: b, room: b - a, fold: false });
    at = b;
  }
  silence(at, to);
  return found;
}

// Gives each stretch the share of the width where it begins, and its share.
function lay(stretches) {
  const all = stretches.reduce((sum, s) => sum + s.room, 0);
  let x = 0;
  for (const s of stretches) {
    s.x = x;
    s.share = s.room / all;
    x += s.share;
  }
  return stretches;
}

function clip(spans, from, to) {
  return spans.filter((s) => s[1] >= from && s[0] <= to).map((s) => [Math.max(s[0], from), Math.min(s[1], to)]);
}

// The axis of SPANS; of the part ZOOM, [from, to], where that is not null.
export function axisOf(spans, zoom) {
  if (zoom) spans = clip(spans, ...zoom);
  if (spans.length === 0) return null;
  const from = zoom ? zoom[0] : Math.min(...spans.map((s) => s[0]));
  const to = Math.max(zoom ? zoom[1] : Math.max(...spans.map((s) => s[1])), from + 0.001);
  const work = busy(withoutOutliers(spans));
  if (length(work) === 0) work.splice(0, work.length, [from, to]);
  return { from, to, stretches: lay(stretchesOf(from, to, work)) };
}

// Where on AXIS the moment T is: 0 to 1.
export function place(axis, t) {
  const s = axis.stretches.find((each) => t <= each.to) || axis.stretches[axis.stretches.length - 1];
  const part = s.to > s.from ? (t - s.from) / (s.to - s.from) : 0;
  return Math.min(Math.max(s.x + s.share * part, 0), 1);
}

// The other way round.
export function moment(axis, x) {
  const s = axis.stretches.find((each) => x <= each.x + each.share) || axis.stretches[axis.stretches.length - 1];
  const part = s.share > 0 ? (x - s.x) / s.share : 0;
  return s.from + Math.min(Math.max(part, 0), 1) * (s.to - s.from);
}

// A round step that is at least RAW: 1, 2 or 5 times a power of ten.
export function roundStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((n) => n * power >= raw * 0.999);
}

// At most N of all SPANS at once, and how long it took with the silences left out.
export function together(spans) {
  const events = spans.flatMap(([from, to]) => [[from, 1], [to, -1]]);
  events.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let now = 0;
  let most = 0;
  for (const [, step] of events) most = Math.max(most, (now += step));
  return { most, took: length(busy(spans)), waited: spans.reduce((sum, [from, to]) => sum + to - from, 0) };
}
