"""Which admin a command talks to, and as whom: logins are kept by the admin's address in one private file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rafiki.errors import ConfigError, InvalidRequestError, UnauthorizedError
from rafiki_cli import options
from rafiki_cli.terminal import UsageError

if TYPE_CHECKING:
    from rafiki.client import Client
    from rafiki.utils.process import PidFile

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def reachable_host(host: str) -> str:
    """The host to connect to for an address that a server binds."""
    return _ANY_ADDRESS.get(host, host)


def admin_address() -> tuple[str, int]:
    """Host and port of the admin: ``--admin``, else the one that runs in the stack's folder, else the configured one.

    Raises:
        ConfigError: when the configuration is wrong.
        UsageError: when ``--admin`` is not ``host:port``.
    """
    if options.current.admin:
        return parse_address(options.current.admin, "--admin", "an admin")
    loaded = options.loaded_config()
    if running := find_running(options.stack_folder(loaded).admin_pid_file):
        return reachable_host(running.host), running.port
    return reachable_host(loaded.config.admin.host), loaded.config.admin.port


def parse_address(address: str, option: str, what: str) -> tuple[str, int]:
    """The parts of ``host:port``.

    Raises:
        UsageError: when an option's value is not of that form.
    """
    from rafiki.client.transport import split_address

    try:
        return split_address(address, what)
    except InvalidRequestError as e:
        raise UsageError(f"{option}: {e.message}") from e


def find_running(pid_file: Path) -> PidFile | None:
    """The process that a pid file names, if it runs; None too when the file belongs to another user's stack."""
    from rafiki.utils.process import PidFile

    try:
        return PidFile.load(pid_file)
    except PermissionError:
        return None


def is_local_stack() -> bool:
    """Whether commands talk to the stack of this folder."""
    return options.current.admin is None


def logins_file() -> Path:
    from rafiki.config import user_config_folder

    return user_config_folder() / "logins.json"


def _read_logins() -> dict[str, dict[str, Any]]:
    import msgspec

    from rafiki.utils.files import read_text

    file = logins_file()
    text = read_text(file)
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, dict[str, Any]])
    except msgspec.DecodeError as e:
        raise ConfigError(f"{file}: the kept logins are damaged ({e}). Remove the file and log in again.") from e


def _write_logins(logins: dict[str, dict[str, Any]]) -> None:
    import msgspec

    from rafiki.utils.files import write_private

    file = logins_file()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, msgspec.json.format(msgspec.json.encode(logins)).decode() + "\n")
    except OSError as e:
        raise ConfigError(f"{file}: the login cannot be kept: {e.strerror}.") from e


def find_login(address: str) -> dict[str, Any] | None:
    """``email``, ``user_type`` and ``token`` of the login kept for an admin."""
    return _read_logins().get(address)


def keep_login(address: str, email: str, answer: dict[str, Any]) -> None:
    """Keep a login for later commands."""
    logins = _read_logins()
    logins[address] = {"email": email, "user_type": answer["user_type"], "token": answer["token"]}
    _write_logins(logins)


def forget_login(address: str) -> dict[str, Any] | None:
    """Remove the login kept for an admin; returns it."""
    logins = _read_logins()
    found = logins.pop(address, None)
    if found:
        _write_logins(logins)
    return found


def anonymous_client() -> Client:
    """A client without a login."""
    from rafiki.client import Client

    return Client(*admin_address())


def client() -> Client:
    """A client with the login that is kept for the admin.

    Raises:
        UnauthorizedError: when there is none.
    """
    found = anonymous_client()
    login = find_login(found.address)
    if login is None:
        raise UnauthorizedError(f"Not logged in at {found.address}. Log in with `rafiki login`.")
    found.token = login["token"]
    return found
