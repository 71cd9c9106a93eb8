"""``rafiki logs``."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_data, put_rows, time_column
from rafiki_cli.target.logs import Log, find_log, list_logs

app = new_app("Logs of the stack of this folder.")
_FOLLOW_WAIT_S = 0.25


_COLUMNS: list[Column[Log]] = [
    Column("NAME", lambda r: r.name, least=20),
    Column("ATTEMPT", lambda r: r.attempt if (r.attempt or 1) > 1 else None, is_right=True, is_hidden_empty=True),
    Column("SIZE", lambda r: values.size(r.size_bytes), is_right=True),
    time_column("LAST WRITTEN", lambda r: datetime.fromisoformat(r.datetime_written), rank=1),
    Column("ID", lambda r: (r.service_id or "")[:8] or None, rank=2, is_hidden_empty=True),
]


@app.command(
    epilog=examples("rafiki logs", "rafiki logs admin -n 20", "rafiki logs admin --follow", "rafiki logs train demo/1")
)
def logs(
    cli: Application,
    service: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SERVICE]...",
            help="admin, cache, or a service by its name (`train demo/1 SkDt#2`) or id, or by a part that fits one.",
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
    if not service:
        put_rows(list_logs(folder), _COLUMNS, format, nothing=f"No logs in {folder}. Start the stack with `rafiki up`.")
        return
    log = find_log(folder, " ".join(service))
    file = Path(log.path)
    found = tail_lines(file, lines, max_bytes=max(65536, lines * 1000))
    if format is not Format.TABLE:
        put_data({"name": log.name, "service_id": log.service_id, "path": log.path, "lines": found}, format)
        return
    for line in found:
        terminal.put(line)
    if follow:
        _follow_while_up(cli, file)


def _follow_while_up(cli: Application, file: Path) -> None:
    """What is written from now on, as long as the stack runs and its admin does not hang.

    Raises:
        UnreachableError: the stack was put down, or its admin is lost.
    """
    from rafiki_cli.target.local_stack import find_admin, reachable_host, why_down
    from rafiki_cli.watch.health import while_answering

    folder = cli.own_stack_folder()
    running = find_admin(folder)

    def is_away() -> bool:
        return find_admin(folder) is None and not folder.is_starting

    with contextlib.ExitStack() as stack:
        if running is not None:
            from rafiki.client.http_server import join_address
            from rafiki.client.trust import of_running

            host, trust = of_running(running, reachable_host(running.host))
            stack.enter_context(while_answering(join_address(host, running.port), trust))
        _follow(file, is_away)
    raise why_down(folder)


def _follow(file: Path, is_over: Callable[[], bool]) -> None:
    """What is written from now on, until it is over, and all that was written before that."""
    wait = threading.Event()
    with contextlib.ExitStack() as stack:
        f = _open_at_end(file, stack)
        is_last = False
        while not is_last:
            is_last = is_over()
            while line := f.readline():
                terminal.put(line.decode("utf-8", "replace").rstrip("\n"))
            with contextlib.suppress(FileNotFoundError):
                now, here = file.stat(), os.fstat(f.fileno())
                if now.st_ino != here.st_ino:  # rotated: a new file has its name
                    f = _open_at_end(file, stack)
                    f.seek(0)
                elif now.st_size < f.tell():  # emptied
                    f.seek(0)
            if not is_last:
                wait.wait(_FOLLOW_WAIT_S)


def _open_at_end(file: Path, stack: contextlib.ExitStack) -> BinaryIO:
    f = stack.enter_context(file.open("rb"))
    f.seek(0, os.SEEK_END)
    return f
