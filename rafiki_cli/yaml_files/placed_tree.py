"""YAML as plain values, with the place of each: what a message about one of them needs to say where it stands."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rafiki.utils import yaml_numbers
from rafiki.utils.paths import why
from rafiki.utils.values import JsonObject, JsonValue
from rafiki.utils.yaml_keys import find_duplicate_key
from rafiki.utils.yaml_reasons import why_not_yaml
from rafiki_cli.terminal import UsageError, check_file

if TYPE_CHECKING:
    import yaml

Key: TypeAlias = tuple[str | int, ...]
"""``("models", 0, "file")``: the way to a value."""

MOST_BYTES = 1024 * 1024
_MOST_VALUES = 20_000
"""Aliases of aliases can make a small file a huge tree."""
_MOST_DEPTH = 32
_VARIABLE = re.compile(r"\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{([^}]*)\}?")
_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + name for name in ("str", "int", "float", "bool", "null")}


@dataclass
class PlacedTree:
    """A parsed file: plain values (dicts, lists, texts, numbers, bools, None), and where they stand."""

    source: str
    """The file as its user named it."""
    value: JsonValue = None
    places: dict[Key, str] = field(default_factory=dict)
    """Where each value stands, in words: ``"job.yaml, line 3, column 5"``."""
    written: dict[Key, str] = field(default_factory=dict)
    """How each number, truth value or null is written: ``off`` is read as False."""

    def place(self, key: Key) -> str:
        """Where a value stands, or, when it is not there, what it would stand in."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, self.source)

    def error(self, key: Key, reason: str) -> UsageError:
        """The error for what is wrong with a value."""
        path = dotted(key)
        return UsageError(f"{self.place(key)}: {path + ': ' if path else ''}{reason}")


