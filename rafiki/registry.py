"""What Rafiki knows by name and others may add: search schemes, stopping rules, tasks, stores, container back ends,
trackers.

A :class:`Kind` is one table of names: where the entry of each is, and the group of entry points in which packages of
others declare theirs. A :class:`Registry` loads the entries of a kind, each when it is first asked for. One of others
that fails to load is left out everywhere, and :meth:`Registry.broken` names it with the reason.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from rafiki.utils.nearest import ROUGHLY_ALIKE, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

Entry = TypeVar("Entry")
RAFIKI = "rafiki"


class UnknownNameError(LookupError):
    """No entry of that name can be used. Whoever asks turns it into the error of its noun."""


class BrokenEntry(NamedTuple):
    """A package's entry that cannot be used."""

    name: str
    package: str
    reason: str


class Kind(NamedTuple):
    """The names of one kind of entries. Makes no module of an entry load, but those that others declare."""

    what: str
    """One entry, as messages call it: ``search scheme``."""
    plural: str
    group: str
    """The group of entry points of others, such as ``rafiki.schemes``."""
    registry: str
    """``module:attribute`` of the :class:`Registry` that loads the entries."""
    builtin: Mapping[str, str]
    """Name -> ``module:attribute`` of what comes with Rafiki, in the order in which people see it. Others cannot take
    these names."""

    def names(self) -> list[str]:
        """All names that can be used: Rafiki's own in their order, then those of others."""
        # Only entries of others can be broken, so without any there is nothing to load.
        return self.open().names() if _declared(self.group) else list(self.builtin)

    def open(self) -> Registry[object]:
        """The registry of this kind; loads its module."""
        found = _attribute(self.registry)
        assert isinstance(found, Registry)
        return found


class Registry(Generic[Entry]):
    """The entries of one kind, by name. Safe to share between threads.

    An entry is an object of its type, or a class of it that is made without arguments. One that has a ``name`` is
    registered under that name.

    Args:
        kind: its names.
        entry_type: what an entry is.
    """

    def __init__(self, kind: Kind, entry_type: type[Entry]) -> None:
        self.kind = kind
        self._entry_type = entry_type
        self._loaded: dict[str, Entry] = {}
        self._broken: dict[str, BrokenEntry] = {}
        self._lock = threading.RLock()

    def find(self, name: str) -> Entry | None:
        """The entry of that name; None when there is none that can be used."""
        with self._lock:
            if name in self._loaded:
                return self._loaded[name]
            if name in self.kind.builtin:
                self._loaded[name] = self._checked(name, _attribute(self.kind.builtin[name]))
                return self._loaded[name]
            point = self._points().get(name)
            return None if point is None or name in self._broken else self._load(point)

    def get(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            UnknownNameError: when there is none, with those that there are; or it is broken, with the reason.
        """
        found = self.find(name)
        if found is None:
            raise UnknownNameError(self.why_unknown(name))
        return found

    def why_unknown(self, name: str, *others: str) -> str:
        """Why :meth:`find` found nothing, for people.

        Args:
            others: names that would do as well: ``auto``.
        """
        if (broken := self._broken.get(name)) is not None:
            return f"The {self.kind.what} {name!r} of the package {broken.package} cannot be used: {broken.reason}."
        names = [*others, *self.names()]
        hint = did_you_mean(name, names, least=ROUGHLY_ALIKE)
        return f"Unknown {self.kind.what} {name!r}. {f'{hint} ' if hint else ''}There are: {', '.join(names)}."

    def names(self) -> list[str]:
        """All names that can be used: Rafiki's own in their order, then those of others. Loads those of others."""
        return [*self.kind.builtin, *(name for name in self._points() if self.find(name) is not None)]

    def is_broken(self, name: str) -> bool:
        """Whether a package declares an entry of that name that cannot be used."""
        return self.find(name) is None and name in self._broken

    def package_of(self, name: str) -> str:
        """The package that brings an entry."""
        point = None if name in self.kind.builtin else self._points().get(name)
        return RAFIKI if point is None else _package_of(point)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.kind.builtin or self.find(name) is not None)

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Name and entry of each that can be used; loads all of them."""
        for name in [*self.kind.builtin, *self._points()]:
            if (entry := self.find(name)) is not None:
                yield name, entry

    def broken(self) -> list[BrokenEntry]:
        """What others declare and cannot be used, with the reasons; loads all that they declare."""
        self.names()
        found = list(self._broken.values())
        taken: set[str] = set()
        for point in _declared(self.kind.group):
            if point.name in self.kind.builtin or point.name in taken:
                owner = self.package_of(point.name)
                found.append(
                    BrokenEntry(point.name, _package_of(point), f"{owner} has a {self.kind.what} of that name")
                )
            taken.add(point.name)
        return found

    def forget(self) -> None:
        """Look at what is installed anew, as a fresh process does."""
        with self._lock:
            self._loaded.clear()
            self._broken.clear()
            _declared.cache_clear()

    def _points(self) -> dict[str, EntryPoint]:
        """What others declare: of several with one name the first."""
        found: dict[str, EntryPoint] = {}
        for point in _declared(self.kind.group):
            if point.name not in self.kind.builtin:
                found.setdefault(point.name, point)
        return found

    def _load(self, point: EntryPoint) -> Entry | None:
        try:
            found = self._loaded[point.name] = self._checked(point.name, point.load())
        # The import runs the code of others: it may raise anything, and it may exit.
        except (Exception, SystemExit) as e:  # noqa: BLE001
            self._broken[point.name] = BrokenEntry(point.name, _package_of(point), f"{type(e).__name__}: {e}")
            return None
        return found

    def _checked(self, name: str, found: object) -> Entry:
        if isinstance(found, type) and issubclass(found, self._entry_type):
            found = found()
        if not isinstance(found, self._entry_type):
            raise TypeError(f"a {self.kind.what} has to be a {self._entry_type.__name__}, not a {type(found).__name__}")
        if (own := getattr(found, "name", name)) != name:
            raise ValueError(f"it is registered as {name!r}, but its name is {own!r}")
        return found


def _attribute(place: str) -> object:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


@cache
def _declared(group: str) -> list[EntryPoint]:
    """The entry points of a group, by package."""
    # Reading what is installed costs milliseconds, and so does the library: once, and not before somebody asks.
    from importlib.metadata import distributions, entry_points

    try:
        found = list(entry_points(group=group))
    except (ValueError, TypeError):
        # One package's list is malformed, which is no reason to do without those of the others.
        found = [point for package in distributions() for point in _points_of(package) if point.group == group]
    return sorted(found, key=_package_of)


def _points_of(package: Distribution) -> list[EntryPoint]:
    try:
        return list(package.entry_points)
    except (ValueError, TypeError):
        return []
