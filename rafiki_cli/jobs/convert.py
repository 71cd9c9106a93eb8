"""From the plain values of a file to structs, or to an error in the words of the file."""

from __future__ import annotations

import copy
import typing

import msgspec

from rafiki.utils import yaml_numbers
from rafiki.utils.mismatch import Mismatch, explain_mismatch, find_mismatch
from rafiki.utils.nearest import nearest_or_all
from rafiki.utils.values import JsonValue
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
    "WORKERS_PER_GPU": "`workers_per_gpu`",
    "first_knobs": "`try`",
}
"""What the admin's own interface, and files written for it, call by other names."""


def convert(tree: PlacedTree, top: Key, kind: type[T]) -> T:
    """The value at ``top`` as a struct.

    Raises:
        UsageError: with the place of what does not fit.
    """
    value = look(tree.value, top)
    while True:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as e:
            found = explain_mismatch(value, kind, e)
            number = yaml_numbers.whole(look(value, found.path)) if "int" in found.valid else None
            if number is None or not found.path:
                raise _explain(tree, top, kind, found) from e
            _put(value, found.path, number)  # 1e3 and 1000.0 are whole numbers.


def _put(value: JsonValue, key: Key, new: JsonValue) -> None:
    at = look(value, key[:-1])
    part = key[-1]
    match at, part:
        case dict(), str():
            at[part] = new
        case list(), int():
            at[part] = new


def look(value: JsonValue, key: Key) -> JsonValue:
    """What stands at ``key``; None when nothing does."""
    for part in key:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def _explain(tree: PlacedTree, top: Key, kind: object, found: Mismatch) -> UsageError:
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
        return tree.error(key, _wrong_kind(tree, top, kind, found))
    return tree.error(key, f"{found.reason}.")


def _meant(found: Mismatch) -> str:
    new = _RENAMED.get(found.name)
    return f"Write {new}." if new is not None else nearest_or_all(found.name, found.valid)


_KINDS = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "object": "a mapping",
    "array": "a list", "null": "nothing",
}  # fmt: skip


_TRUTHS = {"yes": True, "y": True, "on": True, "true": True, "1": True, "no": False, "n": False, "off": False,
           "false": False, "0": False}  # fmt: skip


def _wrong_kind(tree: PlacedTree, top: Key, kind: object, found: Mismatch) -> str:
    key = (*top, *found.path)
    value, written = look(tree.value, key), tree.written.get(key)
    kinds = [_KINDS.get(name, name) for name in found.valid if name != "null"]
    shown = written if written else "nothing" if value is None else f"{value!r:.60}"
    if isinstance(value, (dict, list)):
        shown = "a mapping" if isinstance(value, dict) else "a list"
    elif isinstance(value, bool) and written is not None and written.lower() not in ("true", "false"):
        shown = f"{written}, which YAML reads as {str(value).lower()}"
    return f"must be {' or '.join(kinds)}, not {shown}. {_hint(tree, top, kind, found)}".rstrip()


def _hint(tree: PlacedTree, top: Key, kind: object, found: Mismatch) -> str:
    """What to write instead, where that would be taken."""
    key = (*top, *found.path)
    value = look(tree.value, key)
    text = value if isinstance(value, str) else tree.written.get(key, "")
    if not text or not found.path:
        return ""
    if "str" in found.valid and not isinstance(value, str):
        wrong = _would_be_wrong(tree, top, kind, found, text)
        if wrong is None:
            return _in_quotes(tree, key, text)
        return nearest_or_all(text, wrong.valid) if wrong.problem == "choice" else ""
    number = yaml_numbers.number_in(text) if isinstance(value, str) else None
    if number is not None and "int" in found.valid and "float" not in found.valid:
        number = yaml_numbers.whole(float(number))
    if number is not None and {"int", "float"} & set(found.valid):
        is_fitting = _would_be_wrong(tree, top, kind, found, number) is None
        return f"Write {yaml_numbers.written(number)}." if is_fitting else ""
    if "bool" in found.valid and (truth := _TRUTHS.get(text.lower())) is not None:
        return f"Write {str(truth).lower()}."
    return ""


def _would_be_wrong(tree: PlacedTree, top: Key, kind: object, found: Mismatch, candidate: JsonValue) -> Mismatch | None:
    """What would not fit at the place of a mismatch if ``candidate`` stood there."""
    value = copy.deepcopy(look(tree.value, top))
    _put(value, found.path, candidate)
    wrong = find_mismatch(value, kind)
    return wrong if wrong is not None and wrong.path == found.path else None


def _in_quotes(tree: PlacedTree, key: Key, text: str) -> str:
    place = tree.place(key)
    if place.startswith("--set "):
        # The shell takes quotes away: those of YAML stand inside of its own.
        path = place.removeprefix("--set ").partition("=")[0]
        return f"Write --set {path}='\"{text}\"'."
    return f'Put it in quotes: "{text}".'


def _bound(found: Mismatch) -> str:
    words = {">=": "or more", "<=": "or less"}
    if found.sign in words:
        return f"{found.limit} {words[found.sign]}"
    return f"{'above' if found.sign == '>' else 'below'} {found.limit}"


def _length(found: Mismatch) -> str:
    if found.sign == ">=" and found.limit == 1:
        return "must not be empty."
    return f"must have {_bound(found)} {'entries' if found.name == 'array' else 'characters'}."
