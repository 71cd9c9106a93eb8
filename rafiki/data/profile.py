"""From the cells of a column to its schema: one pass, bounded memory.

Every distinct cell is looked at, so that no value is lost without a word: a sample would miss the one stray text in a
million numbers.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import NamedTuple

from rafiki.data.column_schema import ColumnSchema, Odd
from rafiki.data.columns import NO, YES, ColumnKind, ColumnReading
from rafiki.data.dates import DayOrder, read_clock, read_date
from rafiki.data.missing import is_missing, is_missing_measure, is_unusual
from rafiki.data.numbers import Mark, is_exact, mark_of_plain, parse_plain, read_written

MOST_DISTINCT = 50_000
"""Texts of a column that are remembered. What comes after them is looked at, and counted by its kind."""
_MOST_ODD = 5
_MOST_FREQUENT = 10
_SHARE = 0.9
"""Of the values, so many must be of a measured kind for the column to be of it."""
_TEXT_WORDS = 3.0
_ID_NAME = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|index|idx|rowid|row|nr|no|serial)$|[a-z]I[dD]$", re.IGNORECASE)
_CODE_NAME = re.compile(
    r"(^|[_\W])(zip|zipcode|postcode|postal|plz|phone|tel|fax|iban|isbn|ean|sku|ssn)([_\W]|code|$)", re.IGNORECASE
)
_DATE_NAME = re.compile(r"(date|day|datum|jour|fecha|(^|_)(on|at|dt)$|time|created|updated)", re.IGNORECASE)


class _Look(NamedTuple):
    """What one text may be."""

    number: bool = False
    mark: Mark = Mark.NONE
    unit: str = ""
    by_dot: float | None = None
    by_comma: float | None = None
    is_long: bool = False
    """An integer that no float64 holds."""
    is_padded: bool = False
    """An integer with zeros before it, as codes have."""
    is_integer: bool = False
    date: bool = False
    order: DayOrder | None = None
    has_time: bool = False
    is_compact: bool = False
    clock: bool = False
    yes_no: bool = False
    n_words: int = 1


def _look_at(text: str) -> _Look:
    plain = parse_plain(text)
    if plain is not None:
        digits = text.lstrip("+-")
        is_integer, mark = digits.isdigit(), mark_of_plain(text)
        by_comma = plain if mark is Mark.NONE else float(text.replace(".", "")) if mark is Mark.MAYBE_DOT else None
        return _Look(
            number=True, mark=mark, by_dot=plain, by_comma=by_comma, is_long=len(text) > 15 and not is_exact(text),
            is_padded=is_integer and len(digits) > 1 and digits[0] == "0", is_integer=is_integer,
            is_compact=is_integer and len(digits) == 8 and read_date(text, is_compact=True) is not None,
            yes_no=text in ("0", "1"),
        )  # fmt: skip
    n_words = len(text.split())
    if text.lower() in YES or text.lower() in NO:
        return _Look(yes_no=True)
    if (date := read_date(text)) is not None:
        return _Look(date=True, order=date.order, has_time=date.has_time, n_words=n_words)
    if read_clock(text) is not None:
        return _Look(clock=True, n_words=n_words)
    if (written := read_written(text)) is not None:
        return _Look(
            number=True, mark=written.mark, unit=written.unit, by_dot=written.value("."), by_comma=written.value(","),
            n_words=n_words,
        )  # fmt: skip
    return _Look(n_words=n_words)


class _Group:
    """Texts that look the same, or one text; with what is needed of them all."""

    __slots__ = ("high", "look", "low", "n", "row", "text")

    def __init__(self, text: str, look: _Look, row: int) -> None:
        self.text, self.look, self.row = text, look, row
        self.n = 0
        self.low = self.high = look.by_dot

    def add(self, look: _Look) -> None:
        self.n += 1
        if look.by_dot is not None and self.low is not None and self.high is not None:
            self.low, self.high = min(self.low, look.by_dot), max(self.high, look.by_dot)


class ColumnProfiler:
    """Looks at the cells of one column, one after another."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._texts: dict[str, _Group] = {}
        self._beyond: dict[_Look, _Group] = {}
        """Those that came when no more could be remembered, by how they look."""
        self._n_missing = self._n_values = 0
        self.marks: dict[str, int] = {}
        """Unusual marks of missing values, each with its first row."""
        self._last_integer: float | None = None
        self._counts_up = True
        """Whether each value is one more than that of the row before, as numbers of rows are."""

    def add(self, row_no: int, text: str) -> None:
        """
        Args:
            text: without spaces around it.
        """
        group = self._texts.get(text)
        if group is None:
            if is_missing(text):
                self._n_missing += 1
                if is_unusual(text):
                    self.marks.setdefault(text, row_no)
                return
            look = _look_at(text)
            if len(self._texts) < MOST_DISTINCT:
                group = self._texts[text] = _Group(text, look, row_no)
            else:
                alike = look._replace(by_dot=None, by_comma=None)
                group = self._beyond.setdefault(alike, _Group(text, look, row_no))
                group.add(look)
                group.n -= 1
        self._n_values += 1
        group.n += 1
        if self._counts_up:
            value = group.look.by_dot if group.look.is_integer else None
            last, self._last_integer = self._last_integer, value
            self._counts_up = value is not None and (value in (0, 1) if last is None else value == last + 1)

    def conclude(self, reading: ColumnReading | None = None, *, decimal: str | None = None) -> ColumnSchema:
        """The schema of what was seen.

        Args:
            reading: what people say of the column; None = found here.
            decimal: the mark that the rest of the table says; None = unknown.
        """
        return _Conclusion(self, decimal).schema(reading)

    # ---- what the conclusion asks

    @property
    def name(self) -> str:
        return self._name

    @property
    def n_values(self) -> int:
        return self._n_values

    @property
    def n_missing(self) -> int:
        return self._n_missing

    @property
    def n_distinct(self) -> int:
        return len(self._texts)

    @property
    def is_beyond(self) -> bool:
        return bool(self._beyond)

    @property
    def counts_up(self) -> bool:
        return self._counts_up

    def counts(self) -> dict[str, int]:
        """How often each text is there that is remembered."""
        return {text: group.n for text, group in self._texts.items()}

    def groups(self) -> list[_Group]:
        return [*self._texts.values(), *self._beyond.values()]

    def sure_marks(self) -> Counter[str]:
        """How many numbers leave no doubt of which decimal mark."""
        found: Counter[str] = Counter()
        for group in self.groups():
            if group.look.number and group.look.mark in (Mark.DOT, Mark.COMMA):
                found["," if group.look.mark is Mark.COMMA else "."] += group.n
        return found


