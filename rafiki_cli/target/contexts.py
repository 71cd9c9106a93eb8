"""Contexts: names for the admins that a person works with. They are kept in one private file, which
:mod:`rafiki.client.kept_contexts` reads."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rafiki.client.kept_contexts import LOCAL as LOCAL
from rafiki.client.kept_contexts import Contexts as Contexts
from rafiki.client.kept_contexts import contexts_file as contexts_file
from rafiki.client.kept_contexts import read_contexts as read_contexts
from rafiki.errors import ConfigError
from rafiki.utils.paths import why
from rafiki_cli.terminal import UsageError

_LOCK_TIMEOUT_S = 10.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def write_contexts(contexts: Contexts) -> None:
    """Keep ``contexts`` instead of those that were kept."""
    tree: dict[str, object] = {"current": contexts.current, "contexts": dict(contexts.hosts)}
    if contexts.cas:
        tree["cas"] = dict(contexts.cas)
    write_user_file(contexts_file(), tree)


def write_user_file(file: Path, tree: Mapping[str, object]) -> None:
    """Replace a private JSON file in the user's config folder in one step.

    Raises:
        ConfigError: when it cannot be written.
    """
    import msgspec

    from rafiki.utils.files import write_private

    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, msgspec.json.format(msgspec.json.encode(tree)).decode() + "\n")
    except OSError as e:
        raise ConfigError(f"{file}: this file cannot be written: {why(e)}.") from e


@contextmanager
def user_files_locked() -> Iterator[None]:
    """Nobody else changes the files of the user's config folder meanwhile: what is read inside may be written back.

    Raises:
        ConfigError: when the folder cannot be written, or another command holds it for too long.
    """
    from rafiki.user_environment import user_config_folder
    from rafiki.utils.clock import Deadline
    from rafiki.utils.process import wait_until

    file = user_config_folder() / ".lock"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = file.open("a")
    except OSError as e:
        raise ConfigError(f"{file}: this file cannot be written: {why(e)}.") from e
    with lock:
        if not wait_until(lambda: _is_locked(lock), Deadline(_LOCK_TIMEOUT_S)):
            raise ConfigError(f"{file}: another command has held this lock for {_LOCK_TIMEOUT_S:g} s. Try again.")
        yield


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_new_name(name: str) -> None:
    """Check a name for a context that is made.

    Raises:
        UsageError: when it is none.
    """
    if name == LOCAL:
        raise UsageError(f"{LOCAL!r} always means the stack of the folder you are in. Choose another name.")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a context: write letters, digits, '.', '_' and '-'.")
