"""The options that every command takes, and the configuration that follows from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rafiki_cli.terminal import UsageError

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig
    from rafiki.stack_folder import StackFolder

GLOBAL_OPTIONS_HELP = """\
Options of every command, before or after its name: --config FILE (the rafiki.yaml to use), --admin HOST:PORT (the
admin to talk to), --debug (show the traceback of an unexpected error)."""


@dataclass
class GlobalOptions:
    """What ``--config``, ``--admin`` and ``--debug`` said."""

    config_file: Path | None = None
    admin: str | None = None
    is_debug: bool = False


current = GlobalOptions()
"""Those of the running command; set by :func:`take_global_options`."""


def take_global_options(arguments: list[str]) -> list[str]:
    """Set :data:`current` from the global options among ``arguments``, and return the other arguments.

    They may stand anywhere before ``--``.

    Raises:
        UsageError: when one of them lacks its value.
    """
    current.config_file, current.admin, current.is_debug = None, None, False
    rest: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        name, has_value, value = argument.partition("=")
        if argument == "--":
            return [*rest, argument, *left]
        if argument == "--debug":
            current.is_debug = True
        elif name in ("--config", "--admin"):
            if not has_value:
                if not left:
                    raise UsageError(f"{name} needs a value.")
                value = left.pop(0)
            if name == "--config":
                current.config_file = Path(value)
            else:
                current.admin = value
        else:
            rest.append(argument)
    return rest


def loaded_config(*, port: int | None = None) -> LoadedConfig:
    """The configuration in force; ``port`` is the value of a ``--port`` option.

    Raises:
        ConfigError: naming the file or variable, the key and what is wrong with it.
    """
    from rafiki.config import load_config

    return load_config(current.config_file, flags=None if port is None else {"admin.port": port})


def stack_folder(loaded: LoadedConfig | None = None) -> StackFolder:
    """The folder of the stack that the configuration names."""
    from rafiki.stack_folder import StackFolder

    return StackFolder(loaded or loaded_config())


def own_stack_folder() -> StackFolder:
    """The folder of the stack, for what only the user who started it may do.

    Raises:
        StackError: when it belongs to another user.
    """
    from rafiki.errors import StackError

    folder = stack_folder()
    if is_of_another_user(folder):
        raise StackError(
            f"{folder.root}: this stack was started by another user ({_owner(folder.root)}), and only that user reads "
            "its logs, sees its processes and stops it. Commands that talk to its admin work: `rafiki login EMAIL`."
        )
    return folder


def is_of_another_user(folder: StackFolder) -> bool:
    """Whether a stack's folder is there and closed to this user."""
    return folder.root.exists() and not os.access(folder.root, os.R_OK | os.X_OK)


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return f"id {path.stat().st_uid}"
