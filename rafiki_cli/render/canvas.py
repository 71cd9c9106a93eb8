"""Where a chart is drawn: a grid of characters, each with a colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

Place = tuple[float, float]
"""Right and up, each from 0 to 1."""


class Segment(NamedTuple):
    """A piece of a line in one colour; None = the terminal's own."""

    text: str
    color: str | None = None


class Canvas:
    """A grid of dots, some of them in each character.

    Args:
        width: characters in a line.
        height: lines.
    """

    x_dots = 1
    y_dots = 1
    """Dots of a character."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._colors: list[list[str | None]] = [[None] * width for _ in range(height)]

    def draw_line(self, places: Sequence[Place | None], mark: str, color: str | None) -> None:
        """Connect neighbouring places; None is a gap, and a place between two gaps is a point."""
        before: tuple[int, int] | None = None
        for place, after in zip(places, [*places[1:], None], strict=True):
            if place is None:
                before = None
                continue
            dot = self._dot(place)
            if before is None and after is None:
                self._set_point(*dot, mark, color)
            for x, y in _between(before or dot, dot):
                self._set(x, y, mark, color)
            before = dot

    def draw_points(self, places: Sequence[Place | None], mark: str, color: str | None) -> None:
        """A mark at each place."""
        for x, y in (self._dot(p) for p in places if p is not None):
            self._set_point(x, y, mark, color)

    def line(self, row: int) -> list[Segment]:
        """A line of the grid, counted from above, in as few pieces as its colours need."""
        found: list[Segment] = []
        for column in range(self._width):
            text, color = self._character(column, row), self._colors[row][column]
            if found and (found[-1].color == color or not text.strip()):
                found[-1] = Segment(found[-1].text + text, found[-1].color)
            else:
                found.append(Segment(text, color))
        return found

    def _dot(self, place: Place) -> tuple[int, int]:
        right, up = (min(1.0, max(0.0, p)) for p in place)
        return round(right * (self._width * self.x_dots - 1)), round((1 - up) * (self._height * self.y_dots - 1))

    def _set(self, x: int, y: int, mark: str, color: str | None) -> None:
        raise NotImplementedError

    def _set_point(self, x: int, y: int, mark: str, color: str | None) -> None:
        raise NotImplementedError

    def _character(self, column: int, row: int) -> str:
        raise NotImplementedError


class MarkCanvas(Canvas):
    """One mark a character, which tells series apart without colour."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self._marks = [[" "] * width for _ in range(height)]

    def _set(self, x: int, y: int, mark: str, color: str | None) -> None:
        self._marks[y][x], self._colors[y][x] = mark, color

    _set_point = _set

    def _character(self, column: int, row: int) -> str:
        return self._marks[row][column]


_BRAILLE = 0x2800
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of the dots of a Braille character (Unicode 15, section 21.1): line by line, from left to right."""


class BrailleCanvas(Canvas):
    """Two by four dots a character."""

    x_dots = 2
    y_dots = 4

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self._bits = [[0] * width for _ in range(height)]

    def _set(self, x: int, y: int, mark: str, color: str | None) -> None:
        column, row = x // 2, y // 4
        self._bits[row][column] |= _BITS[y % 4][x % 2]
        self._colors[row][column] = color

    def _set_point(self, x: int, y: int, mark: str, color: str | None) -> None:
        # A single dot is hardly seen: four, within the grid.
        x, y = min(x, self._width * 2 - 2), min(y, self._height * 4 - 2)
        for dot_x, dot_y in ((x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)):
            self._set(dot_x, dot_y, mark, color)

    def _character(self, column: int, row: int) -> str:
        bits = self._bits[row][column]
        return chr(_BRAILLE + bits) if bits else " "


def _between(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The dots of a straight line, both ends included."""
    (x0, y0), (x1, y1) = start, end
    steps = max(abs(x1 - x0), abs(y1 - y0))
    for step in range(steps + 1):
        share = step / steps if steps else 0.0
        yield round(x0 + (x1 - x0) * share), round(y0 + (y1 - y0) * share)
