// SPDX-License-Identifier: Apache-2.0
// A list of thousands of which only the rows in view, and some around them, are elements. Rows are of one height;
// one of them may have its details below it. The grid is what scrolls and what has the focus;
// aria-activedescendant tells which row the keys are at.

import { element, isMarked, set } from "./format.js";

const EXTRA = 20; // rows above and below those in view
const NEAR_END = 30; // px: who is that near to the end is carried along with it

const MOVES = {
  ArrowDown: (at) => at + 1,
  ArrowUp: (at) => at - 1,
  Home: () => 0,
  End: () => Infinity,
  PageDown: (at, page) => at + page,
  PageUp: (at, page) => at - page,
};

export class Grid {
  // MAKE: row(item), details(item), and draw(items in view, [[item, row]] to be drawn).
  constructor(root, make) {
    this.root = root;
    this.head = root.querySelector(".heads");
    this.body = root.querySelector(".body");
    this.make = make;
    this.items = [];
    this.index = new Map(); // key -> place in items
    this.rows = new Map(); // key -> element
    this.active = null; // keys
    this.open = null;
    this.details = null;
    this.detailsHeight = 0;
    this.follows = true; // a reader at the end stays there
    root.addEventListener("scroll", () => this.paint());
    root.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.paint()).observe(root);
  }

  // ---- where things are, in px from the top of the body

  // Asked for once a picture: each time the browser would lay out all anew.
  look() {
    this.rowHeight = parseFloat(getComputedStyle(this.root).getPropertyValue("--row"));
    this.height = this.root.clientHeight - this.head.offsetHeight;
  }

  // -1: none, or what was open is gone or does not match any more.
  openIndex() {
    return this.index.get(this.open) ?? -1;
  }

  offset(i) {
    const open = this.openIndex();
    return i * this.rowHeight + (open >= 0 && i > open ? this.detailsHeight : 0);
  }

  indexAt(y) {
    const open = this.openIndex();
    const below = (open + 1) * this.rowHeight;
    if (open < 0 || y < below) return Math.floor(y / this.rowHeight);
    return y < below + this.detailsHeight ? open : Math.floor((y - this.detailsHeight) / this.rowHeight);
  }

  // The rows that can be seen: from FIRST to before END.
  inView() {
    const n = this.items.length;
    const first = Math.min(Math.max(this.indexAt(this.root.scrollTop), 0), Math.max(n - 1, 0));
    return { first, end: Math.min(this.indexAt(this.root.scrollTop + this.height - 1) + 1, n) };
  }

  // ---- drawing

  show(items) {
    this.look();
    const isAtEnd = this.root.scrollTop + this.root.clientHeight >= this.root.scrollHeight - NEAR_END;
    const follow = this.follows && isAtEnd && this.openIndex() < 0;
    const top = this.items[this.inView().first];
    const within = top ? this.root.scrollTop - this.offset(this.inView().first) : 0;
    this.items = items;
    this.index = new Map(items.map((x, i) => [x.key, i]));
    this.body.style.height = this.offset(items.length) + "px";
    const at = top && this.root.scrollTop > 0 ? this.index.get(top.key) : undefined;
    if (follow) this.root.scrollTop = this.root.scrollHeight;
    else if (at !== undefined) this.root.scrollTop = this.offset(at) + within;
    this.paint();
  }

  paint() {
    this.look();
    const view = this.inView();
    const from = Math.max(view.first - EXTRA, 0);
    const to = Math.min(view.end + EXTRA, this.items.length);
    const shown = this.items.slice(from, to);
    const nodes = [];
    for (const x of shown) {
      nodes.push(this.rowOf(x));
      if (x.key === this.open) nodes.push(this.detailsOf(x));
    }
    this.put(nodes);
    this.forget(new Set(shown.map((x) => x.key)));
    this.measure(from);
    set(this.root, { "aria-rowcount": this.items.length + 1,
      "aria-activedescendant": this.rows.has(this.active) ? this.rows.get(this.active).id : null });
    this.make.draw(this.items.slice(view.first, view.end), shown.map((x) => [x, this.rows.get(x.key)]));
  }

  rowOf(x) {
    let row = this.rows.get(x.key);
    if (!row) {
      row = set(this.make.row(x), { id: this.root.id + "-" + x.key, role: "row", "aria-level": 1 });
      row.dataset.key = x.key;
      this.rows.set(x.key, row);
    }
    const i = this.index.get(x.key);
    row.classList.toggle("odd", i % 2 === 1);
    return set(row, { "aria-rowindex": i + 2, "aria-expanded": x.key === this.open,
      "aria-selected": x.key === this.active });
  }

  detailsOf(x) {
    if (!this.details || this.details.dataset.of !== x.key) {
      this.details = set(element("div", "details"), { role: "row", "aria-level": 2 });
      this.details.dataset.of = x.key;
      this.details.append(set(this.make.details(x), { role: "gridcell" }));
    }
    return this.details;
  }

  // NODES become the children; those that are there already stay where they are, with what is selected in them.
  put(nodes) {
    const wanted = new Set(nodes);
    for (const child of [...this.body.children]) if (!wanted.has(child)) child.remove();
    let before = this.body.firstChild;
    for (const node of nodes) {
      if (node === before) before = before.nextSibling;
      else this.body.insertBefore(node, before);
    }
  }

  forget(keys) {
    for (const key of this.rows.keys()) if (!keys.has(key)) this.rows.delete(key);
    if (this.open === null) this.details = null;
  }

  measure(from) {
    if (this.details && this.details.isConnected) this.detailsHeight = this.details.offsetHeight;
    this.body.style.paddingTop = this.offset(from) + "px";
    this.body.style.height = this.offset(this.items.length) + "px";
  }

  // A row, and its details, are made anew where their item has changed.
  renew(key) {
    this.rows.delete(key);
    if (this.open === key) this.details = null;
  }

  // ---- moving about

  pick(key, isOpen) {
    this.active = key;
    this.open = isOpen ? key : null;
    this.detailsHeight = 0;
    this.paint();
    if (isOpen) this.paint(); // now that the height of the details is known
    if (this.index.has(key)) this.reveal(this.index.get(key));
  }

  reveal(i) {
    const top = this.offset(i);
    const bottom = top + this.rowHeight + (this.openIndex() === i ? this.detailsHeight : 0);
    const y = this.root.scrollTop;
    if (bottom > y + this.height) this.root.scrollTop = Math.min(bottom - this.height, top);
    else if (top < y) this.root.scrollTop = top;
    this.paint();
  }

  click(event) {
    const row = event.target.closest(".body > [role=row]:not(.details)");
    if (!row || isMarked(row)) return; // that was no press
    this.pick(row.dataset.key, this.open !== row.dataset.key);
  }

  move(how) {
    const view = this.inView();
    const page = Math.max(Math.floor(this.height / this.rowHeight) - 1, 1);
    const at = this.index.get(this.active) ?? (how === "ArrowUp" ? view.end : view.first - 1);
    const i = Math.min(Math.max(MOVES[how](at, page), 0), this.items.length - 1);
    this.pick(this.items[i].key, this.openIndex() >= 0);
  }

  // True when there was something to close.
  close() {
    if (this.openIndex() < 0) return false;
    this.pick(this.active, false);
    return true;
  }

  key(event) {
    if (event.target !== this.root || event.ctrlKey || event.altKey || event.metaKey) return;
    const isOpen = this.open !== null && this.open === this.active;
    if (event.key in MOVES && this.items.length > 0) this.move(event.key);
    else if (["Enter", " ", "ArrowRight", "ArrowLeft"].includes(event.key) && this.index.has(this.active)) {
      this.pick(this.active, event.key === "ArrowRight" || (event.key !== "ArrowLeft" && !isOpen));
    } else return;
    event.preventDefault();
  }
}
