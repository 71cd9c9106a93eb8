"""Contexts that the command line keeps for this user: names for the admins that a person works with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rafiki.constants import ExitCode
from rafiki.errors import ConfigError
from rafiki.utils.nearest import did_you_mean

LOCAL = "local"
"""The context that is always there: the stack of the folder that a command is run in."""


class NoSuchContextError(ConfigError):
    """There is no such context. `rafiki context list` shows those there are."""

    exit_code = ExitCode.NOT_FOUND


class Contexts(NamedTuple):
    """What the file holds."""

    hosts: Mapping[str, str]
    """Name -> address, in the order of their making."""
    current: str | None
    """The one that is used when nothing else is said; None = :data:`LOCAL`."""
    cas: Mapping[str, str] = MappingProxyType({})
    """Name -> PEM file of the authorities that its admin's certificate is checked against, where one was named."""

    def ca_of(self, name: str) -> str | None:
        """The file of a context; None = ``RAFIKI_CA``, else those that the machine trusts."""
        return self.cas.get(name)

    def host_of(self, name: str) -> str | None:
        """The address of a context; None for :data:`LOCAL`.

        Raises:
            NoSuchContextError: when there is none of that name.
        """
        if name == LOCAL:
            return None
        if name not in self.hosts:
            names = [LOCAL, *self.hosts]
            hint = did_you_mean(name, names, f"There are: {', '.join(names)}.")
            raise NoSuchContextError(f"There is no context {name!r}. {hint}")
        return self.hosts[name]


def contexts_file() -> Path:
    from rafiki.user_environment import user_config_folder

    return user_config_folder() / "contexts.json"


def read_contexts() -> Contexts:
    """The kept contexts.

    Raises:
        ConfigError: when the file is damaged.
    """
    import msgspec

    from rafiki.utils.files import read_text

    class Kept(msgspec.Struct):
        contexts: dict[str, str]
        current: str | None = None
        cas: dict[str, str] = {}

    file = contexts_file()
    text = read_text(file)
    if not text:
        return Contexts({}, None)
    try:
        kept = msgspec.json.decode(text, type=Kept)
    except msgspec.DecodeError as e:
        from rafiki.utils.mismatch import explain_json

        raise ConfigError(
            f"{file}: the kept contexts are damaged ({explain_json(text, Kept)}). Remove the file and add them again."
        ) from e
    return Contexts(kept.contexts, kept.current if kept.current in kept.contexts else None, kept.cas)
