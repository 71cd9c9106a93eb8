"""From the plain values of a file to structs, or to an error in the words of the file."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from typing import Any

import msgspec

from rafiki.utils.mismatch import Mismatch, explain_mismatch
from rafiki.utils.nearest import nearest_or_all
from rafiki_cli.terminal import UsageError
from rafiki_cli.yaml_files.placed_tree import Key, PlacedTree

T = typing.TypeVar("T")
_RENAMED = {
    "train_dataset_id": "`datasets.train`",
    "val_dataset_id": "`datasets.val`",
    "model_ids": "`models`, as in `models: [{name: MyModel}]`",
    "MODEL_TRIAL_COUNT": "`trials`",
    "TIME_HOURS": "`hours`",
    "GPU_COUNT": "`gpus`",
    "CPU_WORKER_COUNT": "`workers`",
    "first_knobs": "`try`",
}
"""What the admin's own interface, and files written for it, call by other names."""


def convert(tree: PlacedTree, top: Key, kind: type[T]) -> T:
    """The value at ``top`` as a struct.

    Raises:
        UsageError: with the place of what does not fit.
    """
    value = look(tree.value, top)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as e:
        raise _explain(tree, top, explain_mismatch(value, kind, e)) from e


def look(value: Any, key: Key) -> Any:
    """What stands at ``key``; None when nothing does."""
    for part in key:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _explain(tree: PlacedTree, top: Key, found: Mismatch) -> UsageError:
    """What does not fit, in the words of the file."""
    key = (*top, *found.path)
    value = look(tree.value, key)
    if found.problem == "missing":
        return tree.error(key, f"{found.name!r} is missing.")
    if found.problem == "unknown":
        return tree.error((*key, found.name), f"unknown key. {_meant(found)}")
    if found.problem == "choice":
        return tree.error(key, f"{value!r} is none of its values. {nearest_or_all(str(value), found.valid)}")
    if found.problem == "length":
        return tree.error(key, _length(found))
    if found.problem == "bound":
        return tree.error(key, f"must be {_bound(found)}, not {value!r}.")
    if found.problem == "type":
        return tree.error(key, _kind(found.valid, value))
    return tree.error(key, f"{found.reason}.")


def _meant(found: Mismatch) -> str:
    new = _RENAMED.get(found.name)
    return f"Write {new}." if new is not None else nearest_or_all(found.name, found.valid)


_KINDS = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "object": "a mapping",
    "array": "a list", "null": "nothing",
}  # fmt: skip


def _kind(expected: Sequence[str], value: Any) -> str:
    kinds = [_KINDS.get(kind, kind) for kind in expected if kind != "null"]
    shown = "nothing" if value is None else f"{value!r:.60}"
    if isinstance(value, (dict, list)):
        shown = "a mapping" if isinstance(value, dict) else "a list"
    hint = ""
    if "a text" in kinds and isinstance(value, (int, float)):
        hint = " Put it in quotes."
    elif isinstance(value, str) and re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", value, re.IGNORECASE):
        hint = " Write it without quotes" + (", as in 1.0e3." if "e" in value.lower() else ".")
    return f"must be {' or '.join(kinds)}, not {shown}.{hint}"


def _bound(found: Mismatch) -> str:
    words = {">=": "or more", "<=": "or less"}
    if found.sign in words:
        return f"{found.limit} {words[found.sign]}"
    return f"{'above' if found.sign == '>' else 'below'} {found.limit}"


def _length(found: Mismatch) -> str:
    if found.sign == ">=" and found.limit == 1:
        return "must not be empty."
    return f"must have {_bound(found)} {'entries' if found.name == 'array' else 'characters'}."
