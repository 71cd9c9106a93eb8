"""``rafiki audit``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.lazy import new_app
from rafiki_cli.render.output import Column, Format, FormatOption, put_rows, time_column

if TYPE_CHECKING:
    from rafiki.contract.audit import AuditEntry

app = new_app("The audit log.")
_COLUMNS: list[Column[AuditEntry]] = [
    time_column("TIME", lambda r: r.time),
    Column("USER", lambda r: r.user, least=16),
    Column("FROM", lambda r: r.address, rank=1),
    Column("ACTION", lambda r: r.action),
    Column("WHAT", lambda r: " ".join(f"{name}={text}" for name, text in r.subject.items()), least=16),
    Column("RESULT", lambda r: r.result),
]

_EXAMPLES = """\
Examples:

  rafiki audit

  rafiki audit --action login --since 1h

  rafiki audit --user ada@example.org --since 2026-11-30 -o json
"""


@app.command(epilog=_EXAMPLES)
def audit(
    cli: Application,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="EMAIL",
            help="Only what this user did, or what was tried in their name.",
            autocompletion=completers.users,
        ),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(metavar="ACTION", help="Only this: login, user.ban ...; or all of user, train ..."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Not before: 2h or 7d ago, or a date or time, as 2026-11-30.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="The newest so many.")] = 100,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show who did what, from where, when and with which result, oldest first: for admins.

    Logins and failed ones, and every call that changes something: users, tokens, models, datasets, jobs, deployments,
    nodes, deletions. Secrets are in none of it.
    """
    start = None if since is None else _moment(since)
    found = cli.client().get_audit(user=user, action=action, since=start, count=count)
    put_rows(found, _COLUMNS, format, nothing="Nothing of that is in the audit log.")


def _moment(text: str) -> datetime:
    """A point in time: so long ago, or a date or a time, in this machine's time zone unless it names one."""
    from rafiki.utils.clock import utc_now
    from rafiki_cli.render.durations import parse_duration

    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        pass
    try:
        return utc_now() - timedelta(seconds=parse_duration(text, "--since"))
    except (terminal.UsageError, OverflowError) as e:
        raise terminal.UsageError(
            f"--since {text}: write how long ago, such as 45m, 2h or 7d, or a date or time, such as 2026-11-30 or "
            "2026-11-30T14:00."
        ) from e
