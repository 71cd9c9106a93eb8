"""``rafiki logs``."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from rafiki.errors import InvalidServiceError
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_data, put_rows, time_column

app = new_app("Logs of the stack of this folder.")
_FOLLOW_WAIT_S = 0.25


@dataclass(frozen=True)
class LogRow:
    """A log in the list of all."""

    name: str
    size_bytes: int
    datetime_written: str
    path: str


_COLUMNS: list[Column[LogRow]] = [
    Column("NAME", lambda r: r.name, least=20),
    Column("SIZE", lambda r: values.size(r.size_bytes), is_right=True),
    time_column("LAST WRITTEN", lambda r: datetime.fromisoformat(r.datetime_written), rank=1),
]


class NoSuchLogError(InvalidServiceError):
    """There is no such log. `rafiki logs` lists those there are."""


@app.command(epilog=examples("rafiki logs", "rafiki logs admin -n 20", "rafiki logs admin --follow"))
def logs(
    cli: Application,
    service: Annotated[
        str | None,
        typer.Argument(
            help="admin, cache, or a service: its log's name or its id (the first letters).",
            autocompletion=completers.logs,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines to show.")] = 100,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the log of the admin, the cache or a service; without a name, list what logs there are."""
    from rafiki.utils.files import tail_lines

    if follow and format is not Format.TABLE:
        raise terminal.UsageError(f"-o {format} needs an end, and --follow has none. Leave one of them out.")
    folder = cli.own_stack_folder().logs
    if service is None:
        _list(folder, format)
        return
    file = find_log(folder, service)
    found = tail_lines(file, lines, max_bytes=max(65536, lines * 1000))
    if format is not Format.TABLE:
        put_data({"name": file.stem, "path": str(file), "lines": found}, format)
        return
    for line in found:
        terminal.put(line)
    if follow:
        _follow(file)


def _list(folder: Path, format: Format) -> None:
    rows = []
    for file in sorted(folder.glob("*.log")):
        stat = file.stat()
        written = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat()
        rows.append(LogRow(file.stem, stat.st_size, written, str(file)))
    put_rows(rows, _COLUMNS, format, nothing=f"No logs in {folder}. Start the stack with `rafiki up`.")


def find_log(folder: Path, name: str) -> Path:
    """The log file that ``name`` means: a file's name without .log, or the beginning of a service's id.

    Raises:
        NoSuchLogError: when none or several match.
    """
    files = sorted(folder.glob("*.log"))
    wanted = name.removesuffix(".log").lower()
    exact = [f for f in files if f.stem.lower() == wanted]
    found = exact or [f for f in files if f.stem.lower().startswith(wanted) or f"-{wanted}" in f.stem.lower()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoSuchLogError(f"No log of {name!r} in {folder}. `rafiki logs` lists what logs there are.")
    names = ", ".join(f.stem for f in found[:5])
    raise NoSuchLogError(
        f"{name!r} fits {len(found)} logs ({names}{' ...' if len(found) > 5 else ''}). Write more of the name."
    )


def _follow(file: Path) -> None:
    wait = threading.Event()
    with contextlib.ExitStack() as stack:
        f = _open_at_end(file, stack)
        while True:
            while line := f.readline():
                terminal.put(line.decode("utf-8", "replace").rstrip("\n"))
            with contextlib.suppress(FileNotFoundError):
                now, here = file.stat(), os.fstat(f.fileno())
                if now.st_ino != here.st_ino:  # rotated: a new file has its name
                    f = _open_at_end(file, stack)
                    f.seek(0)
                elif now.st_size < f.tell():  # emptied
                    f.seek(0)
            wait.wait(_FOLLOW_WAIT_S)


def _open_at_end(file: Path, stack: contextlib.ExitStack) -> BinaryIO:
    f = stack.enter_context(file.open("rb"))
    f.seek(0, os.SEEK_END)
    return f
