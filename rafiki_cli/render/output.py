"""Puts data out as a table, as JSON or as YAML."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from rafiki_cli import terminal
from rafiki_cli.render import values

Row = Mapping[str, Any]


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="table, json or yaml.")]


class Column(NamedTuple):
    """A column of a table: its title, and a key of the row or a function of it."""

    title: str
    value: str | Callable[[Row], Any]
    is_right: bool = False

    def cell(self, row: Row) -> str:
        found = row.get(self.value) if isinstance(self.value, str) else self.value(row)
        return values.text(found)


def put_rows(rows: Sequence[Row], columns: Sequence[Column], format: Format, *, nothing: str = "") -> None:
    """Put out a list. JSON and YAML hold the rows as they are; a table shows ``columns``.

    Args:
        nothing: what to tell people, on stderr, when there are no rows.
    """
    if format is not Format.TABLE:
        put_data(list(rows), format)
        return
    if rows:
        _put_table([c.title for c in columns], [[c.cell(row) for c in columns] for row in rows], columns)
    elif nothing:
        terminal.say(nothing)


def put_record(record: Row, columns: Sequence[Column], format: Format) -> None:
    """Put out one thing: a line for each column, or the whole record as JSON or YAML."""
    if format is not Format.TABLE:
        put_data(dict(record), format)
        return
    width = max(len(c.title) for c in columns)
    for column in columns:
        lines = column.cell(record).splitlines() or [""]
        title = (
            typer.style(column.title.ljust(width), bold=True)
            if terminal.is_interactive()
            else column.title.ljust(width)
        )
        terminal.put(f"{title}  {lines[0]}")
        for line in lines[1:]:
            terminal.put(f"{' ' * width}  {line}")


def put_data(data: Any, format: Format) -> None:
    """Put out plain values as JSON (also where a table is asked for but makes no sense) or YAML."""
    if format is Format.YAML:
        import yaml

        terminal.put(yaml.safe_dump(data, sort_keys=False, allow_unicode=True).rstrip("\n"))
    else:
        terminal.put(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def _put_table(titles: list[str], cells: list[list[str]], columns: Sequence[Column]) -> None:
    if terminal.is_interactive():
        _put_rich(titles, cells, columns)
        return
    # Into a pipe or a file: nothing is cut, whatever the width.
    widths = [max(len(line[i]) for line in [titles, *cells]) for i in range(len(titles))]
    for line in [titles, *cells]:
        parts = [
            text.rjust(w) if c.is_right else text.ljust(w) for text, w, c in zip(line, widths, columns, strict=True)
        ]
        terminal.put("  ".join(parts).rstrip())


def _put_rich(titles: list[str], cells: list[list[str]], columns: Sequence[Column]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, column in zip(titles, columns, strict=True):
        table.add_column(title, justify="right" if column.is_right else "left", overflow="fold")
    for line in cells:
        # As Text, so that brackets in names and knobs are not read as markup.
        table.add_row(*(Text(cell, style=STATUS_STYLES.get(cell, "")) for cell in line))
    Console().print(table)


STATUS_STYLES = {
    "RUNNING": "cyan",
    "STARTED": "cyan",
    "DEPLOYING": "cyan",
    "COMPLETED": "green",
    "STOPPED": "dim",
    "ERRORED": "red",
    "PENDING": "yellow",
    "★": "bold yellow",
}
