"""Which admin a command talks to, and as whom: logins are kept by the admin's address in one private file."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from rafiki.client.kept_logins import Login, read_logins
from rafiki.client.kept_logins import find_login as find_login
from rafiki.client.kept_logins import logins_file as logins_file
from rafiki.client.trust import Trust, told_trust
from rafiki.errors import ConfigError, InvalidPasswordError, InvalidRequestError, UnauthorizedError
from rafiki_cli import terminal
from rafiki_cli.target import contexts
from rafiki_cli.target.local_stack import How, check_it_runs, find_local
from rafiki_cli.target.stack_owner import is_of_another_user
from rafiki_cli.terminal import UsageError

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.users import TokenView
    from rafiki.stack_folder import StackFolder
    from rafiki_cli.application import Application

TOKEN_VARIABLE = "RAFIKI_TOKEN"


class Source(StrEnum):
    """What named the admin; the first of these that is there wins."""

    ADMIN_OPTION = "--admin"
    CONTEXT_OPTION = "--context"
    ENVIRONMENT = "RAFIKI_HOST"
    CONTEXT = "the current context"
    STACK = "the stack of this folder"
    DOWN = "the stack of this folder, which does not run"
    CONFIGURED = "the configured port"
    DEFAULT = "the default port"


_LOCAL_SOURCES = {
    How.RUNNING: Source.STACK,
    How.DOWN: Source.DOWN,
    How.CONFIGURED: Source.CONFIGURED,
    How.DEFAULT: Source.DEFAULT,
}


class Target(NamedTuple):
    """The admin that commands talk to."""

    host: str
    port: int
    source: Source
    context: str = contexts.LOCAL
    stack_id: str | None = None
    """Of the stack that is meant, where its folder says so: no other may answer."""
    trust: Trust | None = None
    """Whose certificates it and its predictors are to show; None = those of the machine's authorities."""

    @property
    def address(self) -> str:
        from rafiki.client.http_server import join_address

        return join_address(self.host, self.port)

    @property
    def is_local(self) -> bool:
        """Whether it is the stack of this folder, running or not."""
        return self.source in _LOCAL_SOURCES.values()


def find_target(cli: Application) -> Target:
    """The admin: ``--admin``, else ``--context``, else ``RAFIKI_HOST``, else the current context, else that of the
    project's stack, else, outside of any project, the one at the default port.

    Raises:
        ConfigError: when the configuration is wrong, or there is no such context.
        UsageError: when an address is not ``host:port``, or --admin and --context are given both.
    """
    from rafiki.user_environment import admin_from_environment

    current = cli.options
    if current.admin and current.context:
        raise UsageError("Give --admin or --context, not both.")
    if current.admin:
        return _of_address(current.admin, "--admin", Source.ADMIN_OPTION, current.ca)
    if current.context:
        return _of_context(cli, contexts.read_contexts(), current.context, Source.CONTEXT_OPTION)
    if host := admin_from_environment():
        return _of_address(host, "RAFIKI_HOST", Source.ENVIRONMENT, current.ca)
    kept = contexts.read_contexts()
    return _of_context(cli, kept, kept.current or contexts.LOCAL, Source.CONTEXT)


def _of_context(cli: Application, kept: contexts.Contexts, name: str, source: Source) -> Target:
    if host := kept.host_of(name):
        found = _of_address(host, f"The context {name!r}", source, cli.options.ca or kept.ca_of(name))
        return found._replace(context=name)
    return local_target(cli)


def _of_address(address: str, option: str, source: Source, ca: str | None) -> Target:
    return Target(*parse_address(address, option, "an admin"), source, trust=told_trust(ca))


def local_target(cli: Application) -> Target:
    """The admin of the stack of this folder; see :func:`rafiki_cli.target.local_stack.find_local`.

    Raises:
        ConfigError: when the configuration is wrong.
    """
    found = find_local(cli.loaded_config())
    trust = found.trust if cli.options.ca is None else told_trust(cli.options.ca)
    return Target(found.host, found.port, _LOCAL_SOURCES[found.how], stack_id=found.stack_id, trust=trust)


def reach_target(cli: Application) -> Target:
    """:func:`find_target`, for a command that is about to talk to the admin: it says so when that is not the project's
    own one.

    Raises:
        UnreachableError: the project's stack is meant, and does not run.
        ConfigError, UsageError: as :func:`find_target`.
    """
    found = find_target(cli)
    if found.source in (Source.DOWN, Source.CONFIGURED):
        check_it_runs(cli.loaded_config())
    elif found.source in (Source.ENVIRONMENT, Source.CONTEXT) and not cli.has_told_target:
        cli.has_told_target = True
        _tell_other(cli, found)
    return found


def _tell_other(cli: Application, found: Target) -> None:
    """Say that a project's folder is not asked, though the command is run in it."""
    from rafiki.config import configured_file

    file = configured_file(cli.options.config_file)
    if file is None:
        return
    try:
        own = local_target(cli)
    except (ConfigError, OSError):
        own = None  # It is not asked, so what is wrong with it does not matter.
    if own is not None and own.source is Source.STACK and own.address == found.address:
        return
    why = f"the context {found.context!r}" if found.source is Source.CONTEXT else "RAFIKI_HOST"
    terminal.say(
        f"This goes to {found.address} ({why}), not to the stack of {file.parent}. `--context local` chooses that one."
    )


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


# ---- kept logins ---------------------------------------------------------------------------------------------------


def keep_login(address: str, email: str, answer: TokenView, stack_id: str | None = None) -> None:
    """Keep a login for later commands."""
    made: Login = {"email": email, "user_type": str(answer.user_type), "token": answer.token}
    if stack_id is not None:
        made["stack"] = stack_id
    with contexts.user_files_locked():
        logins = read_logins()
        logins[address] = made
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
    from rafiki.config import SUPERADMIN_EMAIL
    from rafiki.user_environment import token_from_environment

    admin = reach_target(cli)
    found = AdminClient(admin.host, admin.port, trust=admin.trust)
    found.stack_id, found.stack = admin.stack_id, find_stack_folder(cli, admin)
    if token := token_from_environment():
        refuse_to_send(token, admin)
        found.token = token
        cli.is_token_from_environment = True
        return found
    login = find_login(found.address, admin.stack_id)
    if login is not None:
        found.token = login["token"]
    if admin.source is Source.STACK and (login is None or login["email"] == SUPERADMIN_EMAIL):
        _log_in_as_owner(cli, found)
    if found.token is None:
        words = "rafiki login" if admin.is_local else f"rafiki{_selection(admin)} login EMAIL"
        raise UnauthorizedError(f"Not logged in at {found.address}. Log in with `{words}`, or set {TOKEN_VARIABLE}.")
    return found


def find_stack_folder(cli: Application, admin: Target) -> StackFolder | None:
    """The folder of the stack, when it is on this machine and this user's: it tells why an admin does not answer."""
    folder = cli.stack_folder() if admin.source is Source.STACK else None
    return None if folder is None or is_of_another_user(folder) else folder


def refuse_to_send(token: str, admin: Target) -> None:
    """Keep ``RAFIKI_TOKEN`` from an admin that nobody but a rafiki.yaml names: the folder may be somebody else's.

    Raises:
        UnauthorizedError: when that admin is on another machine.
    """
    if token and admin.source is Source.CONFIGURED and admin.host.removeprefix("https://") not in _LOOPBACK:
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
        password = file.read_text("utf-8-sig").strip()
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
        keep_login(client.address, SUPERADMIN_EMAIL, answer, client.stack_id)
    except ConfigError as e:
        terminal.warn(f"{e.message} Every command logs in anew.")
