from __future__ import annotations

import pytest

from rafiki.utils.nearest import ROUGHLY_ALIKE, did_you_mean, find_nearest, nearest_or_all


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("trian", "train"), ("trail", "trial"), ("trani", "train"), ("trials", "trial"), ("xyz", None), ("", None)],
)
def test_letters_that_changed_places_go_before_what_else_is_alike(wanted: str, meant: str | None) -> None:
    assert find_nearest(wanted, ["trial", "train", "infer"]) == meant


def test_how_alike_a_name_must_be_is_the_callers_choice() -> None:
    assert find_nearest("MODEL_TRIALS", ["MODEL_TRIAL_COUNT"], least=0.9) is None
    assert find_nearest("MODEL_TRIALS", ["MODEL_TRIAL_COUNT"], ROUGHLY_ALIKE) == "MODEL_TRIAL_COUNT"


def test_the_nearest_name_is_asked_for_and_without_one_all_are_told() -> None:
    assert did_you_mean("hous", ["hours"]) == "Did you mean 'hours'?"
    assert did_you_mean("x", ["hours"]) == ""
    assert did_you_mean("x", ["hours"], "See the docs.") == "See the docs."
    assert nearest_or_all("hous", iter(["trials", "hours"])) == "Did you mean 'hours'?"
    assert nearest_or_all("xyz", iter(["trials", "hours"])) == "Valid: trials, hours."
