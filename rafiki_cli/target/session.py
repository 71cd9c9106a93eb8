"""Which admin a command talks to, and as whom: logins are kept by the admin's address in one private file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rafiki.client.kept_logins import Login, read_logins
from rafiki.client.kept_logins import find_login as find_login
from rafiki.client.kept_logins import logins_file as logins_file
from rafiki.errors import ConfigError, InvalidPasswordError, InvalidRequestError, UnauthorizedError
from rafiki_cli import terminal
from rafiki_cli.target import contexts
from rafiki_cli.terminal import UsageError

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.users import TokenView
    from rafiki.utils.pid_file import PidFile
    from rafiki_cli.application import Application

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
TOKEN_VARIABLE = "RAFIKI_TOKEN"


class Source(StrEnum):
    """What named the admin; the first of these that is there wins."""

    ADMIN_OPTION = "--admin"
    CONTEXT_OPTION = "--context"
    ENVIRONMENT = "RAFIKI_HOST"
    CONTEXT = "the current context"
    STACK = "the stack of this folder"
    CONFIGURED = "the configured port"


class Target(NamedTuple):
    """The admin that commands talk to."""

    host: str
    port: int
    source: Source
    context: str = contexts.LOCAL

    @property
    def address(self) -> str:
        from rafiki.client.http_server import join_address

        return join_address(self.host, self.port)

    @property
    def is_local(self) -> bool:
        """Whether it is the stack of this folder, running or not."""
        return self.source in (Source.STACK, Source.CONFIGURED)


def reachable_host(host: str) -> str:
    """The host to connect to for an address that a server binds."""
    return _ANY_ADDRESS.get(host, host)


def find_target(cli: Application) -> Target:
    """The admin: ``--admin``, else ``--context``, else ``RAFIKI_HOST``, else the current context, else the one that
    runs in the stack's folder, else the configured one.

    Raises:
        ConfigError: when the configuration is wrong, or there is no such context.
        UsageError: when an address is not ``host:port``, or --admin and --context are given both.
    """
    from rafiki.config import admin_from_environment

    current = cli.options
    if current.admin and current.context:
        raise UsageError("Give --admin or --context, not both.")
    if current.admin:
        return Target(*parse_address(current.admin, "--admin", "an admin"), Source.ADMIN_OPTION)
    if current.context:
        return _of_context(cli, contexts.read_contexts(), current.context, Source.CONTEXT_OPTION)
    if host := admin_from_environment():
        return Target(*parse_address(host, "RAFIKI_HOST", "an admin"), Source.ENVIRONMENT)
    kept = contexts.read_contexts()
    return _of_context(cli, kept, kept.current or contexts.LOCAL, Source.CONTEXT)


def _of_context(cli: Application, kept: contexts.Contexts, name: str, source: Source) -> Target:
    if host := kept.host_of(name):
        return Target(*parse_address(host, f"The context {name!r}", "an admin"), source, name)
    return local_target(cli)


def local_target(cli: Application) -> Target:
    """The admin that runs in the stack's folder, else the configured address.

    Raises:
        ConfigError: when the configuration is wrong.
    """
    from rafiki.stack_folder import StackFolder

    loaded = cli.loaded_config()
    if running := find_running(StackFolder(loaded).admin_pid_file):
        return Target(reachable_host(running.host), running.port, Source.STACK)
    return Target(reachable_host(loaded.config.admin.host), loaded.config.admin.port, Source.CONFIGURED)


def parse_address(address: str, option: str, what: str) -> tuple[str, int]:
    """The parts of ``host:port``.

    Raises:
        UsageError: when an option's value is not of that form.
    """
    from rafiki.client.http_server import split_address

    try:
        return split_address(address, what)
    except InvalidRequestError as e:
        raise UsageError(f"{option}: {e.message}") from e


def find_running(pid_file: Path) -> PidFile | None:
    """The process that a pid file names, if it runs; None too when the file belongs to another user's stack."""
    from rafiki.utils.pid_file import PidFile

    try:
        return PidFile.load(pid_file)
    except PermissionError:
        return None


