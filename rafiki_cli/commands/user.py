"""``rafiki user ...``."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import UserType
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.completion.arguments import EmailArgument
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Column, Format, FormatOption, id_column, put_record, put_rows, time_column
from rafiki_cli.target import session

if TYPE_CHECKING:
    from rafiki.contract.users import UserView

app = new_app("Create, list and ban users, for admins; change passwords.")
_COLUMNS: list[Column[UserView]] = [
    Column("EMAIL", lambda r: r.email, least=20),
    Column("TYPE", lambda r: r.user_type),
    time_column("BANNED", lambda r: r.banned_date, is_hidden_empty=True),
    id_column(rank=1),
]


class NewUserType(StrEnum):
    """The types of users that can be made: there is one superadmin."""

    ADMIN = UserType.ADMIN
    MODEL_DEVELOPER = UserType.MODEL_DEVELOPER
    APP_DEVELOPER = UserType.APP_DEVELOPER


@app.command(
    epilog=examples(
        "rafiki user create ada@example.org --type MODEL_DEVELOPER",
        "rafiki user create bob@example.org --password-file password.txt",
    )
)
def create(
    cli: Application,
    email: Annotated[str, typer.Argument(help="The new user's email, which is their name here.")],
    type: Annotated[
        NewUserType, typer.Option(case_sensitive=False, help="What the user may do.")
    ] = NewUserType.APP_DEVELOPER,
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the password.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Create a user; the password is asked for, or read from a file or stdin."""
    client = cli.client()
    password = terminal.read_password(f"Password of {email}", password_file, password_stdin, confirm=True)
    put_record(client.create_user(email, password, UserType(type), is_typed=True), _COLUMNS, format)
    if format is Format.TABLE:
        terminal.hint(f"Next: rafiki login {email}, as that user")


@app.command(
    epilog=examples(
        "rafiki user password",
        "rafiki user password --old-password-file old.txt --password-file new.txt",
        "rafiki user password ada@example.org",
    )
)
def password(
    cli: Application,
    email: Annotated[
        str | None,
        typer.Argument(help="Whose, for admins; your own if left out.", autocompletion=completers.users),
    ] = None,
    old_password_file: Annotated[Path | None, typer.Option(help="A file that holds your present password.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the new password.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the new password from stdin.")] = False,
) -> None:
    """Change your password, or reset that of a user. It ends their logins, not their API tokens."""
    client = cli.client()
    me = client.get_current_user()
    is_own = email is None or email.casefold() == me.email.casefold()
    old = None
    if is_own:
        if old_password_file is None and not sys.stdin.isatty():
            raise terminal.UsageError("There is no terminal to ask for the present password. Use --old-password-file.")
        old = terminal.read_password(f"Present password of {me.email}", old_password_file, False)
    new = terminal.read_password(f"New password of {email or me.email}", password_file, password_stdin, confirm=True)
    changed = client.set_password(new, old_password=old, email=None if is_own else email)
    terminal.say(f"The password of {changed.email} is changed. Logins that were made with the old one have ended.")
    if is_own and not cli.is_token_from_environment:
        session.keep_login(client.address, changed.email, client.login(changed.email, new))


@app.command(
    epilog=examples(
        "rafiki user identity ada@example.org --subject 8f14e45f-ceea",
        "rafiki user identity ada@example.org --none",
    )
)
def identity(
    cli: Application,
    email: EmailArgument,
    subject: Annotated[
        str | None, typer.Option(metavar="SUB", help="The user's id at the provider, its claim `sub`.")
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Take all such accounts from the user.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Link a user to an account of your organisation, or take it from them.

    Users link their own with `rafiki login --oidc --link EMAIL`.
    """
    if (subject is None) is not none:
        raise terminal.UsageError("Give --subject SUB, or --none.")
    put_record(cli.client().set_identity(email, subject), _COLUMNS, format)


@app.command("list", epilog=examples("rafiki user list"))
def list_(cli: Application, format: FormatOption = Format.TABLE) -> None:
    """List all users."""
    put_rows(cli.client().get_users(), _COLUMNS, format)


@app.command(epilog=examples("rafiki user role bob@example.org MODEL_DEVELOPER"))
def role(
    cli: Application,
    email: EmailArgument,
    type: Annotated[NewUserType, typer.Argument(metavar="ROLE", case_sensitive=False, help="What the user may do.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Change the role of a user, from their next call on: ADMIN, MODEL_DEVELOPER or APP_DEVELOPER.

    Only the superadmin makes admins, and takes that role from them. Nobody changes their own.
    """
    put_record(cli.client().set_user_type(email, UserType(type)), _COLUMNS, format)


@app.command(
    epilog=examples("rafiki user ban bob@example.org", "rafiki user ban bob@example.org --hand-over-to ada@example.org")
)
def ban(
    cli: Application,
    email: EmailArgument,
    hand_over_to: Annotated[
        str | None,
        typer.Option(
            metavar="EMAIL",
            help="Who gets their datasets, models and jobs, which go on.",
            autocompletion=completers.users,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Ban a user. Their jobs and deployments end, unless they are handed over. There is no way back."""
    client = cli.client()
    fate = "end their jobs" if hand_over_to is None else f"give what they own to {hand_over_to}"
    if not yes and not terminal.ask(f"Ban {email} for good, and {fate}?"):
        terminal.abort("Nobody was banned.")
    put_record(client.ban_user(email, hand_over_to=hand_over_to), _COLUMNS, format)
