"""What is on a terminal after some bytes, and the same as SVG with its colours.

Rich can export SVG too: twenty times as large, with fonts from the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import Any, NamedTuple

_HISTORY_LINES = 2000
_COLUMN, _ROW, _SIZE, _PAD = 8.0, 17.5, 13.3, 12.0
_BAR = 30.0
"""Height of the bar with the command."""
_PAPER, _INK = "#16211f", "#dbe7e4"
_COLOURS = {
    "black": "#4a5a56", "red": "#f0807a", "green": "#7ed385", "yellow": "#e8c870", "blue": "#7aaaf5",
    "magenta": "#cd96e6", "cyan": "#4cc9b8", "white": "#dbe7e4", "brightblack": "#8c9c98", "brightred": "#ff9690",
    "brightgreen": "#96e69c", "brightyellow": "#fadc8c", "brightblue": "#96beff", "brightmagenta": "#e1affa",
    "brightcyan": "#6ee1d0", "brightwhite": "#ffffff",
}  # fmt: skip
# Names that pyte has for them.
_COLOURS |= {"brown": _COLOURS["yellow"], "brightbrown": _COLOURS["brightyellow"], "bfightmagenta": "#e1affa"}


class Cell(NamedTuple):
    """One sign with its look."""

    sign: str
    ink: str
    paper: str
    is_bold: bool


Line = list[Cell]


def lines_of(data: bytes, columns: int, lines: int) -> list[Line]:
    """The lines of a terminal after these bytes, with what scrolled out at its top, without empty ends."""
    import pyte

    screen = pyte.HistoryScreen(columns, lines, history=_HISTORY_LINES, ratio=1.0)
    pyte.ByteStream(screen).feed(re.sub(rb"\x1b\[([\d;]+)m", _without_dim, data))
    rows = [*screen.history.top, *(screen.buffer[y] for y in range(lines))]
    return _trimmed([_trimmed([_cell(row[x]) for x in range(columns)], lambda c: c.sign.strip()) for row in rows], bool)


def _trimmed(items: list[Any], is_something: Any) -> list[Any]:
    while items and not is_something(items[-1]):
        items.pop()
    return items


def _without_dim(match: re.Match[bytes]) -> bytes:
    """Dim text in grey: the terminal that we read with knows no dim."""
    codes = match[1].split(b";")
    if codes[0] in (b"38", b"48"):
        return match[0]
    return b"\x1b[" + b";".join(b"90" if code == b"2" else code for code in codes) + b"m"


def _cell(c: Any) -> Cell:
    ink, paper = _colour(c.fg, _INK), _colour(c.bg, _PAPER)
    return Cell(c.data, *((paper, ink) if c.reverse else (ink, paper)), c.bold)


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return _COLOURS.get(name) or f"#{name}"


def text_of(lines: Sequence[Line]) -> str:
    """The lines as text."""
    return "".join("".join(cell.sign for cell in line) + "\n" for line in lines)


def to_svg(lines: Sequence[Line], command: str, columns: int) -> str:
    """A screen as SVG, with the command above it."""
    width, height = columns * _COLUMN + 2 * _PAD, _BAR + len(lines) * _ROW + 2 * _PAD
    out = [
        f'<svg class="terminal" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(f"The screen of {command}")}" font-size="{_SIZE:g}" fill="{_INK}" '
        "font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\">",
        f'<rect width="{width:g}" height="{height:g}" rx="7" fill="{_PAPER}"/>',
        f'<path d="M0 {_BAR:g}H{width:g}" stroke="#4a5a56"/>',
        *(f'<circle cx="{16 + 17 * i}" cy="15" r="5" fill="#4a5a56"/>' for i in range(3)),
        f'<text x="72" y="19.5" fill="#8c9c98">$ {escape(command)}</text>',
    ]
    for i, line in enumerate(lines):
        out += _row(line, _BAR + _PAD + i * _ROW)
    return "\n".join([*out, "</svg>\n"])


def _row(line: Line, top: float) -> Iterable[str]:
    x = 0
    for (ink, paper, is_bold), group in groupby(line, lambda cell: cell[1:]):
        text = "".join(cell.sign for cell in group)
        if paper != _PAPER:
            at = f'x="{_PAD + x * _COLUMN:g}" y="{top:g}" width="{len(text) * _COLUMN:g}" height="{_ROW:g}"'
            yield f'<rect {at} fill="{paper}"/>'
        look = f' fill="{ink}"' * (ink != _INK) + ' font-weight="bold"' * is_bold
        # Each part is given its length, which keeps the columns in place whatever the font.
        for part in re.finditer(r"\S+( \S+)*", text):
            at = f'x="{_PAD + (x + part.start()) * _COLUMN:g}" y="{top + 13.5:g}"'
            yield f'<text {at}{look} textLength="{len(part[0]) * _COLUMN:g}">{escape(part[0])}</text>'
        x += len(text)
