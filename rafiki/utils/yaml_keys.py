"""What a parsed YAML file does not tell any more: keys that were written twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yaml import Node


def find_duplicate_key(root: Node | None) -> tuple[str, int, int] | None:
    """The first key that stands twice in one mapping; YAML readers keep the last and say nothing.

    Args:
        root: what ``yaml.compose`` returned; None for an empty file.

    Returns:
        The key with those above it, and the lines (from 1) of both; None when every key stands once.
    """
    return _find(root, "", set())


def _find(node: Node | None, path: str, seen: set[int]) -> tuple[str, int, int] | None:
    value = getattr(node, "value", None)
    # An alias leads to a node a second time, also from within itself.
    if not isinstance(value, list) or id(node) in seen:
        return None
    seen.add(id(node))
    lines: dict[str, int] = {}
    for child in value:
        key, below = child if isinstance(child, tuple) else (None, child)
        where = path
        if key is not None:
            name = str(key.value)
            where = f"{path}.{name}" if path else name
            line = key.start_mark.line + 1
            if name in lines:
                return where, lines[name], line
            lines[name] = line
        if found := _find(below, where, seen):
            return found
    return None
