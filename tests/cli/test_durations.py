from __future__ import annotations

import pytest

from rafiki_cli.render.durations import parse_duration
from rafiki_cli.terminal import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5h", 5400), ("30m", 1800), (" 10 min ", 600), ("7d", 604_800), ("2W", 1_209_600)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text, "--x") == seconds


@pytest.mark.parametrize("text", ["", "d", "-1d", "7 days", "1e9s", "nan", "inf", "7dd", "0", "0s", "9" * 400])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--x .*above 0"):
        parse_duration(text, "--x")


def test_no_time_at_all_is_a_duration_where_that_makes_sense() -> None:
    assert parse_duration("0", "--x", may_be_zero=True) == parse_duration("0d", "--x", may_be_zero=True) == 0
