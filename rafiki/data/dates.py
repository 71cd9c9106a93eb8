"""Dates and times as people write them: ``2020-03-01``, ``1.3.2020``, ``03/01/20 5:30 pm``, ``1 Mar 2020``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400.0
_MONTHS = {
    name: no
    for no, names in enumerate(
        ("jan january januar janvier", "feb february februar", "mar march märz mär", "apr april", "may mai",
         "jun june juni", "jul july juli", "aug august", "sep sept september", "oct october okt oktober",
         "nov november", "dec december dez dezember"), 1,
    )
    for name in names.split()
}  # fmt: skip
_TIME = (
    r"(?:[T\s:,]\s*(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?)?"
    r"\s*(?P<half>[aApP]\.?[mM]\.?)?\s*(?P<zone>Z|UTC|GMT|[+\-]\d{2}:?\d{2})?)?"
)
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_NAME = r"(?P<name>[A-Za-zä]{3,9})\.?"
_YEAR_FIRST = re.compile(rf"(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d{{1,2}})(?P=mark)(?P<day>\d{{1,2}}){_TIME}")
_YEAR_LAST = re.compile(
    rf"(?P<one>\d{{1,2}})(?P<mark>[-/.])(?P<two>\d{{1,2}})(?P=mark)(?P<year>\d{{4}}|\d{{2}}){_TIME}"
)
_DAY_NAME = re.compile(
    rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)?[\s\-/]*{_NAME}[\s\-/,]*(?P<year>\d{{4}}|\d{{2}}){_TIME}",
    re.IGNORECASE,
)
_NAME_DAY = re.compile(
    rf"{_WEEKDAY}{_NAME}[\s\-]*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?[\s\-]+(?P<year>\d{{4}}){_TIME}", re.IGNORECASE
)
_MONTH = re.compile(rf"(?P<year>\d{{4}})-(?P<month>\d{{2}})|{_NAME}[\s\-]+(?P<year2>\d{{4}})", re.IGNORECASE)
_COMPACT = re.compile(rf"(?P<year>(?:19|20)\d{{2}})(?P<month>\d{{2}})(?P<day>\d{{2}}){_TIME}")
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?\s*(?P<half>[ap]\.?m\.?)?",
    re.IGNORECASE,
)
_TWO_DIGITS = 69
"""``68`` is 2068, ``69`` is 1969, as POSIX has it."""


class DayOrder(StrEnum):
    """Of the dates of a column that begin with neither year nor name."""

    DAY_FIRST = "day first"
    MONTH_FIRST = "month first"


class WrittenDate(NamedTuple):
    """A moment as it was written."""

    days: float
    """Since 1970-01-01 in UTC, with the time of day as a fraction."""
    order: DayOrder | None
    """What its numbers say of the order of day and month; None = nothing."""
    has_time: bool


def read_date(text: str, order: DayOrder = DayOrder.MONTH_FIRST, *, is_compact: bool = False) -> WrittenDate | None:
    """The moment that ``text`` names; None when it names none.

    Args:
        order: of day and month where both could be either.
        is_compact: whether ``20200301`` is a date.
    """
    if found := _YEAR_FIRST.fullmatch(text):
        return _moment(found, int(found["year"]), int(found["month"]), int(found["day"]))
    if found := _YEAR_LAST.fullmatch(text):
        one, two, year = int(found["one"]), int(found["two"]), _year(found["year"])
        sure = DayOrder.DAY_FIRST if one > 12 else DayOrder.MONTH_FIRST if two > 12 else None
        day, month = (one, two) if (sure or order) is DayOrder.DAY_FIRST else (two, one)
        return _moment(found, year, month, day, sure)
    for pattern in (_DAY_NAME, _NAME_DAY):
        if (found := pattern.fullmatch(text)) and found["name"].lower() in _MONTHS:
            return _moment(found, _year(found["year"]), _MONTHS[found["name"].lower()], int(found["day"]))
    if found := _MONTH.fullmatch(text):
        if found["year"]:
            return _at(int(found["year"]), int(found["month"]), 1)
        if found["name"].lower() in _MONTHS:
            return _at(int(found["year2"]), _MONTHS[found["name"].lower()], 1)
    if is_compact and (found := _COMPACT.fullmatch(text)):
        return _moment(found, int(found["year"]), int(found["month"]), int(found["day"]))
    return None


def read_clock(text: str) -> float | None:
    """The hours that a time of day or a duration names, ``13:30`` or ``1:30 pm``; None when it is none."""
    found = _CLOCK.fullmatch(text)
    if found is None or int(found["minute"]) > 59:
        return None
    hour = _hour(found)
    if hour is None:
        return None
    return hour + int(found["minute"]) / 60 + int(found["second"] or 0) / 3600


def _year(text: str) -> int:
    if len(text) == 4:
        return int(text)
    return int(text) + (2000 if int(text) < _TWO_DIGITS else 1900)


def _hour(found: re.Match[str]) -> int | None:
    hour, half = int(found["hour"]), (found["half"] or "").lower()[:1]
    if half and not 1 <= hour <= 12:
        return None
    return hour % 12 + (12 if half == "p" else 0) if half else hour


def _at(year: int, month: int, day: int) -> WrittenDate | None:
    try:
        moment = datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
    return WrittenDate((moment - _EPOCH).total_seconds() / _DAY_S, None, False)


def _moment(found: re.Match[str], year: int, month: int, day: int, order: DayOrder | None = None) -> WrittenDate | None:
    if found["hour"] is None:
        date = _at(year, month, day)
        return None if date is None else date._replace(order=order)
    hour = _hour(found)
    if hour is None:
        return None
    try:
        moment = datetime(
            year, month, day, hour, int(found["minute"] or 0), int(found["second"] or 0),
            int((found["part"] or "0").ljust(6, "0")[:6]), tzinfo=_zone(found["zone"]),
        )  # fmt: skip
        return WrittenDate((moment - _EPOCH).total_seconds() / _DAY_S, order, True)
    except (ValueError, OverflowError):
        return None


def _zone(text: str | None) -> timezone:
    if text is None or text in ("Z", "UTC", "GMT"):
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
