"""Markdown from plain values and from docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; signs that would end a cell are escaped."""
    lines = [_row(headings), "|" + "---|" * len(headings)]
    return "\n".join([*lines, *(_row(row) for row in rows)]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", " ".join(cell.split())) for cell in cells) + " |"


def code(text: str) -> str:
    return f"`{text}`"


def fence(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def directive(name: str, argument: str, body: str = "", **options: str) -> str:
    """A directive with Markdown in it. Its fence is longer than any that the body holds."""
    ticks = "`" * (3 + max((len(m) - 2 for m in re.findall(r"^`{3,}", body, re.MULTILINE)), default=0))
    lines = [f"{ticks}{{{name}}} {argument}", *(f":{key}: {value}" for key, value in options.items())]
    return "\n".join([*lines, *(["", body.strip()] if body.strip() else []), ticks]) + "\n"


def anchor(name: str) -> str:
    return f"({name})="


def plain(text: str) -> str:
    """Text of a help or a message, in which only backticks mean something."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(
        p if p.startswith("`") and p.endswith("`") else re.sub(r"([*<>\[\]]|\b_|_\b)", r"\\\1", p) for p in parts
    )


def full_stop(text: str) -> str:
    """With a full stop at its end, if it has no other sign there."""
    text = text.strip()
    return text if not text or text[-1] in ".:!?" else f"{text}."


_SECTIONS = {"Args": "Arguments", "Fields": "Attributes", "Raises": "Raises", "Returns": "Returns", "Yields": "Yields"}


def from_docstring(text: str) -> str:
    """Markdown from a docstring: roles become code, ``Args:``, ``Raises:`` and their like become lists."""
    out: list[str] = []
    section = ""
    for line in _without_roles(inspect.cleandoc(text)).splitlines():
        if line.endswith("::") and not line.startswith(" "):
            line = line[:-1]
        if (name := line.rstrip(":")) in _SECTIONS and line.endswith(":"):
            section = name
            out += ["", f"**{_SECTIONS[name]}**", ""]
        elif section and line.startswith("    "):
            out.append(_item(line[4:]) if section in ("Args", "Fields", "Raises") else line.strip())
        else:
            section = section if not line.strip() else ""
            out.append(line)
    return "\n".join(out).strip()


def _item(line: str) -> str:
    name, colon, rest = line.partition(": ")
    if colon and not line.startswith(" ") and re.fullmatch(r"\**\w+", name):
        return f"- `{name}`: {rest}"
    return f"  {line.strip()}"


def _without_roles(text: str) -> str:
    """``:meth:`~a.b``` and double backticks as single ones."""
    text = re.sub(r":(?:py:)?\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return re.sub(r"``(.+?)``", r"`\1`", text)
