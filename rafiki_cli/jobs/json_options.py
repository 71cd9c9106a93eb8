"""Options whose values are JSON: ``--arg epochs=5``, ``--try '{"depth": 3}'``."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rafiki.utils.json_text import why_not_json
from rafiki.utils.values import JsonObject
from rafiki_cli.terminal import UsageError


def parse_knobs(texts: Iterable[str]) -> list[JsonObject]:
    """``--try '{"depth": 3}'`` options as knobs.

    Raises:
        UsageError: when one is no JSON object.
    """
    found: list[JsonObject] = []
    for text in texts:
        try:
            knobs = json.loads(text)
        except ValueError as e:
            raise UsageError(f"--try {text}: this is not JSON: {why_not_json(text)}.") from e
        if not isinstance(knobs, dict):
            raise UsageError(f"--try {text}: write a JSON object of knobs: '{{\"depth\": 3}}'.")
        found.append(knobs)
    return found


def parse_arguments(pairs: Iterable[str], option: str = "--arg") -> JsonObject:
    """``--arg KEY=JSON`` options as a dict; what is no JSON is taken as a text.

    Raises:
        UsageError: when one has no ``=``.
    """
    found: JsonObject = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {pair}: write KEY=JSON, as in epochs=5.")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found
