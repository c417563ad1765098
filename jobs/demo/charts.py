"""Small charts as SVG: lines over time, bars against a truth, intervals. No script, no style."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 220
_LEFT, _BOTTOM, _TOP, _RIGHT = 56, 24, 12, 12
COLOURS: Final = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d")

Points = Sequence[tuple[float, float | None]]


def lines(
    title: str,
    unit: str,
    series: Mapping[str, Points],
    when: Callable[[float], str] = lambda x: f"{x:.0f} s",
) -> str:
    """A line for each series of (x, y), a dot where it is one point; None leaves a gap.

    ``unit`` is that of y; ``when`` says an x, which is seconds if nothing is said.
    """
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points if y is not None]
    if not xs or not ys:
        return _frame(title, "<text x='300' y='110'>nothing was measured</text>")
    left, last, top = min(xs), max(xs), max(ys) * 1.08 or 1.0
    right = last if last > left else left + 1
    parts = [_grid(top, unit, when(left), when(last))]
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        for run in _runs(points):
            places = [(f"{_x(x, left, right):.1f}", f"{_y(y, top):.1f}") for x, y in run]
            if len(places) == 1:
                [(x, y)] = places
                parts.append(f"<circle cx='{x}' cy='{y}' r='3' fill='{colour}'/>")
                continue
            path = " ".join(map(",".join, places))
            parts.append(
                f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.8'/>"
            )
        parts.append(_legend(number, name, colour))
    return _frame(title, "".join(parts))


def bars(
    title: str,
    rows: Sequence[tuple[str, float, float]],
    unit: str,
    mark_is: str = "the truth",
    said: str = "truly",
) -> str:
    """A bar for each (name, measured, true); the truth, or what else it is, is a mark on it."""
    top = max([value for row in rows for value in row[1:]], default=0.0) * 1.08 or 1.0
    high = 26
    parts = []
    for number, (name, measured, true) in enumerate(rows):
        y = _TOP + number * high
        length = measured / top * (WIDTH - 380)
        mark = 230 + true / top * (WIDTH - 380)
        parts.append(
            f"<text x='220' y='{y + 14}' text-anchor='end'>{escape(name)}</text>"
            f"<rect x='230' y='{y + 3}' width='{length:.1f}' height='14' fill='{COLOURS[0]}'/>"
            f"<line x1='{mark:.1f}' x2='{mark:.1f}' y1='{y}' y2='{y + 20}' stroke='#111'"
            " stroke-width='2'/>"
            f"<text x='{max(230 + length, mark) + 6:.1f}' y='{y + 14}'>"
            f"{measured:.2%}, {escape(said)} {true:.2%}</text>"
        )
    return _frame(f"{title} ({unit}; the mark is {mark_is})", "".join(parts), len(rows) * high + 24)


def spans(title: str, rows: Sequence[tuple[str, float, float, float]]) -> str:
    """An interval for each (name, low, middle, high), as shares; a line stands at 0."""
    edges = [edge for _, low, _, high in rows for edge in (low, high)]
    left, right = min(0.0, *edges), max(0.0, *edges)
    wide = (right - left) * 1.04 or 1.0
    high_px, first, room = 26, 230, WIDTH - 240

    def x(value: float) -> float:
        return first + (value - left) / wide * room

    parts = [
        f"<line x1='{x(0):.1f}' x2='{x(0):.1f}' y1='{_TOP - 6}' y2='{_TOP + len(rows) * high_px}'"
        " stroke='#111'/>"
    ]
    for number, (name, low, middle, high) in enumerate(rows):
        y = _TOP + number * high_px + 10
        colour = "#6b7280" if low <= 0 <= high else COLOURS[2] if low > 0 else COLOURS[1]
        parts.append(
            f"<text x='{first - 10}' y='{y + 4}' text-anchor='end'>{escape(name)}</text>"
            f"<line x1='{x(low):.1f}' x2='{x(high):.1f}' y1='{y}' y2='{y}' stroke='{colour}'"
            f" stroke-width='3'><title>{low:+.1%} to {high:+.1%}</title></line>"
            f"<circle cx='{x(middle):.1f}' cy='{y}' r='4' fill='{colour}'/>"
            f"<text x='{x(middle):.1f}' y='{y + 15}' text-anchor='middle'>{middle:+.1%}</text>"
        )
    return _frame(title, "".join(parts), len(rows) * high_px + 24)


def _runs(points: Points) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]


def _x(x: float, left: float, right: float) -> float:
    return _LEFT + (x - left) / (right - left) * (WIDTH - _LEFT - _RIGHT)


def _y(y: float, top: float) -> float:
    return HEIGHT - _BOTTOM - y / top * (HEIGHT - _BOTTOM - _TOP)


def _grid(top: float, unit: str, first: str, last: str) -> str:
    parts = []
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        label = f"{value:.1%}" if unit == "%" else f"{value:,.4g} {unit}"
        parts.append(
            f"<line x1='{_LEFT}' x2='{WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='#ddd'/>"
            f"<text x='{_LEFT - 4}' y='{y + 4:.1f}' text-anchor='end'>{escape(label)}</text>"
        )
    parts.append(f"<text x='{_LEFT}' y='{HEIGHT - 6}'>{escape(first)}</text>")
    parts.append(
        f"<text x='{WIDTH - _RIGHT}' y='{HEIGHT - 6}' text-anchor='end'>{escape(last)}</text>"
    )
    return "".join(parts)


def _legend(number: int, name: str, colour: str) -> str:
    x, y = _LEFT + 10 + (number % 2) * 280, _TOP + 12 + number // 2 * 14
    return (
        f"<rect x='{x}' y='{y - 8}' width='10' height='3' fill='{colour}'/>"
        f"<text x='{x + 16}' y='{y - 3}'>{escape(name)}</text>"
    )


def _frame(title: str, inside: str, height: int = HEIGHT) -> str:
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f"<svg viewBox='0 0 {WIDTH} {height}' role='img' aria-label='{escape(title, quote=True)}'>"
        f"{inside}</svg></figure>"
    )
