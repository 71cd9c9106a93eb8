"""``rafiki user ...``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rafiki.constants import UserType
from rafiki_cli import session, terminal
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_record, put_rows

app = new_app("Create, list and ban users (for admins).")
_COLUMNS = [
    Column("EMAIL", "email"),
    Column("TYPE", "user_type"),
    Column("BANNED", lambda r: values.local_time(r.get("banned_date"))),
    Column("ID", "id"),
]


@app.command()
def create(
    email: str,
    type: Annotated[
        UserType, typer.Option(case_sensitive=False, help="What the user may do.")
    ] = UserType.APP_DEVELOPER,
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the password.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Create a user; the password is asked for, or read from a file or stdin."""
    client = session.client()
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    elif password_file is not None:
        try:
            password = password_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as e:
            raise terminal.UsageError(f"{password_file}: the password cannot be read: {e}.") from e
    elif sys.stdin.isatty():
        password = typer.prompt(f"Password of {email}", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise terminal.UsageError(
            "There is no terminal to ask for the password. Use --password-stdin or --password-file."
        )
    put_record(client.create_user(email, password, type), _COLUMNS, format)


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
        if not typer.confirm(f"Ban {email} for good?", err=True):
            terminal.abort("Nobody was banned.")
    put_record(client.ban_user(email), _COLUMNS, format)
