"""The options that every command takes, wherever they stand on its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rafiki_cli.terminal import UsageError

GLOBAL_OPTIONS = {
    "--config FILE": "The rafiki.yaml to use.",
    "--admin HOST:PORT": "The admin to talk to.",
    "--context NAME": "The context to use (see `rafiki context`).",
    "--ca FILE": "The authorities to check the certificates of admin and predictors against, as PEM.",
    "-q, --quiet": "No messages but errors.",
    "-v, --verbose": "Also tell each request, its status and its time.",
    "--no-color": "No colours; so does NO_COLOR in the environment.",
    "--debug": "Show the traceback of an unexpected error.",
}
"""Options of every command, before or after its name."""

VALUE_OPTIONS = ("--config", "--admin", "--context", "--ca")
FLAGS = {
    "--debug": "is_debug", "--quiet": "is_quiet", "-q": "is_quiet", "--verbose": "is_verbose", "-v": "is_verbose",
    "--no-color": "is_colorless",
}  # fmt: skip


@dataclass
class GlobalOptions:
    """What the options of every command said."""

    config_file: Path | None = None
    admin: str | None = None
    context: str | None = None
    ca: str | None = None
    is_debug: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    is_colorless: bool = False


def take_global_options(arguments: list[str]) -> tuple[GlobalOptions, list[str]]:
    """The global options among ``arguments``, and the other arguments. They may stand anywhere before ``--``.

    Raises:
        UsageError: when one of them lacks its value, or two of them exclude each other.
    """
    found = GlobalOptions()
    rest: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        name, has_value, value = argument.partition("=")
        if argument == "--":
            rest += [argument, *left]
            break
        if argument in FLAGS:
            setattr(found, FLAGS[argument], True)
        elif name in VALUE_OPTIONS:
            if not has_value:
                if not left:
                    raise UsageError(f"{name} needs a value.")
                value = left.pop(0)
            if not value:
                raise UsageError(f"{name} needs a value.")
            if name == "--config":
                found.config_file = Path(value)
            else:
                setattr(found, name.removeprefix("--"), value)
        else:
            rest.append(argument)
    if found.is_quiet and found.is_verbose:
        raise UsageError("Give --quiet or --verbose, not both.")
    return found, rest
