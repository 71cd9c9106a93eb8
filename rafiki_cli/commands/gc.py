"""``rafiki gc``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import ExitCode, GarbageKind
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.durations import parse_duration
from rafiki_cli.render.output import Column, Format, FormatOption, error_column, put_data, put_rows

if TYPE_CHECKING:
    from rafiki.contract.garbage import GarbageItemView, GarbageView

app = new_app("Garbage.")
_COLUMNS: list[Column[GarbageItemView]] = [
    Column("KIND", lambda r: r.kind),
    Column("WHAT", lambda r: r.name, least=20),
    Column("SIZE", lambda r: values.size(r.size_bytes), is_right=True),
    Column("WHY", lambda r: r.reason, least=12),
    error_column(lambda r: r.error, "NOT FREED"),
]
_NOTHING = "There is nothing to free."

_EXAMPLES = """\
Examples:

  rafiki gc

  rafiki gc --older-than 30d --keep 5 --what params,logs --yes
"""


@app.command(epilog=_EXAMPLES)
def gc(
    cli: Application,
    older_than: Annotated[
        str, typer.Option(metavar="DURATION", help="Only what was of no use for so long: 12h, 7d, 2w; 0 = anything.")
    ] = "7d",
    keep: Annotated[
        int, typer.Option(min=1, help="Trials of each model of each train job, the best, that keep their parameters.")
    ] = 10,
    what: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS", help=f"Some of {', '.join(GarbageKind)}, with commas. [default: all]", show_default=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "--apply", "-y", help="Free it without a question.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Free what is not needed any more, after showing what would go: for admins.

    Parameters go when their trial is neither among the best of its model, nor served, nor was served last, and its
    train job has ended; environments, when no model depends on them; logs, when their service has ended; orphans are
    files that nothing refers to, such as of writers that were killed. Without a terminal and without --yes, nothing
    goes. Trials stay, with their knobs, scores and logs.
    """
    kinds = _kinds(what)
    older_than_s = parse_duration(older_than, "--older-than", may_be_zero=True)
    client = cli.client()
    found = client.collect_garbage(kinds, keep=keep, older_than_s=older_than_s)
    if not found.items:
        _put(found, format)
        return
    if not yes:
        _put(found, format)
        if not _may_ask(format):
            terminal.say("Nothing was freed. Free it with --yes.")
            return
        if not terminal.ask("Free all of this?"):
            terminal.say("Nothing was freed.")
            return
    # What was shown goes, and nothing that came up since.
    shown = [item.id for item in found.items]
    freed = client.collect_garbage(kinds, keep=keep, older_than_s=older_than_s, apply=True, only=shown)
    failed = [item for item in freed.items if not item.is_freed]
    if yes:
        _put(freed, format)
    elif failed:
        import msgspec

        _put(msgspec.structs.replace(freed, items=failed), format)
    count = len(freed.items) - len(failed)
    terminal.say(f"Freed {values.count(count, 'thing')}, {values.size(freed.size_bytes)}.")
    if failed:
        terminal.report(f"{values.count(len(failed), 'thing')} could not be freed.")
        terminal.finish(ExitCode.FAILURE)


def _kinds(text: str | None) -> list[GarbageKind] | None:
    if text is None:
        return None
    kinds = [kind.strip().lower() for kind in text.split(",") if kind.strip()]
    if not kinds or (unknown := [kind for kind in kinds if kind not in list(GarbageKind)]):
        wrong = f" {unknown[0]!r} is none of them." if kinds else ""
        raise terminal.UsageError(f"--what {text}: write some of {', '.join(GarbageKind)}, with commas.{wrong}")
    return [GarbageKind(kind) for kind in dict.fromkeys(kinds)]


def _may_ask(format: Format) -> bool:
    return format is Format.TABLE and terminal.is_interactive() and sys.stdin.isatty()


def _put(found: GarbageView, format: Format) -> None:
    if format is not Format.TABLE:
        put_data(found, format)
        return
    put_rows(found.items, _COLUMNS, format, nothing=_NOTHING)
    if found.items and not found.is_applied:
        terminal.say(_totals(found.items))


def _totals(items: Sequence[GarbageItemView]) -> str:
    """``params: 12 things, 3.4 MB; logs: 3 things, 12.0 kB; in all 3.4 MB``."""
    parts = []
    for kind in GarbageKind:
        sizes = [item.size_bytes for item in items if item.kind == kind]
        if sizes:
            parts.append(f"{kind}: {values.count(len(sizes), 'thing')}, {values.size(sum(sizes))}")
    return "; ".join([*parts, f"in all {values.size(sum(item.size_bytes for item in items))}"])
