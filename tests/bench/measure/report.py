# SPDX-License-Identifier: Apache-2.0
"""What a run tells: the figures as a table, the targets, a JSON file."""

import json
import time

from .bench import machine
from .peers import PEERS, TITLES
from .targets import TARGETS

SCHEMA = 1
FLOORS = ("floor", "floor-h2", "direct")
OURS = ("tlsfan", "tlsfan-h2")
LABEL, CAPTION, WIDTH = 23, 36, 11  # of a case's name, a figure's, a figure


def best_peer(result, figure, h2):
    """The least figure of those that are neither tlsfan nor a floor; None where there is none. Over HTTP/1.1
    alone, or with those over HTTP/2."""
    medians = {name: result.median(figure, name) for name in result.case.peers
               if name not in FLOORS + OURS and (h2 or not PEERS[name].h2)}
    found = {name: value for name, value in medians.items() if value is not None}
    return min(found, key=found.get) if found else None


def ratio(result, figure, one, other):
    a, b = (result.median(figure, name) if name else None for name in (one, other))
    return f"{a / b:.2f}" if a is not None and b else "-"


def number(value):
    return "-" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.1f}"


def print_case(result, names):
    """A line a figure: all peers, then tlsfan against the best of the others and against the floor. Over
    HTTP/1.1 it is compared with who does the same, over HTTP/2 with all."""
    label = result.case.name
    for figure, about in result.case.figures.items():
        values = "".join(f"{cell(result, figure, name):>{WIDTH}}" for name in names)
        compared = comparison(result, figure) if about.compared else ""
        print(f"{label:{LABEL}}{caption(about):{CAPTION}}{values}{compared}", flush=True)
        label = ""


def comparison(result, figure):
    best, best_h2 = best_peer(result, figure, False), best_peer(result, figure, True)
    ratios = "".join(f"{ratio(result, figure, *pair):>9}" for pair in (
        ("tlsfan", best), ("tlsfan-h2", best_h2), ("tlsfan", "floor"), ("tlsfan-h2", "floor-h2")))
    bests = ", ".join(TITLES[name] for name in dict.fromkeys((best, best_h2)) if name)
    return f"{ratios}  {bests}".rstrip()


def caption(about):
    return about.title + (f", {about.unit}" if about.unit else "")


def cell(result, figure, name):
    if name in result.failed:
        return "failed"
    return number(result.median(figure, name))


def print_head(names):
    print(" " * (LABEL + CAPTION) + "".join(f"{TITLES[name]:>{WIDTH}}" for name in names)
          + "".join(f"{text:>9}" for text in ("/best", "h2/best", "/floor", "h2/floor")) + "  the best")


def print_missing(bench):
    for name, reason in (bench.missing | bench.broken).items():
        print(f"not there: {TITLES[name]}: {reason}")


def bound_lines(results):
    """(row, met or missed or not measured, bounds in words) of each target of which there is a figure."""
    for row, bounds in TARGETS:
        states = [bound.met(results) for bound in bounds]
        if set(states) != {None}:
            state = "missed" if False in states else "partly" if None in states else "met"
            yield row, state, "; ".join(bound_text(bound, results) for bound in bounds)


def bound_text(bound, results):
    value = bound.value(results)
    shown = "not measured" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"
    what = f"{bound.peer} {bound.figure}"
    if not bound.against:
        return f"{what} {shown} (at most {bound.limit:g})"
    others = " or ".join(one if isinstance(one, str) else " ".join(one[1:2]) for one in bound.against)
    return f"{what}/{others} {shown} (at most {bound.limit:g})"


def print_targets(results):
    lines = list(bound_lines(results))
    if lines:
        print("\ntargets")
    for row, state, text in lines:
        print(f"  {state:8}{row}: {text}")


def as_data(bench, results, rounds):
    """All that is known of the run, for --json and the chart."""
    cases = {name: {
        "title": result.case.title,
        "figures": {key: {"title": about.title, "unit": about.unit} for key, about in result.case.figures.items()},
        "medians": {peer: {key: result.median(key, peer) for key in result.case.figures} for peer in result.rounds},
        "rounds": result.rounds,
        "failed": result.failed} for name, result in results.items()}
    targets = [{"row": row, "state": state, "bounds": text} for row, state, text in bound_lines(results)]
    return {"schema": SCHEMA, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "rounds": rounds,
            "veth": bench.veth,
            "peers": bench.peers, "missing": bench.missing | bench.broken, "cases": cases, "targets": targets}


def write_json(path, data):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False)
        file.write("\n")
