"""Numbers as people write them: ``1,234.50``, ``1.234,50``, ``(12)``, ``€ 5``, ``12 %``, ``80 kg``, ``1.2k``."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import NamedTuple

MOST_EXACT = 2**53
"""Up to here every integer is a float64 of its own."""
_CURRENCIES = "$€£¥₹₽₩₺₪฿"
_CODES = "USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|SGD|SEK|NOK|DKK|PLN|CZK|BRL"
_NUMBER = re.compile(
    rf"""
    (?P<paren>\()? (?P<sign>[+\-\u2212\u2013])? \s*
    (?P<before>[{_CURRENCIES}]|(?:{_CODES})(?![A-Za-z]))? \s* (?P<sign2>[+\-\u2212])?
    (?P<body>[0-9](?:[0-9.,'\u2019_]|[ \u00a0\u2009\u202f](?=[0-9]{{3}}(?![0-9])))*|[.,][0-9]+)
    (?P<exponent>[eE][+\-]?[0-9]+)?
    (?:(?P<times>k|K|M|bn|B)(?![A-Za-z0-9]))?
    \s* (?P<after>[%\u2030°µA-Za-zÀ-ÿ{_CURRENCIES}][%°µ/.A-Za-zÀ-ÿ]*(?:[²³]|\^?[23])?)?
    (?P<minus>-)? (?P<close>\))?
    """,
    re.VERBOSE,
)
_PLAIN = re.compile(r"[+\-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+\-]?[0-9]+)?")
_GROUPS = re.compile(r"[ \u00a0\u2009\u202f'\u2019]")
_ORDINALS = frozenset({"st", "nd", "rd", "th"})
_TIMES = {"k": 1e3, "K": 1e3, "M": 1e6, "bn": 1e9, "B": 1e9}


class Mark(StrEnum):
    """What a number tells of the decimal mark of its column."""

    NONE = "none"
    """Nothing: it has no mark."""
    DOT = "dot"
    COMMA = "comma"
    MAYBE_DOT = "maybe dot"
    """``1.234``: one and a bit, or a thousand and more."""
    MAYBE_COMMA = "maybe comma"


class WrittenNumber(NamedTuple):
    """A number as it was written, before it is known what its column's decimal mark is."""

    body: str
    """Digits and marks."""
    mark: Mark
    unit: str
    """``%``, ``kg``, ``€``; empty = none."""
    factor: float
    """The sign, and what ``k`` or ``M`` stands for."""
    exponent: str

    def value(self, decimal: str) -> float | None:
        """By the column's decimal mark, ``.`` or ``,``; None when it cannot be so written, or is not finite."""
        if (self.mark is Mark.DOT and decimal == ",") or (self.mark is Mark.COMMA and decimal == "."):
            return None
        digits = self.body.replace("," if decimal == "." else ".", "").replace(",", ".")
        try:
            found = float(digits + self.exponent) * self.factor
        except ValueError:
            return None
        return found if math.isfinite(found) else None


def parse_plain(text: str) -> float | None:
    """The finite number that ``text`` is by the rules of programs; None for all else."""
    if not _PLAIN.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def is_exact(text: str) -> bool:
    """Whether a float64 keeps what ``text`` says: not so for an integer of many digits."""
    digits = text.lstrip("+-")
    return not digits.isdigit() or len(digits) < 16 or int(digits) <= MOST_EXACT


def mark_of_plain(text: str) -> Mark:
    """What a number by the rules of programs tells of its column's decimal mark."""
    whole, dot, fraction = text.lstrip("+-").partition(".")
    if not dot:
        return Mark.NONE
    may_group = len(fraction) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0" and fraction.isdigit()
    return Mark.MAYBE_DOT if may_group else Mark.DOT


def read_written(text: str) -> WrittenNumber | None:
    """What ``text`` may be as a number; None when it is none."""
    found = _NUMBER.fullmatch(text)
    if found is None or (found["paren"] is None) != (found["close"] is None):
        return None
    body = _GROUPS.sub("", found["body"])
    mark = _mark_of(body, is_grouped=body != found["body"])
    signs = [s for s in (found["paren"], found["sign"], found["sign2"], found["minus"]) if s]
    if mark is None or "_" in body or len(signs) > 1 or (found["before"] and found["after"] not in (None, "%")):
        return None
    factor = (-1.0 if signs and signs[0] != "+" else 1.0) * _TIMES.get(found["times"] or "", 1.0)
    unit = found["before"] or found["after"] or ""
    if unit in _ORDINALS:
        unit = ""
    return WrittenNumber(body, mark, unit, factor, found["exponent"] or "")


def _mark_of(body: str, *, is_grouped: bool) -> Mark | None:
    """
    Args:
        is_grouped: whether spaces or apostrophes already divide its thousands: a dot or comma is then the decimal mark.
    """
    dots, commas = body.count("."), body.count(",")
    if not dots and not commas:
        return Mark.NONE
    if dots and commas:
        is_comma = body.rindex(",") > body.rindex(".")
        last, groups = ("," if is_comma else "."), ("." if is_comma else ",")
        whole, _, fraction = body.rpartition(last)
        if last in whole or groups in fraction or not _is_grouped_by(whole, groups):
            return None
        return Mark.COMMA if is_comma else Mark.DOT
    sign, n = (".", dots) if dots else (",", commas)
    if n > 1:
        # Groups of thousands: the other one is the decimal mark.
        return (Mark.COMMA if dots else Mark.DOT) if _is_grouped_by(body, sign) and not is_grouped else None
    whole, _, fraction = body.partition(sign)
    may_group = len(fraction) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0" and not is_grouped
    if may_group:
        return Mark.MAYBE_DOT if dots else Mark.MAYBE_COMMA
    return Mark.DOT if dots else Mark.COMMA


def _is_grouped_by(whole: str, mark: str) -> bool:
    first, *others = whole.split(mark)
    return 1 <= len(first) <= 3 and all(len(group) == 3 for group in others)
