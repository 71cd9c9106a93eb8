"""``rafiki login``, ``logout`` and ``whoami``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.errors import NotFoundError, UnauthorizedError
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Column, Format, FormatOption, put_record
from rafiki_cli.target import session

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.users import UserView

app = new_app("Logging in.")


@app.command(
    epilog=examples(
        "rafiki login",
        "rafiki login ada@example.org",
        "rafiki login ada@example.org --password-file password.txt",
        "rafiki --context prod login ada@example.org",
        "rafiki --context prod login --oidc",
        "rafiki login --oidc --link ada@example.org",
    )
)
def login(
    cli: Application,
    email: Annotated[
        str | None, typer.Argument(help="Who you are; the superadmin of this folder's stack if left out.")
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="A file that holds the password.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    oidc: Annotated[
        bool, typer.Option("--oidc", help="Log in with an account of your organisation, in a browser.")
    ] = False,
    browser: Annotated[
        bool | None,
        typer.Option(
            "--browser/--device",
            help="With --oidc: in a browser of this machine, or of any other device.",
            show_default="a browser where this machine shows one",
        ),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(metavar="EMAIL", help="With --oidc: link it to this user, whose password is asked for."),
    ] = None,
) -> None:
    """Log in at the admin; later commands are run as this user. The password is never an argument."""
    from rafiki.config import SUPERADMIN_EMAIL

    admin = cli.target()
    if oidc:
        if email is not None:
            raise terminal.UsageError(f"With --oidc the provider says who you are. Did you mean --link {email}?")
        _log_in_with_organisation(cli, browser, link, password_file, password_stdin)
        return
    if link is not None or browser is not None:
        raise terminal.UsageError("--browser, --device and --link belong to --oidc.")
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
        if password_file is None and not password_stdin and (issuer := _issuer(client)) is not None:
            terminal.hint(f"Accounts of {issuer} log in, too: `rafiki login --oidc`.")
        password = terminal.read_password(f"Password of {email}", password_file, password_stdin)
        answer = client.login(email=email, password=password)
        session.keep_login(client.address, email, answer, client.stack_id)
        terminal.say(f"Logged in at {client.address} as {email} ({answer.user_type}).")
    _warn_of_variable()


def _warn_of_variable() -> None:
    from rafiki.user_environment import token_from_environment

    if token_from_environment():
        terminal.warn(f"{session.TOKEN_VARIABLE} is set in the environment and goes before this login.")


def _issuer(client: AdminClient) -> str | None:
    """Whose accounts the server takes besides passwords; None of one that is older than that."""
    try:
        return client.get_oidc().issuer
    except NotFoundError:
        return None


def _log_in_with_organisation(
    cli: Application, browser: bool | None, link: str | None, password_file: Path | None, password_stdin: bool
) -> None:
    from rafiki.contract.users import TokenView
    from rafiki_cli.target import organisation

    if link is None and (password_file is not None or password_stdin):
        raise terminal.UsageError("--oidc asks for no password, unless a user is linked: --link EMAIL.")
    with cli.anonymous_client() as client:
        if _issuer(client) is None:
            raise NotFoundError(
                f"{client.address} takes no accounts of an organisation. Log in with a password: `rafiki login EMAIL`."
            )
        link_to = None
        if link is not None:
            password = terminal.read_password(f"Password of {link}", password_file, password_stdin)
            link_to = client.login(email=link, password=password).token
            client.logout()
        in_browser = organisation.has_browser() if browser is None else browser
        found = organisation.log_in(client, in_browser=in_browser, link_to=link_to)
        assert found.user_id is not None
        assert found.user_type is not None
        assert found.token is not None
        assert found.email is not None
        answer = TokenView(found.user_id, found.user_type, found.token)
        session.keep_login(client.address, found.email, answer, client.stack_id)
        how = {"created": ", a new user", "linked": ", with that account from now on"}.get(found.account or "", "")
        terminal.say(f"Logged in at {client.address} as {found.email} ({found.user_type}){how}.")
    _warn_of_variable()


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
