"""Why a text is not JSON, in Rafiki's own words: those of a library change with its version."""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

_MOST_DIGITS = 4300
"""Of a whole number: Python's limit."""
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def why_not_json(data: bytes | bytearray | memoryview | str) -> str | None:
    """What keeps ``data`` from being one JSON value that every reader takes; None when nothing does.

    For the message of a refusal, after ``the body is no valid JSON: ``. It reads the text once more and builds plain
    values, so call it only when a decoder has failed.
    """
    if not isinstance(data, str):
        try:
            text = bytes(data).decode()
        except UnicodeDecodeError as e:
            return f"it is not UTF-8 text (byte {e.start})"
    else:
        text = data
    if not text.strip(" \t\r\n"):
        return "it is empty"
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_float, parse_int=_int)
        half_pair = _HALF_PAIR.search(json.dumps(value, ensure_ascii=False))
    except json.JSONDecodeError as e:
        return _at(text, e.pos)
    except _NotANumberError as e:
        return str(e)
    except RecursionError:
        return "it is nested too deeply"
    return "it holds half of a surrogate pair" if half_pair else None


def _at(text: str, position: int) -> str:
    byte = len(text[:position].encode(errors="replace"))
    if position >= len(text.rstrip(" \t\r\n")):
        return f"it is cut off at byte {byte}"
    if text[position] == '"' and '"' not in re.sub(r"\\.", "", text[position + 1 :]):
        return f"the text that begins at byte {byte} has no end"
    if text.startswith("\ufeff"):
        return "it begins with a byte order mark"
    return f"{text[position]!a} cannot stand at byte {byte}"


class _NotANumberError(Exception):
    """A number that JSON, or its readers, do not have."""


def _no_number(text: str) -> NoReturn:
    raise _NotANumberError(f"it holds {text}, which JSON does not have")


def _float(text: str) -> float:
    if math.isinf(float(text)):
        raise _NotANumberError(f"the number {text[:40]} is out of range")
    return 0.0


def _int(text: str) -> float:
    if len(text) > _MOST_DIGITS:
        raise _NotANumberError(f"a number of {len(text):,} digits is out of range")
    return 0
