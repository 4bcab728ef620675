#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts what bench_software_link_bench has printed into docs/software-link/performance.md, and draws its picture.

    build/release/benchmarks/bench_software_link_bench --long | python3 benchmarks/software_link_page.py
"""
import math
import pathlib
import re
import sys

PAGE = pathlib.Path(__file__).parent.parent / "docs/software-link/performance.md"
HEADING = "## Measured\n"
# What is drawn: a label, and the beginnings of a heading and of a row.
BARS = [
    ("whole link, block sampling, 25 km", "The whole link", "sifted, block sampling, 25 km"),
    ("whole link, event sampling, 25 km", "The whole link", "sifted, event sampling, 25 km"),
    ("Cascade at 3 %, Bob", "Cascade alone", "3 %: Bob"),
    ("Cascade at 8 %, Bob", "Cascade alone", "8 %: Bob"),
    ("privacy amplification, 2^20 bits", "Privacy amplification", ""),
    ("privacy amplification, 10^7 bits", "Privacy amplification", "10^7"),
]


def rows(text):
    """(heading, what, must, aim, median) of each row of a table."""
    heading = ""
    for line in text.splitlines():
        cells = [c.strip() for c in line.split("|")]
        if len(cells) == 8 and cells[1] not in ("what", "---"):
            numbers = [re.search(r"[0-9][0-9.e+-]*", c) for c in cells[2:5]]
            yield heading, cells[1], *(float(n.group()) if n else None for n in numbers)
        elif line and not line.startswith("|"):
            heading = line


def find(table, heading, row):
    """The first row, so of several implementations the fastest."""
    for at, what, must, aim, median in table:
        if at.startswith(heading) and (what.startswith(row) or row in what):
            return must, aim, median
    sys.exit(f"no row '{row}' under '{heading}'")


def draw(table, machine):
    left, width, step, least, most = 290, 520, 44, 10, 4000

    def x(rate):
        return left + width * (math.log10(rate) - math.log10(least)) / (math.log10(most) - math.log10(least))

    height = 70 + step * len(BARS) + 50
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {height}" width="900" height="{height}" role="img">',
        "<title>The software link: bits per second of CPU time of one processor, beside the goals</title>",
        "<style>text { font: 13px system-ui, sans-serif; fill: #1f2328; } .small { font-size: 11px; fill: #57606a; }</style>",
        f'<rect width="900" height="{height}" fill="#ffffff"/>',
        '<text x="20" y="28" style="font-size: 16px">Mbit per second of CPU time of one processor</text>',
        f'<text class="small" x="20" y="48">{machine}; sifted bits; grey line: must, black line: aim</text>',
    ]
    bottom = 70 + step * len(BARS)
    for rate in (10, 30, 100, 300, 1000, 3000):
        out.append(f'<path d="M{x(rate):.1f} 62V{bottom}" stroke="#d0d7de"/>')
        out.append(f'<text class="small" x="{x(rate):.1f}" y="{bottom + 18}" text-anchor="middle">{rate}</text>')
    for i, (label, heading, row) in enumerate(BARS):
        must, aim, median = find(table, heading, row)
        y = 72 + step * i
        out.append(f'<text x="{left - 12}" y="{y + 19}" text-anchor="end">{label}</text>')
        out.append(f'<rect x="{left}" y="{y}" width="{x(median) - left:.1f}" height="28" fill="#54aeff"/>')
        for bound, colour in ((must, "#6e7781"), (aim, "#1f2328")):
            out.append(f'<path d="M{x(bound):.1f} {y - 3}v34" stroke="{colour}" stroke-width="3"/>')
        out.append(f'<text x="{max(x(median), x(aim)) + 8:.1f}" y="{y + 19}">{median:g}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    printed = sys.stdin.read().strip()
    machine, _, tables = printed.partition("\n")
    page = PAGE.read_text()
    head = page[: page.index(HEADING) + len(HEADING)]
    tables = re.sub(r"^(?=[A-Z].*\n\n\|)", "### ", tables.strip(), flags=re.M)
    PAGE.write_text(f"{head}\n{machine}.\n\n{tables}\n")
    PAGE.with_suffix(".svg").write_text(draw(list(rows(printed)), machine))


main()
