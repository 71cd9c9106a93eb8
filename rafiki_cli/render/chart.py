"""Charts of text: lines and points over two axes, for terminals of any width. Pure: values in, lines of text out.

Braille characters draw a chart of 60 by 12 characters with 120 by 48 dots. Where colours tell nothing apart (a pipe,
``NO_COLOR``) several series get a mark each instead, and a terminal without UTF-8 gets plain characters throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from rafiki_cli.render.canvas import BrailleCanvas, Canvas, MarkCanvas, Place, Segment
from rafiki_cli.render.look import Look
from rafiki_cli.render.ticks import Scale, Tick

COLORS = ("cyan", "yellow", "magenta", "green", "blue", "red")
MARKS = "*+ox#@%&"
_LARGEST = 1e300
"""Larger numbers are not drawn: the span of an axis could overflow."""

Line = list[Segment]


class Kind(StrEnum):
    LINE = "line"
    POINTS = "points"


class Series(NamedTuple):
    """Numbers over numbers; what is no number (None, NaN, an infinity) is left out and breaks a line."""

    name: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    kind: Kind = Kind.LINE


def paint(line: Line, look: Look) -> str:
    """A line as text, with its colours where the terminal has some."""
    if not look.is_colored:
        return "".join(s.text for s in line).rstrip()
    from typer import style

    return "".join(style(s.text, fg=s.color) if s.color and s.text.strip() else s.text for s in line).rstrip()


def chart(
    series: Sequence[Series],
    width: int,
    height: int,
    *,
    title: str = "",
    x_label: str = "",
    x_scale: Scale = Scale(),
    look: Look = Look(),
) -> list[Line]:
    """The series in one chart of at most ``width`` columns: a title, axes with ticks, and what is what.

    Args:
        height: lines of the plotting area; title, axis and legend come on top of it.
        x_scale: how x is spread and told.
    """
    points = [[_place(x, y, x_scale) for x, y in zip(s.x, s.y, strict=True)] for s in series]
    known = [p for row in points for p in row if p is not None]
    head: list[Line] = [[Segment(_cut(title, width))]] if title else []
    if not known:
        return [*head, [Segment("There is no number to draw.")]]
    left, right = _widened([p[0] for p in known])
    low, high = _widened([p[1] for p in known])
    labels: dict[int, str] = {}
    for tick in Scale().ticks(low, high, max(2, height // 2)):
        labels.setdefault(round((high - tick.at) / (high - low) * (height - 1)), tick.text)
    margin = max(map(len, labels.values()), default=0) + 1
    columns = max(8, width - margin - 1)

    is_marked = look.is_ascii or (len(series) > 1 and not look.is_colored)
    canvas: Canvas = MarkCanvas(columns, height) if is_marked else BrailleCanvas(columns, height)
    for number, (one, row) in enumerate(zip(series, points, strict=True)):
        places = [p and ((p[0] - left) / (right - left), (p[1] - low) / (high - low)) for p in row]
        draw = canvas.draw_line if one.kind is Kind.LINE else canvas.draw_points
        draw(places, MARKS[number % len(MARKS)], COLORS[number % len(COLORS)])

    bar, stop = ("|", "+") if look.is_ascii else ("│", "┤")
    lines = list(head)
    for row_no in range(height):
        text = labels.get(row_no, "")
        lines.append([Segment(f"{text:>{margin - 1}} {stop if text else bar}"), *canvas.line(row_no)])
    ticks = x_scale.ticks(left, right, max(2, columns // 10))
    shares = [Tick((t.at - left) / (right - left), t.text) for t in ticks]
    lines += _x_axis(shares, margin, columns, look)
    return lines + _legend(series, x_label, margin + 1, width, is_marked, look)


def _place(x: float | None, y: float | None, x_scale: Scale) -> Place | None:
    if x is None or y is None or not (math.isfinite(x) and math.isfinite(y)) or max(abs(x), abs(y)) > _LARGEST:
        return None
    placed = x_scale.place(x)
    return None if placed is None else (placed, y)


def _widened(numbers: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis; around a single number there is room on both sides."""
    low, high = min(numbers), max(numbers)
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    room = abs(low) / 10 or 1.0
    return low - room, high + room


def _x_axis(ticks: Sequence[Tick], margin: int, columns: int, look: Look) -> list[Line]:
    corner, flat, stop = ("+", "-", "+") if look.is_ascii else ("└", "─", "┬")
    axis = [flat] * columns
    text = [" "] * (margin + 1 + columns)
    end = -1
    for tick in ticks:
        column = round(min(1.0, max(0.0, tick.at)) * (columns - 1))
        start = min(margin + 1 + column - len(tick.text) // 2, len(text) - len(tick.text))
        # One that would run into its neighbour is left out, with its stroke.
        if start <= end + 1 and end >= 0:
            continue
        axis[column] = stop
        text[start : start + len(tick.text)] = tick.text
        end = start + len(tick.text) - 1
    return [[Segment(" " * margin + corner + "".join(axis))], [Segment("".join(text))]]


def _legend(series: Sequence[Series], x_label: str, margin: int, width: int, is_marked: bool, look: Look) -> list[Line]:
    """What is what, in as many lines as it takes."""
    entries: list[list[Segment]] = []
    for number, one in enumerate(series):
        if one.name:
            sign = MARKS[number % len(MARKS)] if is_marked else "•" if one.kind is Kind.POINTS else "━"
            name = _cut(one.name, width - margin - 2)
            entries.append([Segment(sign, COLORS[number % len(COLORS)]), Segment(f" {name}")])
    if x_label:
        entries.append([Segment(_cut(f"over {x_label}", width - margin))])
    lines: list[Line] = []
    used = width
    for entry in entries:
        length = sum(len(s.text) for s in entry)
        if used + 3 + length > width:
            lines.append([Segment(" " * margin), *entry])
            used = margin + length
        else:
            lines[-1] += [Segment("   "), *entry]
            used += 3 + length
    return lines


def _cut(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: max(0, length - 3)] + "..."


def bar(share: float, width: int, *, low: float | None = None, high: float | None = None, look: Look = Look()) -> str:
    """A bar of ``share`` (0 to 1) of ``width`` characters; with ``low`` and ``high``, how sure it is.

    Solid up to the low end of the interval, half-tone up to the share, light up to the high end.
    """
    solid, half, light = "#=-" if look.is_ascii else "█▓░"
    ends = [round(min(1.0, max(0.0, s)) * width) for s in (share if low is None else low, share, high or share)]
    first = min(ends[0], ends[1])
    last = max(ends[2], ends[1])
    return solid * first + half * (ends[1] - first) + light * (last - ends[1])
