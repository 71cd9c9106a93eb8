"""Changes one setting in the text of a rafiki.yaml, and leaves every other letter of it as it is.

The places come from the marks that the YAML parser leaves; the result is parsed again and compared with what was meant,
so that a file which is written in a way unknown here is refused, never damaged.
"""

from __future__ import annotations

import copy
import json
import re

import yaml

from rafiki.errors import ConfigError
from rafiki.utils import yaml_numbers


class CannotEditError(ConfigError):
    """This file is written in a way that cannot be changed safely. Change it with an editor."""


Entry = tuple[yaml.ScalarNode, yaml.Node]
"""A key node and a value node."""


def set_value(text: str, section: str, key: str, value: object) -> str:
    """``text`` with ``section.key`` set to ``value``.

    Raises:
        CannotEditError: when the text is written in a way that cannot be changed safely.
    """
    tree = _tree(text)
    present = tree.get(section) or {}
    if key in present and (type(present[key]), present[key]) == (type(value), value):
        return text
    wanted = copy.deepcopy(tree)
    wanted[section] = {**(wanted.get(section) or {}), key: value}
    return _checked(_set(text, section, key, written(value)), wanted)


def unset(text: str, section: str, key: str) -> str:
    """``text`` without ``section.key``; a section that holds nothing any more goes too.

    Raises:
        CannotEditError: when the text is written in a way that cannot be changed safely.
    """
    wanted = _tree(text)
    settings = wanted.get(section) or {}
    if key not in settings:
        return text
    del settings[key]
    changed = _unset(text, section, key)
    if not wanted[section] and _tree(changed).get(section) is None:
        wanted[section] = None
        if section not in _tree(changed):
            del wanted[section]
    return _checked(changed, wanted)


def written(value: object) -> str:
    """A value as YAML in one line."""
    if isinstance(value, str):
        dumped = yaml.safe_dump(value, allow_unicode=True, width=10**6).removesuffix("\n").removesuffix("\n...")
        # What it would be read as decides: the dumper writes 1e3 without quotes.
        is_plain = "\n" not in dumped and yaml.load(dumped, yaml_numbers.loader()) == value
        return dumped if is_plain else json.dumps(value)
    return json.dumps(value)


def _compose(text: str) -> yaml.MappingNode | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise CannotEditError
    return root


def _tree(text: str) -> dict[str, dict[str, object] | None]:
    found = yaml.load(text, yaml_numbers.loader())
    return found if isinstance(found, dict) else {}


def _checked(text: str, wanted: dict[str, dict[str, object] | None]) -> str:
    try:
        is_right = _tree(text) == wanted
    except yaml.YAMLError:
        is_right = False
    if not is_right:
        raise CannotEditError
    return text


def _entries(node: yaml.Node | None) -> list[Entry]:
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def _find(node: yaml.Node | None, name: str) -> Entry | None:
    return next((e for e in _entries(node) if e[0].value == name), None)


def _end(node: yaml.Node) -> int:
    """Where a node's own text ends. That of a block runs on to the next token, over blank lines and comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    is_block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
    return int(node.end_mark.index) - is_block  # The line break is one of its letters.


def _line_end(text: str, index: int) -> int:
    """Where the line ends that ``index`` lies in, before its line break."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _break_of(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _insert_line(text: str, index: int, line: str) -> str:
    """A line of its own below the one that ``index`` lies in."""
    end = _line_end(text, index)
    if end == len(text):
        return f"{text}{_break_of(text)}{line}{_break_of(text)}"
    return f"{text[: end + 1]}{line}{_break_of(text)}{text[end + 1 :]}"


def _value_start(text: str, entry: Entry) -> int:
    """Behind the colon of a key."""
    end: int = entry[0].end_mark.index
    return text.index(":", end) + 1


def _set(text: str, section: str, key: str, value: str) -> str:
    root = _compose(text)
    if root is None:
        gap = "" if not text or text.endswith("\n") else _break_of(text)
        return f"{text}{gap}{section}:{_break_of(text)}  {key}: {value}{_break_of(text)}"
    found = _find(root, section)
    if found is None:
        if root.flow_style:
            return _insert_in_flow(text, root, f"{section}: {{{key}: {value}}}")
        line = f"{section}:{_break_of(text)}{_indent(root)}{key}: {value}"
        return _insert_line(text.rstrip("\r\n"), len(text.rstrip("\r\n")), line)
    settings = found[1]
    if old := _find(settings, key):
        start, end = _value_start(text, old), max(_end(old[1]), _value_start(text, old))
        if old[1].end_mark.index < old[0].start_mark.index:  # The value stands where its anchor is.
            raise CannotEditError(f"{section}.{key} is an alias here (*name). Change it with an editor.")
        return f"{text[:start]} {value}{text[end:]}"
    if isinstance(settings, yaml.MappingNode) and settings.flow_style:
        return _insert_in_flow(text, settings, f"{key}: {value}")
    if isinstance(settings, yaml.MappingNode):
        indent = " " * settings.value[0][0].start_mark.column
        return _insert_line(text, _end(settings), f"{indent}{key}: {value}")
    start, end = _value_start(text, found), settings.end_mark.index
    if start < end:  # A null that is written out: "admin: ~".
        text = text[:start] + text[end:]
    return _insert_line(text, found[0].end_mark.index, f"{_indent(root)}{key}: {value}")


def _indent(root: yaml.Node | None) -> str:
    """What the file indents its settings by."""
    for _, settings in _entries(root):
        if isinstance(settings, yaml.MappingNode) and not settings.flow_style and settings.value:
            return " " * int(settings.value[0][0].start_mark.column)
    return "  "


def _insert_in_flow(text: str, node: yaml.MappingNode, entry: str) -> str:
    end = node.end_mark.index - 1  # The brace.
    if not node.value:
        return f"{text[: node.start_mark.index]}{{{entry}}}{text[end + 1 :]}"
    inside: int = _end(node.value[-1][1])  # A comma or a line break may follow it.
    return f"{text[:inside]}, {entry}{text[inside:]}"


def _unset(text: str, section: str, key: str) -> str:
    root = _compose(text)
    found = _find(root, section)
    entry = _find(found[1], key) if found else None
    if found is None or entry is None:
        return text
    settings = found[1]
    assert root is not None
    assert isinstance(settings, yaml.MappingNode)
    if settings.flow_style:
        return _cut_from_flow(text, settings, entry)
    end = _line_end(text, _end(entry[1])) + 1
    if len(settings.value) == 1 and not root.flow_style:
        start = _line_start(text, found[0].start_mark.index)
        between = text[_value_start(text, found) : entry[0].start_mark.index]
        if "#" not in between:
            return text[:start] + text[end:]
    return text[: _line_start(text, entry[0].start_mark.index)] + text[end:]


def _cut_from_flow(text: str, settings: yaml.Node, entry: Entry) -> str:
    start, end = entry[0].start_mark.index, _end(entry[1])
    if behind := re.match(r"\s*,[ \t]*", text[end:]):
        return text[:start] + text[end + behind.end() :]
    before = re.search(r"\s*,\s*$", text[:start])
    return text[: before.start() if before else start] + text[end:]
