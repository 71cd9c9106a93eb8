"""``--set budget.trials=20``: values that go over those of a job file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rafiki_cli.terminal import UsageError
from rafiki_cli.yaml_files.placed_tree import Key, PlacedTree, parse_placed_tree

_SHORT_FORMS = {"advisor": "scheme", "ensemble": "method"}
"""Keys whose text is short for a mapping with that one key."""


def apply_overrides(tree: PlacedTree, settings: Sequence[str]) -> None:
    """Change ``tree`` as ``settings`` (``KEY.KEY=YAML``) say.

    In a file of several jobs a setting goes for each of them, unless it begins with ``jobs``.

    Raises:
        UsageError: naming the setting that cannot be read, or leads to where nothing can stand.
    """
    for setting in settings:
        path, value = _parse(setting)
        tops: list[Key] = [()]
        if isinstance(tree.value, dict) and isinstance(tree.value.get("jobs"), list) and path[0] != "jobs":
            tops = [("jobs", i) for i in range(len(tree.value["jobs"]))]
        for top in tops:
            _put(tree, (*top, *path), value, setting, len(top))


def _parse(setting: str) -> tuple[Key, Any]:
    path, equals, text = setting.partition("=")
    parts = re.findall(r"[^.\[\]]+", path)
    if not equals or not parts:
        raise UsageError(f"--set {setting}: write KEY=VALUE, as in --set budget.trials=20.")
    try:
        value = parse_placed_tree(text, "value", {}).value if text.strip() else ""
    except UsageError as e:
        reason = e.message.partition(": ")[2]
        raise UsageError(f"--set {setting}: {reason}") from e
    return tuple(int(p) if p.isdigit() else p for p in parts), value


def _put(tree: PlacedTree, key: Key, value: Any, setting: str, n_top: int) -> None:
    where = f"--set {setting}"
    at: Any = tree.value
    for i, part in enumerate(key[:-1]):
        at = _step(at, part, where)
        below = at[part]
        if below is None or (isinstance(below, bool) and part == "deploy"):
            below = {}
        elif isinstance(below, str) and i == n_top and part in _SHORT_FORMS:
            below = {_SHORT_FORMS[str(part)]: below}
        if not isinstance(below, (dict, list)):
            raise UsageError(f"{where}: {part} holds {below!r}, and nothing can stand below that.")
        at[part] = below
        at = below
    _step(at, key[-1], where)
    at[key[-1]] = value
    for place in [k for k in tree.places if k[: len(key)] == key]:
        del tree.places[place]
    tree.places[key] = where


def _step(at: Any, part: str | int, where: str) -> Any:
    """The mapping or list ``at``, in which ``part`` can be read and written."""
    if isinstance(at, list):
        if not isinstance(part, int) or not 0 <= part < len(at):
            raise UsageError(f"{where}: {part} is no place in a list of {len(at)}; the first is 0.")
    elif isinstance(at, dict):
        at.setdefault(str(part), None)
        if isinstance(part, int):
            raise UsageError(f"{where}: {part} counts in a list, and this is none.")
    else:
        raise UsageError(f"{where}: there is no mapping for {part} to stand in.")
    return at
