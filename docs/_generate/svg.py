"""A sheet on which figures are drawn, as SVG. Colours and fonts come from the page: ``docs/_static/rafiki.css``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH = 328.0
"""Units across: the pixels that a page has for text on a phone of 360. All figures are tall rather than wide."""
SIZE = 13.0
"""Of text, in the same units, so that it has 13 pixels on that phone."""
LINE = 17.0
"""From one line of text to the next."""

_NARROW, _SLIM, _WIDE = frozenset("iljI.,:;'|! "), frozenset('ftr()[]-/"'), frozenset("mwMW@%—")
_MONO_EM = 0.61


def width_of(text: str, *, is_code: bool = False, size: float = SIZE) -> float:
    """The width of a line, for the widest of the fonts that a page may have."""
    if is_code:
        return _MONO_EM * size * len(text)
    return size * sum(_em(c) for c in text)


def _em(c: str) -> float:
    if c in _NARROW:
        return 0.33
    if c in _SLIM:
        return 0.42
    if c in _WIDE:
        return 0.97
    return 0.72 if c.isupper() else 0.63


def wrap(text: str, width: float, *, is_code: bool = False) -> list[str]:
    """Lines that fit ``width``, broken between words."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if not line or width_of(longer, is_code=is_code) <= width:
            line = longer
        else:
            lines.append(line)
            line = word
    return [*lines, line] if line else lines


def balance(text: str, width: float) -> list[str]:
    """As few lines as :func:`wrap` makes, of much the same width."""
    lines = wrap(text, width)
    while len(narrower := wrap(text, width - SIZE)) == len(lines) and max(map(width_of, narrower)) <= width - SIZE:
        lines, width = narrower, width - SIZE
    return lines


class Sheet:
    """Elements of a drawing, lowest first."""

    def __init__(self) -> None:
        self._elements: list[str] = []
        self._below: list[str] = []
        self.height = 0.0

    def text(self, x: float, y: float, text: str, look: str = "", anchor: str = "start") -> None:
        """One line; ``y`` is its base line."""
        self._reach(y + 5)
        at = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._elements.append(f'<text x="{x:g}" y="{y:g}"{_look(look)}{at}>{escape(text)}</text>')

    def lines(self, x: float, y: float, lines: Sequence[str], look: str = "", anchor: str = "start") -> float:
        """Lines below each other, the first with its base line at ``y``; returns the base line of the next."""
        for line in lines:
            self.text(x, y, line, look, anchor)
            y += LINE
        return y

    def box(self, x: float, y: float, width: float, height: float, look: str = "", *, is_below: bool = False) -> None:
        """A rectangle with round corners; ``is_below``: behind all else."""
        self._reach(y + height + 1)
        found = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"{_look(look)}/>'
        (self._below if is_below else self._elements).append(found)

    def circle(self, x: float, y: float, radius: float, look: str = "") -> None:
        self._elements.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}"{_look(look)}/>')

    def half(self, x: float, y: float, radius: float, look: str = "") -> None:
        """The left half of a disc."""
        path = f"M{x:g} {y - radius:g}a{radius:g} {radius:g} 0 0 0 0 {2 * radius:g}z"
        self._elements.append(f'<path d="{path}"{_look(look)}/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, look: str = "", *, is_below: bool = False) -> None:
        self._reach(max(y1, y2))
        found = f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"{_look(look)}/>'
        (self._below if is_below else self._elements).append(found)

    def arrow(self, x1: float, y1: float, x2: float, y2: float, look: str = "") -> None:
        """A straight arrow, across or down."""
        size = 6.0
        if y1 == y2:
            back = x2 - size if x2 > x1 else x2 + size
            points = f"{x2:g},{y2:g} {back:g},{y2 - 4:g} {back:g},{y2 + 4:g}"
            self.line(x1, y1, back, y2, look)
        else:
            points = f"{x2:g},{y2:g} {x2 - 4:g},{y2 - size:g} {x2 + 4:g},{y2 - size:g}"
            self.line(x1, y1, x2, y2 - size, look)
        self._elements.append(f'<polygon points="{points}"{_look("head " + look)}/>')

    def svg(self, name: str, title: str, about: str) -> str:
        """The whole, with words for those who cannot see it."""
        top = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {self.height:g}" role="img" '
            f'aria-labelledby="{name}-title {name}-desc">'
            f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(about)}</desc>'
        )
        return "\n".join([top, *self._below, *self._elements, "</svg>"])

    def _reach(self, y: float) -> None:
        self.height = max(self.height, y)


def _look(name: str) -> str:
    return f' class="{name.strip()}"' if name.strip() else ""
