"""What Rafiki knows by name and others may add: search schemes, stopping rules, tasks, stores, container back ends.

Each kind has one :class:`Registry`: a table of what comes with Rafiki, and a group of entry points in which packages of
others declare theirs. An entry is loaded when it is first asked for; one that fails to load is left out, and
:meth:`Registry.broken` names it with the reason.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

import msgspec

Entry = TypeVar("Entry")


class UnknownNameError(LookupError):
    """No entry of that name can be used. Whoever asks turns it into the error of its noun."""


class BrokenEntry(msgspec.Struct, frozen=True):
    """A package's entry that cannot be used."""

    name: str
    package: str
    reason: str


class Registry(Generic[Entry]):
    """The entries of one kind, by name. Safe to share between threads.

    Args:
        group: the group of entry points, such as ``rafiki.schemes``.
        what: one entry, as messages call it: ``"search scheme"``.
        kind: the type of an entry.
        builtin: name -> ``module:attribute`` of what comes with Rafiki. These names cannot be taken by others.
    """

    def __init__(self, group: str, what: str, kind: type[Entry], builtin: Mapping[str, str]) -> None:
        self.group = group
        self.what = what
        self._kind = kind
        self._builtin = dict(builtin)
        self._loaded: dict[str, Entry] = {}
        self._broken: dict[str, BrokenEntry] = {}
        self._lock = threading.RLock()

    def find(self, name: str) -> Entry | None:
        """The entry of that name; None when there is none that can be used."""
        with self._lock:
            if name in self._loaded:
                return self._loaded[name]
            if name in self._builtin:
                module, _, attribute = self._builtin[name].partition(":")
                found = self._loaded[name] = self._checked(getattr(importlib.import_module(module), attribute))
                return found
            point = self._points().get(name)
            return None if point is None or name in self._broken else self._load(point)

    def get(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            UnknownNameError: when there is none, with those that there are; or it is broken, with the reason.
        """
        found = self.find(name)
        if found is not None:
            return found
        if (broken := self._broken.get(name)) is not None:
            raise UnknownNameError(
                f"The {self.what} {name!r} of the package {broken.package} cannot be used: {broken.reason}"
            )
        raise UnknownNameError(f"There is no {self.what} {name!r}. There are: {', '.join(self.names())}.")

    def names(self) -> list[str]:
        """All names: Rafiki's own in their order, then those of others. Nothing is loaded."""
        return [*self._builtin, *self._points()]

    def builtin_names(self) -> list[str]:
        """The names of what comes with Rafiki."""
        return list(self._builtin)

    def package_of(self, name: str) -> str:
        """The package that brings an entry."""
        point = None if name in self._builtin else self._points().get(name)
        return "rafiki" if point is None else _package_of(point)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._builtin or name in self._points())

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Name and entry of each that can be used; loads all of them."""
        for name in self.names():
            if (entry := self.find(name)) is not None:
                yield name, entry

    def broken(self) -> list[BrokenEntry]:
        """The entries of others that cannot be used, with the reasons; loads all of them."""
        for _ in self.items():
            pass
        return list(self._broken.values())

    def _points(self) -> dict[str, EntryPoint]:
        return {name: point for name, point in _entry_points(self.group).items() if name not in self._builtin}

    def _load(self, point: EntryPoint) -> Entry | None:
        try:
            found = self._loaded[point.name] = self._checked(point.load())
        except Exception as e:  # noqa: BLE001 - the import runs the code of others: it may raise anything
            reason = f"{type(e).__name__}: {e}"
            self._broken[point.name] = BrokenEntry(point.name, _package_of(point), reason)
            return None
        return found

    def _checked(self, found: object) -> Entry:
        if not isinstance(found, self._kind):
            raise TypeError(f"a {self.what} has to be a {self._kind.__name__}, not a {type(found).__name__}")
        return found


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    # Reading what is installed costs milliseconds, so it is done once, and not before somebody asks.
    return {point.name: point for point in entry_points(group=group)}
