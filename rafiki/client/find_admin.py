"""Which admin a client talks to that is told nothing, and why that one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from rafiki.client.http_server import split_address
from rafiki.client.kept_contexts import read_contexts
from rafiki.client.trust import Trust, of_running, of_settings, told_trust
from rafiki.config import configured_file, load_config
from rafiki.errors import InvalidRequestError, UnreachableError
from rafiki.stack_folder import StackFolder
from rafiki.stack_identity import examine
from rafiki.user_environment import admin_from_environment, first_generation_admin

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 3000
_NOT_STARTED = "not-started"
"""In the place of an id that a stack has not got yet: whoever answers at its port is another's admin."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class FoundAdmin(NamedTuple):
    """An admin, running or not."""

    host: str
    port: int
    why: str
    """What named it, for people."""
    hint: str
    """What to do when nobody answers there."""
    has_logins: bool = False
    """Whether a login that was made elsewhere is used there."""
    takes_variable: bool = True
    """Whether ``RAFIKI_TOKEN`` is one of these."""
    stack_id: str | None = None
    """Of the stack that is meant: no other may answer. None = whoever does."""
    down: UnreachableError | None = None
    """Of the stack that is meant, when it does not run, by its own files: then its port may be anybody's."""
    stack: StackFolder | None = None
    """The folder of its stack, where that is on this machine and it runs."""
    trust: Trust | None = None
    """Whose certificates are taken; None = nothing says so."""

    def superadmin_password(self) -> str | None:
        """The first password of the superadmin, where this user may read it."""
        if self.stack is None:
            return None
        try:
            return self.stack.superadmin_password_file.read_text("utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None


def reachable_host(host: str) -> str:
    """The host to connect to for an address that a server binds."""
    return _ANY_ADDRESS.get(host, host)


def find_admin(host: str | None = None, port: int | str | None = None) -> FoundAdmin:
    """The admin for a client that is told this host and this port, one of them, or nothing.

    Raises:
        InvalidRequestError: when what names it is no address.
        ConfigError: when the project's ``rafiki.yaml`` is wrong.
    """
    if host is not None or port is not None:
        hint = "Start the stack with `rafiki up`, or check the address."
        return FoundAdmin(host or DEFAULT_HOST, _port(port or DEFAULT_PORT, "admin_port"), "as it was told", hint)
    if address := admin_from_environment():
        return _named(address, "RAFIKI_HOST in the environment names it")
    contexts = read_contexts()
    if contexts.current is not None and (address := contexts.host_of(contexts.current)) is not None:
        return _named(address, f"it is the current context, {contexts.current!r}", contexts.ca_of(contexts.current))
    found = _of_project()
    if found is not None and found.stack is not None:
        return found
    old_host, old_port = first_generation_admin()
    if old_host or old_port:
        why = "RAFIKI_ADDR and ADMIN_EXT_PORT in the environment name it"
        hint = f"{_begin(why)}: unset them to use the stack of a project, or correct them."
        return FoundAdmin(old_host or DEFAULT_HOST, _port(old_port or DEFAULT_PORT, "ADMIN_EXT_PORT"), why, hint)
    return found or _default()


def _named(address: str, why: str, ca: str | None = None) -> FoundAdmin:
    host, port = split_address(address, "an admin")
    trust = told_trust(ca)
    hint = f"{_begin(why)}: is that the right address, and does its stack run?"
    return FoundAdmin(host, port, why, hint, has_logins=True, trust=trust)


def _of_project() -> FoundAdmin | None:
    """The admin of the project that the working folder is in, else the script; None when they are in none."""
    file = configured_file() or next(filter(None, (configured_file(start=f) for f in _script_folders())), None)
    loaded = load_config(file)
    stack = StackFolder(loaded)
    try:
        running, stack_id, loss = stack.find_admin(), examine(stack.root).known_id, stack.find_loss()
    except PermissionError:
        running = stack_id = loss = None
    if running is not None:
        why, hint = f"it is the stack of {loaded.base_folder}", "Does it still run? See `rafiki status`."
        host, trust = of_running(running, reachable_host(running.host))
        return FoundAdmin(
            host, running.port, why, hint, has_logins=True, stack_id=stack_id, stack=stack, trust=trust
        )  # fmt: skip
    if file is None:
        return None
    name, port = reachable_host(loaded.config.admin.host), loaded.config.admin.port
    host, trust = of_settings(loaded, name)
    if not port and name in _LOOPBACK:
        hint = f"The stack of {loaded.base_folder} does not run: start it with `rafiki up`."
        port = stack.kept_admin_port or DEFAULT_PORT
        return FoundAdmin(
            host, port, f"{file} is its project's", hint, has_logins=True, down=loss or UnreachableError(hint),
            trust=trust,
        )  # fmt: skip
    hint = f"{file} names this address, and its stack does not run here: start it there with `rafiki up`."
    # The folder may be somebody else's: RAFIKI_TOKEN goes to no other machine that only its file names.
    is_here = name in _LOOPBACK
    return FoundAdmin(
        host, port or DEFAULT_PORT, f"{file} names it", hint, has_logins=True, takes_variable=is_here,
        stack_id=(stack_id or _NOT_STARTED) if is_here else None, trust=trust,
    )  # fmt: skip


def _script_folders() -> list[Path]:
    """The folder of the program, unless it belongs to this installation of Python, as pytest and Jupyter do."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is None:
        return []
    folder = Path(file).resolve().parent
    return [] if folder.is_relative_to(Path(sys.prefix).resolve()) else [folder]


def _default() -> FoundAdmin:
    folders = " nor ".join(map(str, [Path.cwd(), *_script_folders()]))
    hint = (
        "It is the default address, because nothing names another: RAFIKI_HOST and RAFIKI_ADDR are not set, no context "
        f"is chosen, and neither {folders} nor a folder above holds a rafiki.yaml or a stack. Go into the project's "
        "folder and run `rafiki up` there, or say which admin it is: Client('HOST', PORT)."
    )
    why = "it is the default address, and nothing names another"
    return FoundAdmin(DEFAULT_HOST, DEFAULT_PORT, why, hint, has_logins=True)


def _begin(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _port(given: int | str, what: str) -> int:
    text = str(given).strip()
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) <= 65535:
        raise InvalidRequestError(f"{what} is {given!r}. A port is a number from 1 to 65535.")
    return int(text)