# ---- kept logins ---------------------------------------------------------------------------------------------------


def keep_login(address: str, email: str, answer: TokenView) -> None:
    """Keep a login for later commands."""
    with contexts.user_files_locked():
        logins = read_logins()
        logins[address] = {"email": email, "user_type": str(answer.user_type), "token": answer.token}
        contexts.write_user_file(logins_file(), logins)


def forget_login(address: str) -> Login | None:
    """Remove the login kept for an admin; returns it."""
    if find_login(address) is None:
        return None
    with contexts.user_files_locked():
        logins = read_logins()
        found = logins.pop(address, None)
        contexts.write_user_file(logins_file(), logins)
    return found


# ---- clients -------------------------------------------------------------------------------------------------------


def open_client(cli: Application) -> AdminClient:
    """A client with ``RAFIKI_TOKEN``, else with the login that is kept for the admin.

    Whoever may read the superadmin's password of the stack that runs in this folder needs to do nothing: they are
    logged in by themselves.

    Raises:
        UnauthorizedError: when there is no login.
    """
    from rafiki.client.records import AdminClient
    from rafiki.config import SUPERADMIN_EMAIL, token_from_environment

    admin = cli.target()
    found = AdminClient(admin.host, admin.port)
    if token := token_from_environment():
        refuse_to_send(token, admin)
        found.token = token
        cli.is_token_from_environment = True
        return found
    login = find_login(found.address)
    if login is not None:
        found.token = login["token"]
    if admin.source is Source.STACK and (login is None or login["email"] == SUPERADMIN_EMAIL):
        _log_in_as_owner(cli, found)
    if found.token is None:
        words = "rafiki login" if admin.is_local else f"rafiki{_selection(admin)} login EMAIL"
        raise UnauthorizedError(f"Not logged in at {found.address}. Log in with `{words}`, or set {TOKEN_VARIABLE}.")
    return found


def refuse_to_send(token: str, admin: Target) -> None:
    """Keep ``RAFIKI_TOKEN`` from an admin that nobody but a rafiki.yaml names: the folder may be somebody else's.

    Raises:
        UnauthorizedError: when that admin is on another machine.
    """
    if token and admin.source is Source.CONFIGURED and admin.host not in _LOOPBACK:
        raise UnauthorizedError(
            f"{TOKEN_VARIABLE} is not sent to {admin.address}, which only this folder's rafiki.yaml names. Name the "
            "admin with RAFIKI_HOST, with --admin, or with a context."
        )


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _selection(admin: Target) -> str:
    """The option that a command needs to talk to the same admin again."""
    if admin.source is Source.ADMIN_OPTION:
        return f" --admin {admin.address}"
    return f" --context {admin.context}" if admin.source is Source.CONTEXT_OPTION else ""


def _log_in_as_owner(cli: Application, client: AdminClient) -> None:
    """Log in as the superadmin of the stack of this folder, where this user may read its password.

    A login that was kept may be too old, or of another stack that had the same port, so it is tried first.
    """
    from rafiki.config import SUPERADMIN_EMAIL

    file = cli.stack_folder().superadmin_password_file
    try:
        password = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return
    if client.token is not None:
        try:
            client.get_current_user()
            return
        except UnauthorizedError:
            client.logout()
    try:
        answer = client.login(SUPERADMIN_EMAIL, password)
    except InvalidPasswordError as e:
        raise UnauthorizedError(
            f"Not logged in at {client.address}: the superadmin has another password by now than that in {file}. "
            "Log in with `rafiki login EMAIL`."
        ) from e
    terminal.say(f"Logged in at {client.address} as {SUPERADMIN_EMAIL}, with the password in {file}.")
    try:
        keep_login(client.address, SUPERADMIN_EMAIL, answer)
    except ConfigError as e:
        terminal.warn(f"{e.message} Every command logs in anew.")