def dotted(key: Key) -> str:
    """``models[0].file``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read_placed_tree(file: Path, environ: Mapping[str, str], *, must_be_set: bool = True) -> PlacedTree:
    """The YAML file with ``${NAME}`` and ``${NAME:-default}`` taken from ``environ``.

    Args:
        must_be_set: False = a variable that is not set and has no default stays as it is written.

    Raises:
        UsageError: with file, line and column, when it cannot be read, is no YAML, gives a key twice, refers to itself,
            holds what is no plain value, or names a variable that must be set and is not.
    """
    check_file(file, folder_hint="a job file is needed here")
    try:
        data = file.read_bytes()
    except OSError as e:
        raise UsageError(f"{file}: cannot be read: {why(e)}.") from e
    return parse_placed_tree(_as_text(data, str(file)), str(file), environ, must_be_set=must_be_set)


def _as_text(data: bytes, source: str) -> str:
    if len(data) > MOST_BYTES:
        raise UsageError(f"{source}: {len(data):,} bytes are too many for a job file. Was another file meant?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise UsageError(f"{source}, line {line}: this is not UTF-8 text. Save the file as UTF-8.") from e
    for line, content in enumerate(text.split("\n"), 1):
        indent = content[: len(content) - len(content.lstrip(" \t"))]
        if "\t" in indent and content.strip():
            raise UsageError(f"{source}, line {line}, column {indent.index(chr(9)) + 1}: indent with spaces, not tabs.")
    return text


def parse_placed_tree(text: str, source: str, environ: Mapping[str, str], *, must_be_set: bool = True) -> PlacedTree:
    """As :func:`read_placed_tree`, from a text."""
    import yaml

    try:
        documents = list(yaml.compose_all(text, yaml_numbers.loader()))
    except yaml.reader.ReaderError as e:
        line = text.count("\n", 0, e.position) + 1
        raise UsageError(
            f"{source}, line {line}: holds a character that YAML does not allow (#x{e.character:x})."
        ) from e
    except yaml.YAMLError as e:
        raise UsageError(f"{_at(source, getattr(e, 'problem_mark', None))}: {why_not_yaml(e)}") from e
    except RecursionError as e:
        raise UsageError(f"{source}: is nested too deeply.") from e
    if not documents:
        raise UsageError(f"{source}: is empty. A job spec begins with `app: NAME`.")
    if len(documents) > 1:
        where = _at(source, documents[1].start_mark)
        raise UsageError(f"{where}: a second document begins here. Put several jobs in one file under `jobs:`.")
    if found := find_duplicate_key(documents[0]):
        key, first, second = found
        raise UsageError(f"{source}, line {second}: {key} stands here a second time (first in line {first}).")
    return _Reader(source, environ, must_be_set=must_be_set).read(documents[0])


def _at(source: str, mark: yaml.Mark | None) -> str:
    return f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source


class _Reader:
    """Walks the nodes of one document."""

    def __init__(self, source: str, environ: Mapping[str, str], *, must_be_set: bool) -> None:
        import yaml

        self._tree = PlacedTree(source)
        self._environ = environ
        self._must_be_set = must_be_set
        self._yaml = yaml
        self._constructor = yaml.constructor.SafeConstructor()
        self._resolve: Callable[[type[yaml.Node], str, tuple[bool, bool]], str] = yaml_numbers.resolver().resolve
        self._open: set[int] = set()
        self._n_values = 0

    def read(self, root: yaml.Node) -> PlacedTree:
        self._tree.places[()] = _at(self._tree.source, root.start_mark)
        self._tree.value = self._value(root, ())
        return self._tree

    def _fail(self, node: yaml.Node, reason: str) -> UsageError:
        return UsageError(f"{_at(self._tree.source, node.start_mark)}: {reason}")

    def _value(self, node: yaml.Node, key: Key) -> JsonValue:
        self._n_values += 1
        if self._n_values > _MOST_VALUES:
            raise self._fail(node, f"aliases make this file larger than {_MOST_VALUES:,} values.")
        if len(key) > _MOST_DEPTH:
            raise self._fail(node, f"{dotted(key[:3])}... is nested deeper than {_MOST_DEPTH} levels.")
        self._tree.places.setdefault(key, _at(self._tree.source, node.start_mark))
        if isinstance(node, self._yaml.ScalarNode):
            return self._scalar(node, key)
        if id(node) in self._open:
            raise self._fail(node, f"{dotted(key)} holds itself through an alias.")
        self._open.add(id(node))
        try:
            if isinstance(node, self._yaml.SequenceNode):
                return [self._value(child, (*key, i)) for i, child in enumerate(node.value)]
            return self._mapping(node, key)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, key: Key) -> JsonObject:
        found: JsonObject = {}
        merged: list[yaml.Node] = []
        for name_node, child in node.value:
            if name_node.tag == _TAG + "merge":
                merged += child.value if isinstance(child, self._yaml.SequenceNode) else [child]
                continue
            name = name_node.value
            if not isinstance(name_node, self._yaml.ScalarNode) or name_node.tag == _TAG + "null" or not name:
                raise self._fail(name_node, "a key must be a name (`key: value`).")
            below = (*key, name)
            self._tree.places[below] = _at(self._tree.source, name_node.start_mark)
            found[name] = self._value(child, below)
        for other in merged:
            if not isinstance(other, self._yaml.MappingNode):
                raise self._fail(other, "`<<:` takes over the keys of a mapping (`<<: *anchor`), and this is none.")
            # Places of what was taken over are those of the anchor's own lines.
            taken = self._value(other, key)
            for name, value in taken.items() if isinstance(taken, dict) else ():
                found.setdefault(name, value)
        return found

    def _scalar(self, node: yaml.ScalarNode, key: Key) -> JsonValue:
        text = self._expand(node)
        tag = node.tag
        if text != node.value and node.style is None:
            # What a variable says is read as if it stood here: ${TRIALS:-20} is a number.
            tag = self._resolve(self._yaml.ScalarNode, text, (True, False))
        if tag not in _PLAIN:
            kind = tag.removeprefix(_TAG)
            raise self._fail(node, f"{dotted(key)}: {text[:40]!r} is read as a {kind}. Put it in quotes.")
        if tag != _TAG + "str":
            self._tree.written[key] = text
        try:
            value: JsonValue = self._constructor.construct_object(
                self._yaml.ScalarNode(tag, text, node.start_mark, node.end_mark), deep=True
            )
        except (ValueError, OverflowError, self._yaml.YAMLError) as e:
            raise self._fail(node, f"{dotted(key)}: {text[:40]!r} cannot be read. Put it in quotes.") from e
        if isinstance(value, float) and not math.isfinite(value):
            raise self._fail(node, f"{dotted(key)}: {text[:40]} is no number to work with.")
        return value

    def _expand(self, node: yaml.ScalarNode) -> str:
        def one(m: re.Match[str]) -> str:
            literal, name, default, wrong = m.groups()
            if literal:
                return "${"
            if wrong is not None:
                raise self._fail(node, f"{m[0][:40]!r} names no variable: write ${{NAME}} or ${{NAME:-default}}.")
            value = self._environ.get(name, "")
            if value:
                return value
            if default is None and not self._must_be_set:
                return m[0]
            if default is None:
                raise self._fail(
                    node, f"the environment variable {name} is not set. Set it, or give a default: ${{{name}:-value}}."
                )
            return default

        return _VARIABLE.sub(one, str(node.value))
