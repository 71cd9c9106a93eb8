"""The events of a model's check come out of the pipe as they went in, whatever model code puts into them."""

from __future__ import annotations

import json
import math
from datetime import date

import numpy as np
import pytest

from rafiki.check_events import (
    CheckEvent,
    CheckFailed,
    CheckPassed,
    CheckWarning,
    FailedLine,
    ModelLogged,
    StepBegun,
    StepDone,
    TrialEnded,
    decode_event,
    encode_event,
)

FAILED = CheckFailed(
    name="train()", method="train()", reason="no", frames=[FailedLine(line=3, function="train", code="fit()")],
    knobs={"x": 0.5},
)  # fmt: skip
EVENTS: list[tuple[CheckEvent, str]] = [
    (StepBegun(name="class", trial=None), '{"event": "step", "name": "class", "trial": null}'),
    (
        StepDone(name="class", trial=1, time_s=0.5, detail="ä"),
        '{"event": "done", "name": "class", "trial": 1, "time_s": 0.5, "detail": "ä"}',
    ),
    (CheckWarning(name="a", message="b"), '{"event": "warning", "name": "a", "message": "b"}'),
    (
        TrialEnded(no=1, knobs={"x": 1, "y": [True, "b"]}, score=0.5, time_s=2.0),
        '{"event": "trial", "no": 1, "knobs": {"x": 1, "y": [true, "b"]}, "score": 0.5, "time_s": 2.0}',
    ),
    (
        FAILED,
        '{"event": "failed", "name": "train()", "method": "train()", "reason": "no", "advice": "", "is_usage": false, '
        '"frames": [{"line": 3, "function": "train", "code": "fit()"}], "knobs": {"x": 0.5}}',
    ),
    (CheckPassed(best=2), '{"event": "passed", "best": 2}'),
    (ModelLogged(line="a=1"), '{"event": "log", "line": "a=1"}'),
]


@pytest.mark.parametrize(("event", "line"), EVENTS, ids=[type(e).__name__ for e, _ in EVENTS])
def test_an_event_travels_as_json_with_its_kind(event: CheckEvent, line: str) -> None:
    assert encode_event(event).decode() == line
    assert decode_event(line.encode()) == event


def test_odd_values_of_knobs_travel_as_what_they_look_like() -> None:
    knobs = {"float": np.float64(0.5), "int": np.int64(3), "day": date(2025, 1, 2), "big": 10**30, "pair": (1, 2)}
    found = decode_event(encode_event(TrialEnded(no=1, knobs=knobs, score=0.5, time_s=1.0)))
    assert isinstance(found, TrialEnded)
    assert found.knobs == {"float": 0.5, "int": "3", "day": "2025-01-02", "big": 10**30, "pair": [1, 2]}


def test_numbers_that_are_none_and_half_letters_keep_no_event_from_travelling() -> None:
    found = decode_event(encode_event(CheckFailed(name="", method="", reason="\udce9", knobs={"x": math.nan})))
    assert isinstance(found, CheckFailed)
    assert found.reason == "?"
    assert found.knobs is not None
    assert json.dumps(found.knobs["x"]) == "NaN"
