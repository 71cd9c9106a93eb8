"""``rafiki login``, ``logout`` and ``whoami``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.errors import UnauthorizedError
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Column, Format, FormatOption, put_record
from rafiki_cli.target import session

if TYPE_CHECKING:
    from rafiki.contract.users import UserView

app = new_app("Logging in.")


@app.command(
    epilog=examples(
        "rafiki login",
        "rafiki login ada@example.org",
        "rafiki login ada@example.org --password-file password.txt",
        "rafiki --context prod login ada@example.org",
    )
)
def login(
    cli: Application,
    email: Annotated[
        str | None, typer.Argument(help="Who you are; the superadmin of this folder's stack if left out.")
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the password.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
) -> None:
    """Log in at the admin; later commands are run as this user. The password is never an argument."""
    from rafiki.config import SUPERADMIN_EMAIL
    from rafiki.user_environment import token_from_environment

    admin = cli.target()
    if email is None:
        if not admin.is_local:
            raise terminal.UsageError(
                f"Whose login at {admin.address} (named by {admin.source})? Write `rafiki login EMAIL`."
            )
        email = SUPERADMIN_EMAIL
        own_file = cli.stack_folder().superadmin_password_file
        if password_file is None and not password_stdin and os.access(own_file, os.R_OK):
            password_file = own_file
    with cli.anonymous_client() as client:
        client.get_health()  # No password is asked for when nobody is there to check it.
        password = terminal.read_password(f"Password of {email}", password_file, password_stdin)
        answer = client.login(email=email, password=password)
        session.keep_login(client.address, email, answer, client.stack_id)
        terminal.say(f"Logged in at {client.address} as {email} ({answer.user_type}).")
    if token_from_environment():
        terminal.warn(f"{session.TOKEN_VARIABLE} is set in the environment and goes before this login.")


@app.command(epilog=examples("rafiki logout"))
def logout(cli: Application) -> None:
    """Forget the login at the admin."""
    address = cli.target().address
    found = session.forget_login(address)
    terminal.say(f"Logged out {found['email']} at {address}." if found else f"Not logged in at {address}.")


@app.command(epilog=examples("rafiki whoami", "rafiki whoami -o json"))
def whoami(cli: Application, format: FormatOption = Format.TABLE) -> None:
    """The user whom commands are run as."""
    with cli.client() as client:
        user = client.get_current_user()
        if user.banned_date:
            raise UnauthorizedError(f"{user.email} was banned. Log in as another user with `rafiki login`.")
        columns: list[Column[UserView]] = [
            Column("email", lambda r: r.email),
            Column("type", lambda r: r.user_type),
            Column("id", lambda r: r.id),
        ]
        columns.append(Column("admin", lambda _: client.address))
        if cli.is_token_from_environment:
            columns.append(Column("token", lambda _: f"from {session.TOKEN_VARIABLE}"))
        put_record(user, columns, format)
