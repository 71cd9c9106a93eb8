from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from rafiki.constants import InferenceJobStatus, ServiceStatus, TrainJobStatus, TrialStatus
from rafiki.states import (
    INFERENCE_JOB_TRANSITIONS,
    SERVICE_TRANSITIONS,
    TRAIN_JOB_TRANSITIONS,
    TRIAL_TRANSITIONS,
    derive_train_job_status,
    is_final,
    live_statuses,
    sources,
)

TABLES: dict[type[StrEnum], Mapping[Any, frozenset[Any]]] = {
    TrialStatus: TRIAL_TRANSITIONS,
    TrainJobStatus: TRAIN_JOB_TRANSITIONS,
    InferenceJobStatus: INFERENCE_JOB_TRANSITIONS,
    ServiceStatus: SERVICE_TRANSITIONS,
}
FINAL = {
    TrialStatus: {"COMPLETED", "ERRORED"},
    TrainJobStatus: {"STOPPED", "ERRORED"},
    InferenceJobStatus: {"STOPPED", "ERRORED"},
    ServiceStatus: {"STOPPED", "ERRORED"},
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_knows_every_status_and_each_is_live_or_final(kind: type[StrEnum]) -> None:
    table = TABLES[kind]
    assert set(table) == set(kind)
    assert {s for s in kind if is_final(table, s)} == FINAL[kind]
    assert set(live_statuses(table)) == set(kind) - FINAL[kind]


@pytest.mark.parametrize("kind", TABLES)
def test_no_status_follows_itself_and_every_live_one_can_end_badly(kind: type[StrEnum]) -> None:
    for status, targets in TABLES[kind].items():
        assert status not in targets
        assert is_final(TABLES[kind], status) or "ERRORED" in targets


@pytest.mark.parametrize("kind", TABLES)
def test_the_sources_of_a_status_are_those_it_may_follow(kind: type[StrEnum]) -> None:
    table = TABLES[kind]
    for target in kind:
        assert set(sources(table, target)) == {s for s in kind if target in table[s]}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (TrialStatus.PENDING, {TrialStatus.RUNNING}),
        (TrialStatus.RUNNING, {TrialStatus.PENDING}),
        (TrialStatus.COMPLETED, {TrialStatus.RUNNING}),
        (TrialStatus.ERRORED, {TrialStatus.PENDING, TrialStatus.RUNNING}),
    ],
)
def test_a_trial_goes_back_to_wait_when_its_worker_is_lost_and_never_on_from_its_end(
    target: TrialStatus, expected: set[TrialStatus]
) -> None:
    assert set(sources(TRIAL_TRANSITIONS, target)) == expected


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ("STARTED", "STARTED"),
        ("STARTED STARTED", "STARTED"),
        ("STARTED RUNNING", "RUNNING"),
        ("STARTED STOPPED", "RUNNING"),
        ("STARTED ERRORED", "RUNNING"),
        ("RUNNING STOPPED ERRORED", "RUNNING"),
        ("STOPPED", "STOPPED"),
        ("STOPPED ERRORED", "STOPPED"),
        ("ERRORED STOPPED", "STOPPED"),
        ("ERRORED", "ERRORED"),
        ("ERRORED ERRORED", "ERRORED"),
    ],
)
def test_a_train_job_lives_while_a_part_lives_and_is_errored_when_no_part_ended_well(parts: str, whole: str) -> None:
    assert derive_train_job_status(TrainJobStatus(p) for p in parts.split()) == whole


@pytest.mark.parametrize("first", TrainJobStatus)
@pytest.mark.parametrize("second", TrainJobStatus)
def test_a_step_of_a_part_never_asks_the_whole_for_a_forbidden_step(
    first: TrainJobStatus, second: TrainJobStatus
) -> None:
    before = derive_train_job_status([first, second])
    for target in TRAIN_JOB_TRANSITIONS[first]:
        after = derive_train_job_status([target, second])
        assert after is before or after in TRAIN_JOB_TRANSITIONS[before]
