"""The plainest of YAML without a library: PyYAML takes 8 ms to load, and nearly every command reads rafiki.yaml."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

PlainValue: TypeAlias = str | int | bool

_END = r" *(?: #[ -~]*)?"
_NOTHING = re.compile(r" *(?:#[ -~]*)?")
_SECTION = re.compile(rf"([a-z][a-z_]*):{_END}")
_SETTING = re.compile(rf"  ([a-z][a-z_]*): +([A-Za-z0-9/.][A-Za-z0-9/._-]*){_END}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_WORD = re.compile(r"(?:\.{0,2}/)?[A-Za-z][A-Za-z0-9/._-]*|\.[a-z]{4,}")
_SPECIAL = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


class PlainYaml(NamedTuple):
    """What a text holds: sections of settings."""

    sections: dict[str, dict[str, PlainValue] | None]
    """None = a section without settings, as YAML has it."""
    lines: dict[str, int]
    """The line (from 1) of each ``section`` and ``section.key``."""


def read_plain_yaml(text: str) -> PlainYaml | None:
    """Sections, each followed by its settings behind two blanks, with values that are whole numbers, IPv4 addresses,
    ``true``, ``false`` or words; and comments. None for every other text, be it YAML or not: it wants a real reader.
    """
    sections: dict[str, dict[str, PlainValue] | None] = {}
    lines: dict[str, int] = {}
    section = ""
    if not text.isascii() or "\r" in text:
        return None
    for number, line in enumerate(text.split("\n"), 1):
        if _NOTHING.fullmatch(line):
            continue
        if found := _SECTION.fullmatch(line):
            section = name = found[1]
            sections.setdefault(section, None)
        elif (found := _SETTING.fullmatch(line)) and section:
            value = _value(found[2])
            if value is None:
                return None
            sections[section] = {**(sections[section] or {}), found[1]: value}
            name = f"{section}.{found[1]}"
        else:
            return None
        if name in lines or name in _SPECIAL or name.rpartition(".")[2] in _SPECIAL:
            return None
        lines[name] = number
    return PlainYaml(sections, lines)


def _value(text: str) -> PlainValue | None:
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return int(text)
    if _ADDRESS.fullmatch(text) or (_WORD.fullmatch(text) and text.lower() not in _SPECIAL):
        return text
    return None
