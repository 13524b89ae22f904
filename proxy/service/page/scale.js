// SPDX-License-Identifier: Apache-2.0
// An axis as it is seen: labels in the head of the column, lines and folds behind the bars.

import { clock, element, ms, short } from "./format.js";
import { moment, place, roundStep } from "./axis.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const AGES = [1, 2, 5, 10, 20, 30].flatMap((n) => [n * SECOND, n * MINUTE, n * HOUR]).sort((a, b) => a - b);

const LABEL = 74; // px between two labels
const END = 52; // that the label at the end takes
const FOLD_LABEL = 44; // px that the length of a fold takes
const TICKS = 6; // about

const percent = (x) => (100 * x).toFixed(3) + "%";

// What is drawn without a fold in between: [from, to] in time.
function runs(axis) {
  const found = [];
  let run = null;
  for (const s of axis.stretches) {
    if (s.fold) run = null;
    else if (run) run[1] = s.to;
    else found.push((run = [s.from, s.to]));
  }
  return found;
}

// Labels, as [place, text]: when a run begins, and round times behind that.
function labels(axis, width) {
  const all = runs(axis);
  const visible = all.reduce((sum, [a, b]) => sum + b - a, 0);
  const step = roundStep(visible / Math.min(TICKS, Math.max(1, width / (2 * LABEL))));
  const found = [];
  let free = 0; // px from where on there is room
  const put = (t, end, text) => {
    const x = place(axis, t) * width;
    const hasRoom = x >= free && x + LABEL <= Math.min(end, width - END);
    found.push([x / width, hasRoom ? text : ""]);
    if (hasRoom) free = x + LABEL;
  };
  for (const [from, to] of all) {
    const end = place(axis, to) * width;
    put(from, end, clock(from, true));
    for (let n = 1; from + n * step < to; n++) put(from + n * step, end, "+" + short(n * step));
  }
  return found;
}

// One picture for all rows: lines where labels are, hatching where time is folded.
function ground(axis, ticks) {
  const part = (a, b, colour) => `transparent ${a}, ${colour} ${a}, ${colour} ${b}, transparent ${b}`;
  const lines = ticks.map(([x]) => part(percent(x), `calc(${percent(x)} + 1px)`, "var(--line)"));
  const folds = axis.stretches.filter((s) => s.fold);
  const hatched = folds.map((s) => part(percent(s.x), percent(s.x + s.share), "var(--fold)"));
  const image = (parts) => `linear-gradient(to right, ${parts.join(",")})`;
  return [lines, hatched].filter((parts) => parts.length > 0).map(image).join(",") || "none";
}

function foldLabel(s, width) {
  const e = element("span", "fold", s.share * width > FOLD_LABEL ? short(s.to - s.from) : "⋯");
  e.title = ms(s.to - s.from) + " of silence";
  e.dataset.ms = s.to - s.from;
  e.style.left = percent(s.x);
  e.style.width = percent(s.share);
  return e;
}

function tickLabel([x, text]) {
  const e = element("span", "tick", text);
  e.style.left = percent(x);
  return e;
}

// Draws AXIS (null: none) into SCALE, and behind the bars of GRID.
export function drawScale(scale, grid, axis) {
  const ticks = axis ? labels(axis, scale.clientWidth) : [];
  scale.replaceChildren(...(axis ? ticks.filter(([, text]) => text) : [[0, "When"]]).map(tickLabel));
  if (axis) {
    scale.append(...axis.stretches.filter((s) => s.fold).map((s) => foldLabel(s, scale.clientWidth)));
    const end = element("span", "end", "+" + short(axis.to - axis.from));
    end.title = "from the first to the last that is in view";
    scale.append(end);
  }
  grid.style.setProperty("--ground", axis ? ground(axis, ticks) : "none");
}

// How long the scale is on which AGE is to be seen.
export function longestAge(age) {
  return AGES.find((each) => each >= age) ?? roundStep(age);
}

// The scale of what is under way: from its beginning to LONGEST.
export function drawAges(scale, grid, longest) {
  const parts = scale.clientWidth > 5 * LABEL ? [0, 0.2, 0.4, 0.6, 0.8] : [0, 0.4];
  const ticks = parts.map((x) => [x, x === 0 ? "0" : short(longest * x)]);
  scale.replaceChildren(...ticks.map(tickLabel), element("span", "end", short(longest)));
  grid.style.setProperty("--ground", ground({ stretches: [] }, ticks.slice(1)));
}

// Drag along the axis: USE gets the moments where it began and ended. AXIS_OF gives the axis that is drawn.
export function dragToZoom(grid, axisOf, use) {
  let from = null;
  const share = (event, box) => Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  const band = (a, b) => {
    grid.style.setProperty("--from", percent(Math.min(a, b)));
    grid.style.setProperty("--to", percent(Math.max(a, b)));
  };
  const stop = () => { from = null; grid.classList.remove("dragged"); };
  grid.addEventListener("pointerdown", (event) => {
    const cell = event.target.closest(".time, .scale");
    if (!cell || event.button !== 0 || !axisOf()) return;
    const box = cell.getBoundingClientRect();
    from = { box, x: share(event, box), axis: axisOf(), at: event.clientX };
  });
  grid.addEventListener("pointermove", (event) => {
    if (from && !(event.buttons & 1)) stop(); // let go outside
    if (!from || (Math.abs(event.clientX - from.at) <= 4 && !grid.classList.contains("dragged"))) return;
    grid.setPointerCapture(event.pointerId); // not before: a click is the row's
    grid.classList.add("dragged");
    band(from.x, share(event, from.box));
  });
  grid.addEventListener("pointerup", (event) => {
    const was = from;
    const dragged = grid.classList.contains("dragged");
    stop();
    if (!was || !dragged) return;
    const ends = [was.x, share(event, was.box)].sort((a, b) => a - b);
    use(ends.map((x) => moment(was.axis, x)));
  });
  grid.addEventListener("pointercancel", stop);
}
