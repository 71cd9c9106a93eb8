"""The stack of the folder that a command is run in: where its admin listens, by the stack's own files.

A port says little of who listens there: another project's admin may have it by now. So a stack that runs is found by
what its admin has written into its folder, and a port that only the settings name is asked whose it is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from rafiki.client.trust import Trust, of_running, of_settings
from rafiki.errors import AdminLostError, StackDownError, UnreachableError
from rafiki_cli.target import stack_owner

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig
    from rafiki.stack_folder import StackFolder
    from rafiki.utils.pid_file import PidFile

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def reachable_host(host: str) -> str:
    """The host to connect to for an address that a server binds."""
    return _ANY_ADDRESS.get(host, host)


class How(StrEnum):
    """How the admin of a folder's stack is known."""

    RUNNING = "running"
    """Its own files name it."""
    DOWN = "down"
    """It does not run; the address is the one that it had, or would have."""
    CONFIGURED = "configured"
    """Only the settings name a port."""
    DEFAULT = "default"
    """There is no project here: the port where a stack is by default."""


class LocalStack(NamedTuple):
    """The stack of a folder, and the address of its admin."""

    how: How
    host: str
    port: int
    folder: StackFolder
    stack_id: str | None
    """None = it has none yet, or belongs to another user."""
    trust: Trust | None = None
    """Whose certificates its admin and predictors are to show; None = nothing says so."""


def find_local(loaded: LoadedConfig) -> LocalStack:
    """The stack that a configuration names. Nothing is asked over the network."""
    from rafiki.settings import DEFAULT_ADMIN_PORT
    from rafiki.stack_folder import StackFolder
    from rafiki.stack_identity import examine

    folder, settings = StackFolder(loaded), loaded.config.admin
    host, trust = of_settings(loaded, reachable_host(settings.host))
    if stack_owner.is_of_another_user(folder):
        return LocalStack(How.CONFIGURED, host, settings.port or DEFAULT_ADMIN_PORT, folder, None, trust)
    stack_id = examine(folder.root).known_id
    if running := folder.find_admin():
        host, trust = of_running(running, reachable_host(running.host))
        return LocalStack(How.RUNNING, host, running.port, folder, stack_id, trust)
    if settings.port or not _is_of_this_machine(settings.host):
        return LocalStack(How.CONFIGURED, host, settings.port or DEFAULT_ADMIN_PORT, folder, stack_id, trust)
    is_nowhere = loaded.file is None and not folder.root.exists()
    how = How.DEFAULT if is_nowhere else How.DOWN
    return LocalStack(how, host, folder.kept_admin_port or DEFAULT_ADMIN_PORT, folder, stack_id, trust)


def _is_of_this_machine(host: str) -> bool:
    from rafiki.utils.sockets import can_listen

    return host in ("localhost", "127.0.0.1", "::1", *_ANY_ADDRESS) or can_listen(host)


def find_admin(folder: StackFolder) -> PidFile | None:
    """The admin of a stack if it runs; None too when the folder is another user's."""
    try:
        return folder.find_admin()
    except PermissionError:
        return None


def find_cache(folder: StackFolder) -> PidFile | None:
    """The private cache server of a stack; as :func:`find_admin`."""
    try:
        return folder.find_cache()
    except PermissionError:
        return None


def check_it_runs(loaded: LoadedConfig) -> None:
    """Check that who answers is the stack of this folder, before anything is asked of it.

    Raises:
        UnreachableError: the stack does not run, or another one's admin has its port; an AdminLostError when it should
            run.
    """
    from rafiki_cli.target.health import health

    found = find_local(loaded)
    if found.how is How.DOWN:
        raise why_down(found.folder)
    if found.how is not How.CONFIGURED or stack_owner.is_of_another_user(found.folder):
        return
    from rafiki.client.http_server import join_address

    answer = health(found.host, found.port, trust=found.trust)
    is_here = _is_of_this_machine(loaded.config.admin.host)
    loss = found.folder.find_loss() if is_here else None
    if answer is None:
        if loss is not None:
            raise loss
        return  # The call itself will say that nobody answers.
    from rafiki_cli.target import stack_process

    root = stack_process.find_stack_of(found.port) if is_here else None
    other_id = answer.get("stack_id")
    is_other = other_id != found.stack_id if other_id else root is not None and root != found.folder.root
    if is_other:
        origin = next(o.origin for o in loaded.origins if o.key == "admin.port")
        whose = f"the stack in {root}" if root else "another stack"
        raise (UnreachableError if loss is None else AdminLostError)(
            f"The stack in {found.folder.root} does not run: port {found.port} (admin.port, {origin}) is that "
            f"of {whose}. Leave admin.port out, and `rafiki up` finds a free port; or talk to the other one on "
            f"purpose, with --admin {join_address(found.host, found.port)}."
        )


def why_down(folder: StackFolder) -> UnreachableError:
    """Why nobody is asked: the stack was put down or never up, or its admin is gone without that."""
    return folder.find_loss() or StackDownError(say_down(folder))


def say_down(folder: StackFolder) -> str:
    """That a stack does not run, and what to do."""
    from rafiki.stack_identity import Standing, examine

    examined = examine(folder.root)
    down = f"The stack in {folder.root} does not run."
    if examined.standing is Standing.COPIED:
        return f"{down} The folder is a copy of {examined.old_root}: `rafiki up` makes a stack of its own of it."
    if examined.standing is Standing.MOVED:
        return f"{down} The folder was moved here from {examined.old_root}: `rafiki up` goes on with it."
    return f"{down} Start it with `rafiki up`."
