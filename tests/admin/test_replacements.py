"""The members of an ensemble, chosen again without those that cannot be loaded."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import create_autospec

import pytest
from support.stores.meta_store_records import Given
from support.stores.store_and_cache import given, migrated_file, store, store_url

from rafiki.admin.actions import ReplaceMembers
from rafiki.admin.events import EventHub
from rafiki.admin.replacements import Replacements
from rafiki.entities import InferenceJob
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import InvalidRunningInferenceJobError
from rafiki.meta_store import MetaStore
from rafiki.store_location import folder_location
from rafiki.stores import open_param_store

__all__ = ["given", "migrated_file", "store", "store_url"]


class Case:
    """A job that serves the best of three trials of one model."""

    def __init__(self, store: MetaStore, given: Given, folder: Path) -> None:
        self.store = store
        sub = given.sub_train_job("adv")
        self.trials = [given.completed_trial(sub, no, no / 10, f"p{no}").id for no in (1, 2, 3)]
        self.job = given.inference_job(store.train_jobs.get_train_job(sub.train_job_id), [self.trials[2]])
        self.woken: list[bool] = []
        self.replacements = Replacements(
            store=store, params=open_param_store(folder_location(folder)), hub=create_autospec(EventHub, instance=True),
            environments=create_autospec(EnvironmentStore, instance=True), wake=lambda: self.woken.append(True),
        )  # fmt: skip

    def lose(self, trial_id: str) -> InferenceJob:
        """The job after its members have been chosen without the trial."""
        self.replacements._choose(ReplaceMembers(job=self.job, lost={trial_id: "damaged"}))
        self.job = self.store.inference_jobs.get_inference_job(self.job.id)
        return self.job

    def served(self) -> list[tuple[str, float]]:
        return [(s.trial_id, s.weight) for s in self.store.inference_jobs.list_served_trials(self.job.id)]


@pytest.fixture
def case(store: MetaStore, given: Given, tmp_path: Path) -> Case:
    return Case(store, given, tmp_path / "params")


def test_the_next_best_trial_of_the_model_is_served_until_there_is_none(case: Case) -> None:
    first, second, third = case.trials
    replaced = case.lose(third).ensemble.replaced
    assert case.served() == [(second, 1.0)]
    assert [(r.trial_id, r.reason) for r in replaced] == [(third, "damaged")]
    assert [r.trial_id for r in case.lose(second).ensemble.replaced] == [third, second]
    assert case.served() == [(first, 1.0)]
    assert case.replacements.irreplaceable(case.job.id) == frozenset()
    case.lose(first)
    assert case.served() == [(first, 1.0)]
    assert case.replacements.irreplaceable(case.job.id) == {first}
    assert len(case.woken) == 3
    case.replacements.forget_all_but(set())
    assert case.replacements.irreplaceable(case.job.id) == frozenset()


def test_a_job_that_is_to_stop_gets_no_other_members(case: Case) -> None:
    case.store.inference_jobs.request_inference_job_stop(case.job.id)
    case.lose(case.trials[2])
    assert case.served()[0][0] == case.trials[2]
    assert not case.replacements.is_choosing(case.job.id)
    # It is planned again by the next look, if at all: nobody is woken for it.
    assert case.woken == []


def test_members_of_a_job_that_is_to_stop_stay_as_they_are_in_the_store(store: MetaStore, case: Case) -> None:
    stopped = store.inference_jobs.request_inference_job_stop(case.job.id)
    with pytest.raises(InvalidRunningInferenceJobError, match="does not run any more"):
        store.inference_jobs.set_served_trials(stopped.id, [case.trials[0]], [1.0], stopped.ensemble)
