"""``rafiki user ...``."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rafiki.constants import UserType
from rafiki_cli import session, terminal
from rafiki_cli.lazy import new_app
from rafiki_cli.render.output import Column, Format, FormatOption, id_column, put_record, put_rows, time_column

app = new_app("Create, list and ban users (for admins).")
_COLUMNS = [
    Column("EMAIL", "email", least=20),
    Column("TYPE", "user_type"),
    time_column("BANNED", "banned_date", is_hidden_empty=True),
    id_column(rank=1),
]


class NewUserType(StrEnum):
    """The types of users that can be made: there is one superadmin."""

    ADMIN = UserType.ADMIN
    MODEL_DEVELOPER = UserType.MODEL_DEVELOPER
    APP_DEVELOPER = UserType.APP_DEVELOPER


@app.command()
def create(
    email: str,
    type: Annotated[
        NewUserType, typer.Option(case_sensitive=False, help="What the user may do.")
    ] = NewUserType.APP_DEVELOPER,
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the password.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Create a user; the password is asked for, or read from a file or stdin."""
    client = session.client()
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    elif password_file is not None:
        password = terminal.read_text(password_file, "the password").strip()
    elif sys.stdin.isatty():
        password = terminal.ask_password(f"Password of {email}", confirm=True)
    else:
        raise terminal.UsageError(
            "There is no terminal to ask for the password. Use --password-stdin or --password-file."
        )
    put_record(client.create_user(email, password, UserType(type)), _COLUMNS, format)


@app.command("list")
def list_(format: FormatOption = Format.TABLE) -> None:
    """List all users."""
    put_rows(session.client().get_users(), _COLUMNS, format)


@app.command()
def ban(
    email: str,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Ban a user. There is no way back."""
    client = session.client()
    if not yes:
        if not sys.stdin.isatty():
            raise terminal.UsageError("A ban is for good. Confirm it with --yes.")
        if not terminal.ask(f"Ban {email} for good?"):
            terminal.abort("Nobody was banned.")
    put_record(client.ban_user(email), _COLUMNS, format)
