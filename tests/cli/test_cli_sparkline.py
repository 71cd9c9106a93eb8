from __future__ import annotations

import math

import pytest

from rafiki.analysis.curves import best_so_far
from rafiki_cli.render.sparkline import bounds, last, resample, sparkline


def test_rising_values_rise_from_the_lowest_to_the_highest_block() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 20) == "▁▂▃▄▅▆▇█"
    assert sparkline([7, 0], 8) == "█▁"


def test_what_is_no_number_is_a_blank_and_does_not_set_the_scale() -> None:
    assert sparkline([None, 1.0, math.nan, 3.0, math.inf, -math.inf], 10) == " ▁ █  "
    assert sparkline([None, math.nan], 10) == "  "
    assert sparkline([], 10) == ""
    assert sparkline([1, 2], 0) == ""


@pytest.mark.parametrize("value", [0.0, 0.9, -5.0, 1e308])
def test_values_that_are_all_the_same_make_a_line_at_half_height(value: float) -> None:
    assert sparkline([value] * 5, 10) == "▄" * 5


def test_more_values_than_fit_are_put_together_in_equal_groups() -> None:
    assert resample(list(range(10)), 5) == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert resample(list(range(10)), 5, last) == [1, 3, 5, 7, 9]
    assert resample([1.0, None, None, None, 5.0, math.nan], 3, max) == [1.0, None, 5.0]
    assert len(sparkline([float(i) for i in range(1000)], 37)) == 37


def test_a_given_scale_is_shared_and_values_outside_stay_at_its_edges() -> None:
    low, high = [0.1, 0.15], [0.85, 0.9]
    scale = bounds(low, high)
    assert scale == (0.1, 0.9)
    assert sparkline(low, 5, scale=scale) == "▁▁"
    assert sparkline(high, 5, scale=scale) == "██"
    assert sparkline([-9.0, 9.0], 5, scale=(0.0, 1.0)) == "▁█"
    assert bounds([None], []) is None


def test_the_best_so_far_never_falls_and_is_nothing_before_the_first_score() -> None:
    assert best_so_far([None, 0.5, math.nan, 0.4, 0.7, None]) == [None, 0.5, 0.5, 0.5, 0.7, 0.7]


def test_the_largest_numbers_do_not_overflow() -> None:
    assert sparkline([-1.7e308, 0.0, 1.7e308], 3) == "▁▅█"
    assert resample([1.7e308, 1.7e308], 1) == [1.7e308]


def test_the_plain_form_has_ascii_only() -> None:
    text = sparkline([0, 1, 2, 3, 4, 5, 6, 7, None], 9, is_ascii=True)
    assert text.isascii()
    assert len(set(text)) == 9