class _Conclusion:
    """What one column is, from all that was seen of it."""

    def __init__(self, seen: ColumnProfiler, decimal: str | None) -> None:
        self._seen = seen
        self._groups = seen.groups()
        self._soft = sum(g.n for g in self._groups if is_missing_measure(g.text))
        self._warnings: list[str] = []
        self._decimal = self._find_decimal(decimal)

    def schema(self, reading: ColumnReading | None) -> ColumnSchema:
        seen = self._seen
        found = reading or self._read()
        n_missing, low, high = seen.n_missing, None, None
        marks = dict(seen.marks)
        odd: list[Odd] = []
        n_odd = 0
        if found.kind in (ColumnKind.NUMBER, ColumnKind.DATE, ColumnKind.TIME, ColumnKind.YES_NO):
            for group in sorted(self._groups, key=lambda g: g.row):
                value = found.measure(group.text)
                if value is None:
                    n_odd += group.n
                    if len(odd) < _MOST_ODD:
                        odd.append(Odd(group.row, group.text[:80]))
                elif math.isnan(value):
                    n_missing += group.n
                    marks[group.text] = group.row
                else:
                    is_same = group.low is not None and found.kind is ColumnKind.NUMBER and found.decimal == "."
                    least, most = (group.low, group.high) if is_same else (value, value)
                    low = least if low is None else min(low, least or 0.0)
                    high = most if high is None else max(high, most or 0.0)
        self._warnings += [
            f"row {row}: {text!r} is read as a missing value" for text, row in sorted(marks.items(), key=lambda m: m[1])
        ][:_MOST_ODD]
        if odd:
            self._warnings.append(self._told_odd(found, odd[0], n_odd))
        frequent = sorted(self._groups, key=lambda g: (-g.n, g.row))[:_MOST_FREQUENT] if not seen.is_beyond else []
        return ColumnSchema(
            name=seen.name, reading=found, n_values=seen.n_values - n_odd - (n_missing - seen.n_missing),
            n_missing=n_missing, n_distinct=seen.n_distinct, low=low, high=high,
            most_frequent=[(g.text[:80], g.n) for g in frequent if g.n > 1], n_odd=n_odd, odd=odd,
            warnings=self._warnings,
        )  # fmt: skip

    def _told_odd(self, reading: ColumnReading, first: Odd, n_odd: int) -> str:
        what = {
            ColumnKind.NUMBER: f"no number{f' of {reading.unit}' if reading.unit else ''}", ColumnKind.DATE: "no date",
            ColumnKind.TIME: "no time",
        }.get(reading.kind, "neither yes nor no")  # fmt: skip
        others = f", and so are {n_odd - 1} others" if n_odd > 1 else ""
        return f"row {first.row}: {first.value!r} is {what}{others}; it counts as missing"

    def _n(self, is_so: str) -> int:
        return sum(g.n for g in self._groups if getattr(g.look, is_so))

    def _find_decimal(self, told: str | None) -> str:
        sure = self._seen.sure_marks()
        if sure["."] != sure[","]:
            return "," if sure[","] > sure["."] else "."
        return told or "."

    # ---- of which kind it is

    def _read(self) -> ColumnReading:
        seen = self._seen
        n = seen.n_values - self._soft
        if n <= 0:
            self._warnings.append("it is empty: it is no feature")
            return ColumnReading(kind=ColumnKind.EMPTY)
        if seen.n_distinct == 1 and not seen.is_beyond and not seen.n_missing and n > 1:
            self._warnings.append(f"every row has {self._groups[0].text[:80]!r}: it is no feature")
            return ColumnReading(kind=ColumnKind.CONSTANT)
        for read in (self._as_yes_no, self._as_date, self._as_time, self._as_number):
            if (found := read(n)) is not None:
                return found
        return self._as_texts(n)

    def _as_yes_no(self, n: int) -> ColumnReading | None:
        texts = {g.text.lower() for g in self._groups if not is_missing_measure(g.text)}
        words = texts - {"0", "1"}
        is_both = bool(texts & YES or "1" in texts) and bool(texts & NO or "0" in texts)
        if words and texts <= YES | NO | {"0", "1"} and is_both:
            return ColumnReading(kind=ColumnKind.YES_NO)
        return None

    def _as_date(self, n: int) -> ColumnReading | None:
        named = bool(_DATE_NAME.search(self._seen.name))
        is_compact = named and self._n("is_compact") >= _SHARE * n
        if not is_compact and self._n("date") < _SHARE * n:
            return None
        dates = [g for g in self._groups if g.look.date]
        order = self._find_order(dates)
        return ColumnReading(
            kind=ColumnKind.DATE, day_order=order, is_compact=is_compact, has_time=any(g.look.has_time for g in dates)
        )

    def _find_order(self, dates: list[_Group]) -> DayOrder:
        sure: Counter[DayOrder] = Counter()
        unsure: _Group | None = None
        for group in dates:
            if group.look.order is not None:
                sure[group.look.order] += group.n
            elif (
                unsure is None
                and not group.text[:4].isdigit()
                and read_date(group.text, DayOrder.DAY_FIRST) != read_date(group.text)
            ):
                unsure = group
        if sure:
            return max(sure, key=lambda order: sure[order])
        if unsure is None:
            return DayOrder.MONTH_FIRST
        order = DayOrder.MONTH_FIRST if "/" in unsure.text else DayOrder.DAY_FIRST
        self._warnings.append(
            f"row {unsure.row}: {unsure.text!r} may begin with the day or the month, and no row tells which; it is "
            f"read {order}"
        )
        return order

    def _as_time(self, n: int) -> ColumnReading | None:
        return ColumnReading(kind=ColumnKind.TIME) if self._n("clock") >= _SHARE * n else None

    def _as_number(self, n: int) -> ColumnReading | None:
        numbers = [g for g in self._groups if g.look.number]
        n_numbers = sum(g.n for g in numbers)
        if n_numbers < _SHARE * n:
            if n_numbers > n / 2 and not self._has_codes():
                odd = min(
                    (g for g in self._groups if not g.look.number and not is_missing_measure(g.text)),
                    key=lambda g: g.row,
                )
                self._warnings.append(
                    f"{n - n_numbers} of {n} values are no numbers, such as {odd.text[:80]!r} in row {odd.row}: all "
                    "are categories"
                )
            return None
        if self._has_codes():
            return None
        units: Counter[str] = Counter()
        for group in numbers:
            units[group.look.unit] += group.n
        # Numbers without a unit are of the one that the others have, unless these are few.
        unit = max(units, key=lambda u: (bool(u) and units[u] > (1 - _SHARE) * n_numbers, units[u]))
        if units[unit] + (units[""] if unit else 0) < _SHARE * n_numbers:
            return None
        reading = ColumnReading(kind=ColumnKind.NUMBER, decimal=self._decimal, unit=unit)
        is_unique = self._seen.n_distinct == n or self._seen.is_beyond
        if n > 2 and is_unique and all(g.look.is_integer for g in numbers):
            is_row_no = self._seen.counts_up and not self._seen.n_missing
            if _ID_NAME.search(self._seen.name) and (is_row_no or n > 20):
                self._warnings.append(
                    "each value is there once, and its name is that of an identifier: it is no feature"
                )
                return ColumnReading(kind=ColumnKind.IDENTIFIER)
            if is_row_no and n > 20:
                self._warnings.append(
                    "it numbers the rows: leave it out of the features unless their order tells something"
                )
        return reading

    def _has_codes(self) -> bool:
        """Whether what looks like numbers are names written in digits."""
        long = next((g for g in self._groups if g.look.is_long), None)
        padded = [g for g in self._groups if g.look.is_padded]
        if long is not None:
            self._warnings.append(
                f"row {long.row}: {long.text[:80]!r} has more digits than a number keeps: values are names, not numbers"
            )
            return True
        if padded and _is_code_like(self._groups):
            self._warnings.append(
                f"row {padded[0].row}: {padded[0].text[:80]!r} begins with a zero: values are names, not numbers"
            )
            return True
        return bool(_CODE_NAME.search(self._seen.name)) and all(
            g.look.is_integer or not g.look.number for g in self._groups
        )

    def _as_texts(self, n: int) -> ColumnReading:
        seen = self._seen
        values = [g for g in self._groups if not is_missing_measure(g.text)]
        words = sum(g.look.n_words * g.n for g in values) / max(1, sum(g.n for g in values))
        is_varied = seen.is_beyond or len(values) > max(10, n / 2)
        if words >= _TEXT_WORDS and is_varied:
            return ColumnReading(kind=ColumnKind.TEXT)
        is_unique = (seen.is_beyond or len(values) == n) and n > 10
        if is_unique and words < _TEXT_WORDS:
            self._warnings.append("each value is there once: it is no feature")
            return ColumnReading(kind=ColumnKind.IDENTIFIER)
        return ColumnReading(kind=ColumnKind.CATEGORY)


def _is_code_like(groups: list[_Group]) -> bool:
    """Whether integers have one length, or several begin with zeros, as codes do: a single ``007`` among numbers says
    nothing."""
    integers = [g for g in groups if g.look.is_integer]
    padded = [g for g in integers if g.look.is_padded]
    lengths = {len(g.text.lstrip("+-")) for g in integers}
    return len(lengths) == 1 or (len(padded) > 1 and sum(g.n for g in padded) >= 0.02 * sum(g.n for g in integers))
