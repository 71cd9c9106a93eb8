"""``rafiki context ...``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rafiki.client.trust import Trust
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import arguments
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Column, Format, FormatOption, put_data, put_record, put_rows
from rafiki_cli.target import contexts, session

app = new_app("Name the admins you work with, and choose among them.")


@dataclass(frozen=True)
class ContextRow:
    """A context in the list of all."""

    name: str
    address: str
    login: str | None
    is_current: bool
    is_in_force: bool


@dataclass(frozen=True)
class ContextRecord:
    """A context, or the admin that is in force without one."""

    name: str | None
    address: str
    why: str | None
    login: str | None


_COLUMNS: list[Column[ContextRow]] = [
    Column("", lambda r: "*" if r.is_in_force else " "),
    Column("NAME", lambda r: r.name, least=8),
    Column("ADMIN", lambda r: r.address),
    Column("LOGIN", lambda r: r.login, least=12),
]
_WHY = {
    session.Source.ADMIN_OPTION: "--admin names it.",
    session.Source.CONTEXT_OPTION: "--context names it.",
    session.Source.ENVIRONMENT: "RAFIKI_HOST in the environment names it, and goes before contexts.",
    session.Source.CONTEXT: "it is the current context.",
    session.Source.STACK: "no other context is chosen, and this is the stack of this folder.",
    session.Source.DOWN: "no other context is chosen, and this is the stack of this folder, which does not run.",
    session.Source.CONFIGURED: "no other context is chosen, and this is the port that is configured here.",
    session.Source.DEFAULT: "no other context is chosen, there is no project here, and this is the default port.",
}


def _login_of(address: str) -> str | None:
    login = session.find_login(address)
    return login["email"] if login else None


@app.command(
    epilog=examples(
        "rafiki context add prod --host rafiki.example.org:3000",
        "rafiki context add cloud --host https://rafiki.example.org:443 --use",
        "rafiki context add lab --host https://lab:3000 --ca lab.pem",
    )
)
def add(
    cli: Application,
    name: Annotated[str, typer.Argument(help="A name of your choice.")],
    host: Annotated[str, typer.Option(help="The admin: HOST:PORT, or https://HOST:PORT where it speaks TLS.")],
    use: Annotated[bool, typer.Option("--use", help="Also make it the current context.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Take the place of a context of that name.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Name an admin. With --ca its certificate is checked against the authorities in that file from then on."""
    from rafiki.client.http_server import join_address

    contexts.check_new_name(name)
    address = join_address(*session.parse_address(host, "--host", "an admin"))
    with contexts.user_files_locked():
        kept = contexts.read_contexts()
        if name in kept.hosts and kept.hosts[name] != address and not force:
            raise terminal.UsageError(
                f"The context {name!r} is there already, for {kept.hosts[name]}. Replace it with --force."
            )
        cas = {n: file for n, file in kept.cas.items() if n != name}
        if cli.options.ca is not None:
            cas[name] = str(_certificates(cli.options.ca))
        current = name if use else kept.current
        contexts.write_contexts(contexts.Contexts({**kept.hosts, name: address}, current, cas))
    if format is not Format.TABLE:
        put_data({"name": name, "address": address, "is_current": use or kept.current == name}, format)
    terminal.say(f"The context {name!r} means the admin at {address}.")
    if use:
        terminal.say(f"Commands go to {name!r} from now on.")
    if _login_of(address) is None:
        terminal.hint(f"Next: rafiki --context {name} login EMAIL")
    elif not use:
        terminal.hint(f"Next: rafiki context use {name}")


def _certificates(ca: str) -> Path:
    """The file as it is kept.

    Raises:
        ConfigError: it cannot be used.
    """
    file = Path(ca).expanduser().resolve()
    Trust(ca=str(file)).context()
    return file


@app.command(epilog=examples("rafiki context use prod", "rafiki context use local"))
def use(cli: Application, name: arguments.ContextArgument) -> None:
    """Make a context the current one: commands in every folder go to its admin."""
    with contexts.user_files_locked():
        kept = contexts.read_contexts()
        host = kept.host_of(name)
        contexts.write_contexts(contexts.Contexts(kept.hosts, None if host is None else name, kept.cas))
    if host is None:
        terminal.say("Commands go to the stack of the folder they are run in.")
    else:
        terminal.say(f"Commands go to {host} from now on. `rafiki context use {contexts.LOCAL}` goes back.")
    _warn_of_others(cli, name)


def _warn_of_others(cli: Application, name: str) -> None:
    """Tell what goes before the current context here."""
    found = cli.target()
    if found.source is session.Source.ENVIRONMENT:
        terminal.warn(f"RAFIKI_HOST is set to {found.address}, and goes before the context {name!r}.")


@app.command("list", epilog=examples("rafiki context list", "rafiki context list -o json"))
def list_(cli: Application, format: FormatOption = Format.TABLE) -> None:
    """List the contexts, and show which admin commands go to here, and why."""
    kept, found = contexts.read_contexts(), cli.target()
    here = session.local_target(cli).address
    rows = [
        ContextRow(
            name=name,
            address=address,
            login=_login_of(address),
            is_current=name == (kept.current or contexts.LOCAL),
            is_in_force=name == found.context and found.source not in _NO_CONTEXT,
        )
        for name, address in [(contexts.LOCAL, here), *kept.hosts.items()]
    ]
    put_rows(rows, _COLUMNS, format)
    if format is Format.TABLE:
        terminal.say(f"In force: {found.address}, because {_WHY[found.source]}")


_NO_CONTEXT = (session.Source.ADMIN_OPTION, session.Source.ENVIRONMENT)


@app.command(epilog=examples("rafiki context show", "rafiki context show prod -o json"))
def show(cli: Application, name: arguments.OptionalContextArgument = None, format: FormatOption = Format.TABLE) -> None:
    """Show a context; without a name, the admin that commands go to here, and why."""
    from rafiki.user_environment import token_from_environment

    if name is None:
        found = cli.target()
        context = None if found.source in _NO_CONTEXT else found.context
        address, why = found.address, _WHY[found.source]
    else:
        host = contexts.read_contexts().host_of(name)
        context, address, why = name, host or session.local_target(cli).address, None
    token = session.TOKEN_VARIABLE if token_from_environment() else None
    record = ContextRecord(name=context, address=address, why=why, login=token or _login_of(address))
    columns: list[Column[ContextRecord]] = [
        Column("context", lambda r: r.name),
        Column("admin", lambda r: r.address),
        Column("login", lambda r: r.login),
    ]
    if why:
        columns.insert(2, Column("why", lambda r: r.why))
    put_record(record, columns, format)


@app.command(epilog=examples("rafiki context remove prod"))
def remove(name: arguments.ContextArgument) -> None:
    """Forget a context. The login that is kept for its admin stays."""
    with contexts.user_files_locked():
        kept = contexts.read_contexts()
        if kept.host_of(name) is None:
            raise terminal.UsageError(f"{contexts.LOCAL!r} is always there.")
        left = {n: h for n, h in kept.hosts.items() if n != name}
        cas = {n: file for n, file in kept.cas.items() if n != name}
        contexts.write_contexts(contexts.Contexts(left, None if kept.current == name else kept.current, cas))
    terminal.say(f"Removed the context {name!r}.")
    if kept.current == name:
        terminal.say("It was the current one: commands go to the stack of the folder they are run in.")
