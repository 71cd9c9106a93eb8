"""The options that every command takes, and the configuration that follows from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rafiki_cli import terminal
from rafiki_cli.terminal import UsageError

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig
    from rafiki.stack_folder import StackFolder

GLOBAL_OPTIONS = {
    "--config FILE": "The rafiki.yaml to use.",
    "--admin HOST:PORT": "The admin to talk to.",
    "--context NAME": "The context to use (see `rafiki context`).",
    "-q, --quiet": "No messages but errors.",
    "-v, --verbose": "Also tell each request, its status and its time.",
    "--no-color": "No colours; so does NO_COLOR in the environment.",
    "--debug": "Show the traceback of an unexpected error.",
}
"""Options of every command, before or after its name."""

VALUE_OPTIONS = ("--config", "--admin", "--context")
FLAGS = {
    "--debug": "is_debug", "--quiet": "is_quiet", "-q": "is_quiet", "--verbose": "is_verbose", "-v": "is_verbose",
    "--no-color": "is_colorless",
}  # fmt: skip


@dataclass
class GlobalOptions:
    """What the options of every command said, and what is known of the running command."""

    config_file: Path | None = None
    admin: str | None = None
    context: str | None = None
    is_debug: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    is_colorless: bool = False
    is_token_from_environment: bool = False
    """Whether the command is run with ``RAFIKI_TOKEN``."""


current = GlobalOptions()
"""Those of the running command; set by :func:`take_global_options`."""


def take_global_options(arguments: list[str]) -> list[str]:
    """Set :data:`current` from the global options among ``arguments``, and return the other arguments.

    They may stand anywhere before ``--``.

    Raises:
        UsageError: when one of them lacks its value, or two of them exclude each other.
    """
    vars(current).update(vars(GlobalOptions()))
    rest: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        name, has_value, value = argument.partition("=")
        if argument == "--":
            rest += [argument, *left]
            break
        if argument in FLAGS:
            setattr(current, FLAGS[argument], True)
        elif name in VALUE_OPTIONS:
            if not has_value:
                if not left:
                    raise UsageError(f"{name} needs a value.")
                value = left.pop(0)
            if not value:
                raise UsageError(f"{name} needs a value.")
            if name == "--config":
                current.config_file = Path(value)
            else:
                setattr(current, name.removeprefix("--"), value)
        else:
            rest.append(argument)
    if current.is_quiet and current.is_verbose:
        raise UsageError("Give --quiet or --verbose, not both.")
    terminal.set_up(is_quiet=current.is_quiet, is_verbose=current.is_verbose, is_colorless=current.is_colorless)
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
