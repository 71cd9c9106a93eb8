"""Where the ticks of an axis stand, and what they say: round numbers, powers, or times."""

from __future__ import annotations

import math
from typing import NamedTuple

from rafiki_cli.render import values

_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


class Tick(NamedTuple):
    at: float
    """Its place on the axis, as :meth:`Scale.place` gives it."""
    text: str


class Scale(NamedTuple):
    """How an axis is spread."""

    is_log: bool = False
    is_whole: bool = False
    """Only whole numbers have a tick."""
    is_time: bool = False
    """The numbers are seconds."""

    def place(self, value: float) -> float | None:
        """The place of a value on the axis; None where it has none."""
        if not self.is_log:
            return value
        return math.log10(value) if value > 0 else None

    def ticks(self, low: float, high: float, count: int) -> list[Tick]:
        """About ``count`` ticks between two places."""
        if self.is_log:
            return log_ticks(low, high, count)
        if self.is_time:
            return time_ticks(low, high, count)
        return linear_ticks(low, high, count, least_step=1.0 if self.is_whole else 0.0)


def linear_ticks(low: float, high: float, count: int, *, least_step: float = 0.0) -> list[Tick]:
    """Ticks at multiples of 1, 2 or 5 times a power of ten."""
    step = max(_nice_step((high - low) / max(1, count)), least_step)
    return [Tick(at, _decimals(at, step)) for at in _multiples(low, high, step)]


def time_ticks(low: float, high: float, count: int) -> list[Tick]:
    """Ticks at round times, of seconds."""
    rough = (high - low) / max(1, count)
    if rough < 1:
        return [Tick(t.at, f"{t.text}s") for t in linear_ticks(low, high, count)]
    step = next((float(s) for s in _TIME_STEPS_S if s >= rough), 86400.0 * math.ceil(rough / 86400))
    return [Tick(at, short_time(at)) for at in _multiples(low, high, step)]


def log_ticks(low: float, high: float, count: int) -> list[Tick]:
    """Ticks at powers of ten (``low`` and ``high`` are logarithms), with 2 and 5 times these where they are few."""
    first, last = math.floor(low), math.ceil(high)
    every = max(1, math.ceil((last - first) / max(1, count)))
    decades = range(first - first % every, last + 1, every)
    for factors in ((1,), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9)):
        found = [Tick(e + math.log10(f), _power(f, e)) for e in decades for f in factors]
        found = [t for t in found if low - 1e-9 <= t.at <= high + 1e-9]
        if len(found) >= min(3, count) or every > 1:
            return found
    # Less than a power of ten: round numbers, at their logarithms.
    inside = linear_ticks(10**low, 10**high, count)
    return [Tick(math.log10(t.at), t.text) for t in inside if t.at > 0] or found


def short_time(seconds: float) -> str:
    """``90s`` as ``1m30s``, without parts that are zero."""
    whole = round(seconds)
    sign, whole = "-" if whole < 0 else "", abs(whole)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    return sign + ("".join(f"{n}{unit}" for n, unit in parts if n) or "0s")


def _nice_step(rough: float) -> float:
    if not rough > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next((f * power for f in (1, 2, 5) if f * power >= rough * (1 - 1e-9)), 10 * power)


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _decimals(value: float, step: float) -> str:
    """As many decimals as tell neighbouring ticks apart; powers of ten where a plain form would be long."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals > 5 or abs(value) >= 1e6:
        digits = max(1, math.ceil(math.log10(max(abs(value), step) / step) + 1e-9) + 1)
        return f"{value:.{min(digits, 16)}g}"
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _power(factor: int, exponent: int) -> str:
    if -4 < exponent < 5:
        return values.number(float(f"{factor}e{exponent}"))
    return f"{factor}e{exponent}"
