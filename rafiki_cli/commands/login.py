"""``rafiki login``, ``logout`` and ``whoami``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rafiki.errors import UnauthorizedError
from rafiki_cli import options, session, terminal
from rafiki_cli.lazy import new_app
from rafiki_cli.render.output import Column, Format, FormatOption, put_record

app = new_app("Logging in.")


@app.command()
def login(
    email: Annotated[
        str | None, typer.Argument(help="Who you are; the superadmin of this folder's stack if left out.")
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the password.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
) -> None:
    """Log in at the admin; later commands are run as this user. The password is never an argument."""
    from rafiki.config import SUPERADMIN_EMAIL

    own_file = None
    if email is None:
        if not session.is_local_stack():
            raise terminal.UsageError("Whose login? Write `rafiki --admin HOST:PORT login EMAIL`.")
        email = SUPERADMIN_EMAIL
        own_file = options.stack_folder().superadmin_password_file
    with session.anonymous_client() as client:
        client.get_health()  # No password is asked for when nobody is there to check it.
        password = _password(email, password_file, password_stdin, own_file)
        answer = client.login(email=email, password=password)
        session.keep_login(client.address, email, answer)
        terminal.say(f"Logged in at {client.address} as {email} ({answer['user_type']}).")


def _password(email: str, file: Path | None, from_stdin: bool, own_file: Path | None) -> str:
    if file is not None and from_stdin:
        raise terminal.UsageError("Give --password-file or --password-stdin, not both.")
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if file is not None:
        return terminal.read_text(file, "the password").strip()
    if own_file is not None and os.access(own_file, os.R_OK):
        return terminal.read_text(own_file, "the password").strip()
    if not sys.stdin.isatty():
        raise terminal.UsageError(
            "There is no terminal to ask for the password. Use --password-stdin or --password-file."
        )
    return terminal.ask_password(f"Password of {email}")


@app.command()
def logout() -> None:
    """Forget the login at the admin."""
    from rafiki.client.transport import join_address

    address = join_address(*session.admin_address())
    found = session.forget_login(address)
    terminal.say(f"Logged out {found['email']} at {address}." if found else f"Not logged in at {address}.")


@app.command()
def whoami(format: FormatOption = Format.TABLE) -> None:
    """The user whom commands are run as."""
    with session.client() as client:
        user = client.get_current_user()
        if user.get("banned_date"):
            raise UnauthorizedError(f"{user['email']} was banned. Log in as another user with `rafiki login`.")
        columns = [Column("email", "email"), Column("type", "user_type"), Column("id", "id")]
        columns.append(Column("admin", lambda _: client.address))
        put_record(user, columns, format)
