# SPDX-License-Identifier: Apache-2.0
"""Draws a run as SVG: for each case the headline figure of each proxy as a bar, the least one first.

The picture has no background and takes its colours from the viewer's scheme, light or dark.
"""

from xml.sax.saxutils import escape

from .peers import TITLES

CASES = ("keepalive-1k", "keepalive-256", "keepalive-100k", "connect-1k", "download", "upload", "tunnel", "fanout")
WIDTH, MARGIN = 840, 4
COLUMNS = 2
GAP = 28            # between columns, and between rows of groups
BAR, STEP = 13, 18  # height of a bar, and from one to the next
HEAD = 26           # above the bars of a group
NAMES = 84          # width of the names before them
VALUES = 52         # and of the figures behind them
TOP, FOOT = 48, 30
STYLE = """
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f; }
.title { font-size: 16px; font-weight: 600; }
.case { font-weight: 600; }
.small { font-size: 11px; fill: #57606a; }
.ours { fill: #0b6e4f; }
.other { fill: #9aa4ae; }
.floor { fill: none; stroke: #57606a; stroke-dasharray: 3 2; }
.bold { font-weight: 600; }
@media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .small { fill: #9aa4ae; }
    .ours { fill: #3fb68b; }
    .other { fill: #6e7781; }
    .floor { stroke: #9aa4ae; }
}
"""


def text(x, y, content, kind="", anchor="start"):
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{kind}>{escape(content)}</text>'


def kind_of(name):
    return "ours" if name.startswith("tlsfan") else "floor" if name in ("floor", "floor-h2", "direct") else "other"


def shown(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def bars_of(case):
    """(name, value) of the headline, the least first."""
    headline = next(iter(case["figures"]))
    values = [(name, medians.get(headline)) for name, medians in case["medians"].items()]
    return sorted(((name, value) for name, value in values if value is not None), key=lambda pair: pair[1])


def draw_group(case, left, top, width):
    bars = bars_of(case)
    about = next(iter(case["figures"].values()))
    scale = (width - NAMES - VALUES) / max(value for _, value in bars)
    lines = [text(left, top + 12, case["title"], "case"),
             text(left + width, top + 12, f"{about['title']}, {about['unit']}", "small", "end")]
    for i, (name, value) in enumerate(bars):
        y = top + HEAD + i * STEP
        bold = "bold" if kind_of(name) == "ours" else ""
        lines.append(text(left + NAMES - 6, y + BAR - 2, TITLES[name], bold, "end"))
        lines.append(f'<rect x="{left + NAMES:.0f}" y="{y:.0f}" width="{max(1, value * scale):.1f}" height="{BAR}" '
                     f'class="{kind_of(name)}"/>')
        lines.append(text(left + NAMES + value * scale + 5, y + BAR - 2, shown(value), bold))
    return lines


def draw(data):
    groups = [data["cases"][name] for name in CASES if name in data["cases"] and bars_of(data["cases"][name])]
    width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    lines, top = [], TOP
    for first in range(0, len(groups), COLUMNS):
        row = groups[first:first + COLUMNS]
        for i, case in enumerate(row):
            lines += draw_group(case, MARGIN + i * (width + GAP), top, width)
        top += HEAD + STEP * max(len(bars_of(case)) for case in row) + GAP
    about = data["machine"]
    where = f"{about['processor']}, {about['cores']} cores, {about['system']}; median of {data['rounds']} rounds"
    lines.append(text(MARGIN, top, f"{where}; less is better; dashed: a relay that does nothing else", "small"))
    return lines, top + FOOT


def write(path, data):
    lines, height = draw(data)
    title = "Processor time of the proxy: plain HTTP in, verified TLS out"
    with open(path, "w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<!-- SPDX-License-Identifier: Apache-2.0 -->\n'
                   f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
                   f'height="{height:.0f}" role="img">\n<title>{title}</title>\n<style>{STYLE}</style>\n')
        file.write("\n".join([text(MARGIN, 20, title, "title"), *lines]) + "\n</svg>\n")
