"""Puts records out as a table, as JSON, as JSON lines or as YAML."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Generic, Literal, NamedTuple, Protocol, TypeVar

import typer

from rafiki.utils.values import JsonObject, JsonValue
from rafiki_cli import terminal
from rafiki_cli.render import values

if TYPE_CHECKING:
    import msgspec
    from rich.table import Table

Row = TypeVar("Row")
RowWithId = TypeVar("RowWithId", bound="_WithId")


class _WithId(Protocol):
    @property
    def id(self) -> str: ...


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"


FormatOption = Annotated[
    Format, typer.Option("--output", "-o", help="table, json, jsonl (a line for each row) or yaml.")
]


class Column(NamedTuple, Generic[Row]):
    """A column of a table: its title, and a function of the row.

    What follows ``is_right`` is for tables on a terminal, which have to fit its width.
    """

    title: str
    value: Callable[[Row], object]
    is_right: bool = False
    short: Callable[[Row], object] | None = None
    """A shorter form of the value."""
    least: int | None = None
    """The width down to which it may be cut; None = it is never cut."""
    rank: int = 0
    """The column of the highest rank is left out first where the width does not do for all; 0 = it stays."""
    is_hidden_empty: bool = False
    """Left out when no row has a value."""

    def cell(self, row: Row, *, is_short: bool = False) -> str:
        if is_short and self.short:
            return terminal.harmless(values.text(self.short(row)))
        found = values.text(self.value(row))
        return terminal.harmless(found) if is_short else found


def id_column(rank: int = 0) -> Column[RowWithId]:
    """The ``id`` of a row; on a terminal its first letters, which commands take too."""
    return Column("ID", lambda r: r.id, short=_short_id, rank=rank)


def _short_id(row: _WithId) -> str:
    from rafiki.utils.ids import short_id

    return short_id(row.id)


def time_column(
    title: str, time: Callable[[Row], datetime | None], rank: int = 0, *, is_hidden_empty: bool = False
) -> Column[Row]:
    """A datetime of a row, in local time."""
    return Column(
        title, lambda r: values.local_time(time(r)), short=lambda r: values.short_time(time(r)), rank=rank,
        is_hidden_empty=is_hidden_empty,
    )  # fmt: skip


def error_column(
    error: Callable[[Row], str | None], title: str = "ERROR", least: int = 16, most_chars: int = 80
) -> Column[Row]:
    """Why something failed: in one line, on a terminal the first ``most_chars`` of its first line."""
    return Column(
        title, lambda r: values.one_line(error(r)), short=lambda r: values.first_line(error(r), most_chars),
        least=least, is_hidden_empty=True,
    )  # fmt: skip


def put_rows(rows: Sequence[Row], columns: Sequence[Column[Row]], format: Format, *, nothing: str = "") -> None:
    """Put out a list. The other formats hold the rows as they are; a table shows ``columns``.

    Args:
        nothing: what to tell people, on stderr, when there are no rows.
    """
    if format is not Format.TABLE:
        put_data(list(rows), format)
        return
    if rows:
        _put_table(rows, columns)
    elif nothing:
        terminal.say(nothing)


def put_record(record: Row, columns: Sequence[Column[Row]], format: Format) -> None:
    """Put out one thing: a line for each column, or the whole record in the other formats."""
    if format is not Format.TABLE:
        put_data(record, format)
        return
    width = max(len(c.title) for c in columns)
    for column in columns:
        lines = column.cell(record).splitlines() or [""]
        title = column.title.ljust(width)
        hang = " " * (width + _GAP)
        text = terminal.fitted(f"{title}{' ' * _GAP}{lines[0]}", stream=sys.stdout, indent=hang)
        styled = terminal.style(title, bold=True) if terminal.is_interactive() else title
        terminal.put(styled + text.removeprefix(title))
        for line in lines[1:]:
            terminal.put(terminal.fitted(f"{hang}{line}", stream=sys.stdout))


def put_secret(made: object, secret: str, about: Sequence[str], format: Format) -> None:
    """Put out what was made, where its secret is shown this once: in a table's place the secret alone, for programs.

    Args:
        made: the record with the secret in it.
        about: for people, a sentence a line.
    """
    if format is not Format.TABLE:
        put_data(made, format)
        return
    terminal.put(secret)
    for line in about:
        terminal.say(line)


def put_data(data: object, format: Format) -> None:
    """Put out records or plain values as JSON (also where a table is asked for but makes no sense), JSON lines or YAML.

    JSON lines are one compact line for each element of a list (none for an empty one), and one for anything else.
    """
    data = plain(data)
    if format is Format.YAML:
        import yaml

        terminal.put(yaml.safe_dump(data, sort_keys=False, allow_unicode=True).rstrip("\n"))
    elif format is Format.JSONL:
        for value in data if isinstance(data, list) else [data]:
            terminal.put(json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str))
    else:
        terminal.put(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def plain(data: object) -> JsonValue:
    """Records of the contract as they travel: dicts, lists, texts and numbers."""
    import msgspec

    value: JsonValue = msgspec.to_builtins(data, enc_hook=str)
    return value


def plain_record(record: msgspec.Struct) -> JsonObject:
    """As :func:`plain`, of one record."""
    found = plain(record)
    assert isinstance(found, dict)
    return found


def _put_table(rows: Sequence[Row], columns: Sequence[Column[Row]]) -> None:
    if terminal.is_interactive():
        from rafiki_cli.render.console import HarmlessConsole

        console = HarmlessConsole()
        console.print(table_view(rows, columns, console.width, console.encoding))
        return
    # Into a pipe or a file: nothing is cut, whatever the width.
    cells = [[c.cell(row) for c in columns] for row in rows]
    titles = [c.title for c in columns]
    widths = [max(len(line[i]) for line in [titles, *cells]) for i in range(len(titles))]
    for line in [titles, *cells]:
        parts = [
            text.rjust(w) if c.is_right else text.ljust(w) for text, w, c in zip(line, widths, columns, strict=True)
        ]
        terminal.put("  ".join(parts).rstrip())


_GAP = 2


def fit(columns: Sequence[Column[Row]], natural: Sequence[int], width: int) -> dict[int, int]:
    """Which columns a terminal of ``width`` shows (by their index), and how wide each is.

    Args:
        natural: the width that each column wants; 0 = it has nothing to show.
    """
    shown = [i for i, wanted in enumerate(natural) if wanted]
    least = {i: natural[i] if (n := columns[i].least) is None else min(natural[i], n) for i in shown}

    def spare() -> int:
        return width - sum(least[i] for i in shown) - _GAP * (len(shown) - 1)

    while spare() < 0 and (droppable := [i for i in shown if columns[i].rank]):
        shown.remove(max(droppable, key=lambda i: columns[i].rank))
    widths = {i: least[i] for i in shown}
    left = max(0, spare())
    wanting = sorted(shown, key=lambda i: natural[i] - least[i])
    for position, i in enumerate(wanting):
        more = min(natural[i] - least[i], left // (len(wanting) - position))
        widths[i] += more
        left -= more
    return widths


def _short_cells(rows: Sequence[Row], columns: Sequence[Column[Row]]) -> list[list[str]]:
    return [[" ".join(c.cell(row, is_short=True).split()) for c in columns] for row in rows]


def natural_widths(rows: Sequence[Row], columns: Sequence[Column[Row]]) -> list[int]:
    """The width that each column wants on a terminal; 0 = it has nothing to show."""
    from rich.cells import cell_len

    cells = _short_cells(rows, columns)
    natural = []
    for i, column in enumerate(columns):
        is_empty = column.is_hidden_empty and all(line[i] == values.NOTHING for line in cells)
        natural.append(0 if is_empty else max(cell_len(text) for text in (column.title, *(c[i] for c in cells))))
    return natural


def table_view(rows: Sequence[Row], columns: Sequence[Column[Row]], width: int, encoding: str = "utf-8") -> Table:
    """A table for a terminal of ``width`` in which every row takes one line.

    Args:
        encoding: of the terminal; what it lacks is shown as a question mark.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from rafiki_cli.render.look import can_encode

    overflow: Literal["ellipsis", "crop"] = "ellipsis" if can_encode(encoding) else "crop"
    cells = [[c.encode(encoding, "replace").decode(encoding) for c in line] for line in _short_cells(rows, columns)]
    widths = fit(columns, natural_widths(rows, columns), width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for i, w in sorted(widths.items()):
        justify = "right" if columns[i].is_right else "left"
        table.add_column(columns[i].title, justify=justify, no_wrap=True, overflow=overflow, width=w)  # type: ignore[arg-type]
    for line in cells:
        # As Text, so that brackets in names and knobs are not read as markup.
        table.add_row(*(Text(line[i], style=STATUS_STYLES.get(line[i], "")) for i in sorted(widths)))
    return table


STATUS_STYLES = {
    "RUNNING": "cyan",
    "STARTED": "cyan",
    "DEPLOYING": "cyan",
    "COMPLETED": "green",
    "STOPPED": "dim",
    "ERRORED": "red",
    "PENDING": "yellow",
    "ABSENT": "red",
    "★": "bold yellow",
}
