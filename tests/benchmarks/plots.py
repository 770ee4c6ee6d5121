"""Plots of how cost grows, as SVG, from what `growth` found.

`python -m tests.benchmarks.plots docs/performance/growth.json` writes `growth.svg` beside it.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT = 310, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 22, 50, 44
_AXES = {
    "subscriptions": "subscriptions, 4 of which match",
    "subscribers": "subscriptions that match, of 1,000",
    "size": "size of the event (KB)",
}
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c")
_STYLE = "text{font:11px sans-serif}.grid{stroke:#ddd}"
Point = tuple[float, float]


def main() -> int:
    """Draw one panel for each axis beside the others, both scales logarithmic."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("results", type=Path, help="the JSON that `growth` wrote")
    options.add_argument("--output", type=Path, help="(default: the same name with .svg)")
    args = options.parse_args()
    rows = json.loads(args.results.read_text())["rows"].values()
    (args.output or args.results.with_suffix(".svg")).write_text(drawing(list(rows)))
    return 0


def drawing(rows: Sequence[dict[str, Any]]) -> str:
    """Return an SVG document with what an event costs a worker, by whatever was changed."""
    services = list(dict.fromkeys(row["service"] for row in rows))
    colours = dict(zip(services, _COLOURS, strict=False))
    parts = [
        text(_LEFT + 200 * number, 14, service, "start", colours[service])
        for number, service in enumerate(services)
    ]
    for number, (axis, title) in enumerate(_AXES.items()):
        lines: dict[str, list[Point]] = {}
        for row in rows:
            if row["axis"] == axis and row["event_cpu_ms"] > 0:
                lines.setdefault(row["service"], []).append((row["value"], row["event_cpu_ms"]))
        if lines:
            body = "\n".join(panel(title, {colours[name]: line for name, line in lines.items()}))
            parts.append(f'<g transform="translate({number * _WIDTH} 0)">\n{body}\n</g>')
    size = f'width="{_WIDTH * len(_AXES)}" height="{_HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{_STYLE}</style>'
    return "\n".join([head, *parts, "</svg>", ""])


def panel(title: str, lines: dict[str, list[Point]]) -> Iterator[str]:
    """Give the elements of one panel: grid, axes, and a line for each colour."""
    every = [point for points in lines.values() for point in points]
    left, right = decades([x for x, _ in every])
    low, high = decades([y for _, y in every])
    bottom = _HEIGHT - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)
        up = (math.log10(y) - low) / (high - low) * (bottom - _TOP)
        return _LEFT + across, bottom - up

    yield text(_LEFT, _TOP - 12, "worker CPU per event (ms)", "start")
    yield text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, title, "middle")
    for power in range(low, high + 1):
        _, y = place(10**left, 10**power)
        yield line(_LEFT, y, _WIDTH - _RIGHT, y)
        yield text(_LEFT - 5, y + 4, f"{10.0**power:,g}", "end")
    for power in range(left, right + 1):
        x, _ = place(10**power, 10**low)
        yield line(x, _TOP, x, bottom)
        yield text(x, bottom + 15, f"{10**power:,}", "middle")
    for colour, points in lines.items():
        placed = [place(x, y) for x, y in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed)


def decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten between which some values lie, at least one apart."""
    low = math.floor(math.log10(min(values)))
    return low, max(math.ceil(math.log10(max(values))), low + 1)


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, anchor: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


if __name__ == "__main__":
    sys.exit(main())
