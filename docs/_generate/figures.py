"""Figures: ``docs/figures/NAME.yaml`` says what is shown, the directive ``{drawing} NAME`` shows it as SVG in the page.

Each file has a ``title``, an ``about`` (the same in words, for those who cannot see it) and a ``kind``:

``sequence``
    ``lanes`` beside each other, and ``steps``: ``A -> B: text`` is a message, ``A: text`` what A does by itself.
``walk``
    ``name``, a word that ``grep`` finds in every file of the walk, and ``hops``: ``FILE:FUNCTION: text``, below a
    ``zone`` (a process), and after a ``way`` (how one reaches the next).
``grid``
    ``columns``, ``marks`` (``full``, ``half``, ``empty``: what each means), and ``rows``: a name, an ``about`` and its
    mark in each column; ``zone`` begins a group of rows.
``layers``
    ``rows`` from top to bottom: a number or nothing as the ``name``, and the ``boxes`` that are on this layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from docs._generate.svg import LINE, SIZE, WIDTH, Sheet, balance, width_of, wrap

FOLDER = Path(__file__).resolve().parents[1] / "figures"
_PAD = 10.0
Figure = Mapping[str, Any]


class FigureError(Exception):
    """A figure's file says something that cannot be drawn."""


def names() -> list[str]:
    """All figures."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str) -> Figure:
    """The figure's file.

    Raises:
        FigureError: when there is none, or it lacks what every figure has.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise FigureError(f"There is no figure {path.name}. There are: {', '.join(names())}.")
    found = yaml.safe_load(path.read_text("utf-8"))
    for key in ("title", "about", "kind"):
        if not found.get(key):
            raise FigureError(f"{path.name} has no {key!r}.")
    if found["kind"] not in _KINDS:
        raise FigureError(f"{path.name}: there is no kind {found['kind']!r}. There are: {', '.join(_KINDS)}.")
    return found


def draw(name: str) -> str:
    """The figure as SVG.

    Raises:
        FigureError
    """
    figure = read(name)
    sheet = Sheet()
    _KINDS[figure["kind"]](sheet, figure)
    return sheet.svg(f"figure-{name}", figure["title"], " ".join(figure["about"].split()))


# ---- sequences


def _sequence(sheet: Sheet, figure: Figure) -> None:
    lanes = figure["lanes"]
    gap = WIDTH / len(lanes)
    at = {lane: gap * (i + 0.5) for i, lane in enumerate(lanes)}
    heads = [wrap(lane, gap - 8) for lane in lanes]
    tall = max(map(len, heads)) * LINE + 10
    for lane, head in zip(lanes, heads, strict=True):
        sheet.box(at[lane] - gap / 2 + 2, 1, gap - 4, tall, "node")
        sheet.lines(at[lane], 1 + (tall - len(head) * LINE) / 2 + SIZE, head, "strong", "middle")
    y = tall + 14
    for step in figure["steps"]:
        ((who, text),) = step.items()
        start, arrow, end = (part.strip() for part in who.partition("->"))
        for lane in (start, end) if arrow else (start,):
            if lane not in at:
                raise FigureError(f"{figure['title']}: there is no lane {lane!r}.")
        y = _message(sheet, at[start], at[end], text, y) if arrow else _work(sheet, at[start], text, y)
    for x in at.values():
        sheet.line(x, tall + 1, x, y, "lane", is_below=True)


def _message(sheet: Sheet, start: float, end: float, text: str, y: float) -> float:
    lines = balance(text, WIDTH - 12)
    half = max(map(width_of, lines)) / 2
    middle = min(max((start + end) / 2, half + 6), WIDTH - half - 6)
    # Written over the lanes: what is behind it must not be seen through it.
    sheet.box(middle - half - 3, y, 2 * half + 6, len(lines) * LINE + 2, "paper")
    y = sheet.lines(middle, y + SIZE, lines, anchor="middle")
    sheet.arrow(start, y - 6, end, y - 6)
    return y + 8


def _work(sheet: Sheet, x: float, text: str, y: float) -> float:
    lines = balance(text, 0.62 * WIDTH)
    half = max(map(width_of, lines)) / 2 + 7
    middle = min(max(x, half + 2), WIDTH - half - 2)
    height = len(lines) * LINE + 8
    sheet.box(middle - half, y, 2 * half, height, "soft")
    sheet.lines(middle, y + SIZE + 4, lines, anchor="middle")
    return y + height + 12


# ---- walks


class Hop(NamedTuple):
    """One place in the code that a walk comes through."""

    file: str
    function: str
    text: str


def walk_names() -> list[str]:
    """The figures that are walks."""
    return [name for name in names() if read(name)["kind"] == "walk"]


def hops(figure: Figure) -> list[Hop]:
    """The hops of a walk, in their order."""
    return [_hop(place, text) for item in figure["hops"] for place, text in item.items() if ":" in place]


def _hop(place: str, text: str) -> Hop:
    file, _, function = place.partition(":")
    return Hop(file, function, text)


