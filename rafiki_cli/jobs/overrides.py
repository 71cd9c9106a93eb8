"""Values that go over those of a job file: ``--set budget.trials=20``, and the options of `rafiki train create`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from rafiki.utils.values import JsonValue
from rafiki_cli.terminal import UsageError
from rafiki_cli.yaml_files.placed_tree import Key, PlacedTree, parse_placed_tree

_SHORT_FORMS = {"advisor": "scheme", "ensemble": "method"}
"""Keys whose text is short for a mapping with that one key."""


class Override(msgspec.Struct, frozen=True):
    """One value."""

    key: Key
    """Where it goes, below the top of the job."""
    value: JsonValue
    place: str
    """Where it comes from, for messages: ``"--set budget.trials=20"``."""
    written: str | None = None
    """How it is written, where it is a number, a truth value or null."""


def parse_setting(setting: str) -> Override:
    """``KEY.KEY=YAML``, as ``--set`` takes it.

    Raises:
        UsageError: naming the setting that cannot be read.
    """
    path, equals, text = setting.partition("=")
    parts = re.findall(r"[^.\[\]]+", path)
    if not equals or not parts:
        raise UsageError(f"--set {setting}: write KEY=VALUE, as in --set budget.trials=20.")
    try:
        tree = parse_placed_tree(text, "value", {}) if text.strip() else PlacedTree("value", "")
    except UsageError as e:
        reason = e.message.partition(": ")[2]
        raise UsageError(f"--set {setting}: {reason}") from e
    key = tuple(int(p) if p.isdigit() else p for p in parts)
    return Override(key, tree.value, f"--set {setting}", tree.written.get(()))


def apply_settings(tree: PlacedTree, settings: Sequence[str]) -> None:
    """Change ``tree`` as ``settings`` (``KEY.KEY=YAML``) say.

    In a file of several jobs a setting goes for each of them, unless it begins with ``jobs``.

    Raises:
        UsageError: naming the setting that cannot be read, or leads to where nothing can stand.
    """
    for override in map(parse_setting, settings):
        tops: list[Key] = [()]
        jobs = tree.value.get("jobs") if isinstance(tree.value, dict) else None
        if isinstance(jobs, list) and override.key[0] != "jobs":
            tops = [("jobs", i) for i in range(len(jobs))]
        for top in tops:
            put_override(tree, top, override)


def put_override(tree: PlacedTree, top: Key, override: Override) -> None:
    """Change the job at ``top``.

    Raises:
        UsageError: when the key leads to where nothing can stand.
    """
    key, where = (*top, *override.key), override.place
    at: JsonValue = tree.value
    for i, part in enumerate(key[:-1]):
        slot = _slot(at, part, where)
        below = slot.get()
        if below is None or (isinstance(below, bool) and part == "deploy"):
            below = {}
        elif isinstance(below, str) and i == len(top) and part in _SHORT_FORMS:
            below = {_SHORT_FORMS[str(part)]: below}
        if not isinstance(below, (dict, list)):
            raise UsageError(f"{where}: {part} holds {below!r}, and nothing can stand below that.")
        slot.put(below)
        at = below
    _slot(at, key[-1], where).put(override.value)
    for place in [k for k in tree.places if k[: len(key)] == key]:
        del tree.places[place]
        tree.written.pop(place, None)
    tree.places[key] = where
    if override.written is not None:
        tree.written[key] = override.written


class _Slot(NamedTuple):
    """A place in a mapping or a list, which can be read and written."""

    get: Callable[[], JsonValue]
    put: Callable[[JsonValue], None]


def _slot(at: JsonValue, part: str | int, where: str) -> _Slot:
    """The place of ``part`` in the mapping or list ``at``."""
    if isinstance(at, list):
        if not isinstance(part, int) or not 0 <= part < len(at):
            raise UsageError(f"{where}: {part} is no place in a list of {len(at)}; the first is 0.")
        return _Slot(partial(at.__getitem__, part), partial(at.__setitem__, part))
    if isinstance(at, dict):
        at.setdefault(str(part), None)
        if isinstance(part, int):
            raise UsageError(f"{where}: {part} counts in a list, and this is none.")
        return _Slot(partial(at.__getitem__, part), partial(at.__setitem__, part))
    raise UsageError(f"{where}: there is no mapping for {part} to stand in.")