def _walk(sheet: Sheet, figure: Figure) -> None:
    y = 0.0
    zone_top: float | None = None
    look = ""
    no = 0
    for item in figure["hops"]:
        if "zone" in item:
            if zone_top is not None:
                y = _end_zone(sheet, zone_top, y, look)
            zone_top, look = y + 1, "zone model" if item.get("runs_model_code") else "zone"
            y = sheet.lines(_PAD, y + SIZE + 8, wrap(item["zone"], WIDTH - 2 * _PAD), "strong") + 7
        elif "way" in item:
            if zone_top is not None:
                y, zone_top = _end_zone(sheet, zone_top, y, look), None
            lines = wrap(item["way"], WIDTH - 44)
            sheet.arrow(20, y - 8, 20, y + len(lines) * LINE + 6)
            y = sheet.lines(34, y + SIZE, lines, "muted") + 2
        else:
            ((place, text),) = item.items()
            no += 1
            y = _draw_hop(sheet, no, _hop(place, text), y)
    if zone_top is not None:
        y = _end_zone(sheet, zone_top, y, look)
    sheet.text(WIDTH / 2, y + SIZE, f"$ grep -rli {figure['name']} rafiki rafiki_cli", "code muted", "middle")


def _draw_hop(sheet: Sheet, no: int, hop: Hop, y: float) -> float:
    sheet.circle(20, y - 4.5, 10, "number")
    sheet.text(20, y, str(no), "number", "middle")
    y = sheet.lines(38, y, wrap(hop.function, WIDTH - 38 - 4, is_code=True), "code strong")
    y = sheet.lines(38, y, [hop.file], "code muted")
    return sheet.lines(38, y, wrap(hop.text, WIDTH - 38 - _PAD)) + 9


def _end_zone(sheet: Sheet, top: float, y: float, look: str) -> float:
    bottom = y - 9
    sheet.box(1, top, WIDTH - 2, bottom - top, look, is_below=True)
    return bottom + 10


# ---- grids

_STEP = 30.0


def _grid(sheet: Sheet, figure: Figure) -> None:
    columns = figure["columns"]
    left = WIDTH - _STEP * len(columns)
    at = {column: left + _STEP * (i + 0.5) for i, column in enumerate(columns)}
    # The headings are stairs: each ends at its own column, and the line of that column begins below it.
    y = SIZE + 2
    tops = {}
    for column in reversed(columns):
        sheet.text(at[column] + 6, y, column, "strong", "end")
        tops[column] = y + 5
        y += LINE
    y += 2
    for row in figure["rows"]:
        if "zone" in row:
            y = sheet.lines(2, y + SIZE + 6, wrap(row["zone"], left - 4), "muted") - 6
            continue
        y = _row(sheet, row, at, left, y)
    for column, x in at.items():
        sheet.line(x, tops[column], x, y - 4, "lane", is_below=True)
    y += 8
    for mark, meaning in figure["marks"].items():
        _mark(sheet, 10, y + 8, mark)
        y = sheet.lines(24, y + SIZE, wrap(meaning, WIDTH - 30)) - SIZE + 4


def _row(sheet: Sheet, row: Mapping[str, Any], at: Mapping[str, float], left: float, y: float) -> float:
    head = wrap(row["name"], left - 2 * _PAD)
    about = wrap(row.get("about", ""), left - 2 * _PAD)
    height = (len(head) + len(about)) * LINE + 10
    sheet.box(1, y, left - 4, height, "node model" if row.get("runs_model_code") else "node")
    below = sheet.lines(_PAD, y + SIZE + 4, head, "strong")
    sheet.lines(_PAD, below, about)
    marks = row.get("marks", {})
    for column, mark in marks.items():
        if column not in at:
            raise FigureError(f"{row['name']}: there is no column {column!r}.")
        _mark(sheet, at[column], y + height / 2, mark)
    if marks:
        furthest = max(at[column] for column in marks)
        sheet.line(left - 3, y + height / 2, furthest, y + height / 2, "lane", is_below=True)
    return y + height + 8


def _mark(sheet: Sheet, x: float, y: float, mark: str) -> None:
    if mark not in ("full", "half", "empty"):
        raise FigureError(f"There is no mark {mark!r}: write full, half or empty.")
    sheet.circle(x, y, 7, "mark full" if mark == "full" else "mark")
    if mark == "half":
        sheet.half(x, y, 7, "mark full")


# ---- layers


def _layers(sheet: Sheet, figure: Figure) -> None:
    y = 1.0
    for row in figure["rows"]:
        if "zone" in row:
            y = sheet.lines(2, y + SIZE + 2, wrap(row["zone"], WIDTH - 4), "muted") - SIZE + 4
            continue
        top = y
        y += 5
        for box in row["boxes"]:
            ((name, text),) = box.items() if isinstance(box, dict) else ((box, ""),)
            y = sheet.lines(44, y + SIZE, wrap(name, WIDTH - 50, is_code=True), "code strong") - SIZE
            y = sheet.lines(44, y + SIZE, wrap(text, WIDTH - 54)) - SIZE + 2
        look = "node model" if row.get("runs_model_code") else "node"
        sheet.box(34, top, WIDTH - 35, y + 5 - top, look, is_below=True)
        if row["name"] != "":
            sheet.text(15, (top + y + 5) / 2 + 5, str(row["name"]), "strong", "middle")
        y += 11


_KINDS: dict[str, Callable[[Sheet, Figure], None]] = {
    "sequence": _sequence,
    "walk": _walk,
    "grid": _grid,
    "layers": _layers,
}


# ---- in the pages


def directive() -> Any:
    """The Sphinx directive that draws a figure into the page, where it has the page's colours."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class Drawing(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[nodes.Node]:
            name = self.arguments[0]
            self.env.note_dependency(str(FOLDER / f"{name}.yaml"))
            try:
                svg, title = draw(name), read(name)["title"]
            except FigureError as e:
                raise self.error(str(e)) from e
            html = f'<figure class="drawing">\n{svg}\n<figcaption>{escape(title)}</figcaption>\n</figure>'
            return [nodes.raw("", html, format="html")]

    return Drawing
