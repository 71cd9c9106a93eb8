"""Who may read and remove checkpoints by a service's token."""

from __future__ import annotations

import pytest
from support.stores.meta_store_records import Given

from rafiki.admin.service_rights import ServiceRights, WrittenParams
from rafiki.constants import ServiceType
from rafiki.entities import Service, SubTrainJob, TrialCheckpoint
from rafiki.errors import UnauthorizedError
from rafiki.meta_store import MetaStore


@pytest.fixture
def sub(given: Given) -> SubTrainJob:
    return given.sub_train_job("adv")


def service(given: Given, sub: SubTrainJob, kind: ServiceType) -> Service:
    return given.service(service_type=kind, job_id=sub.train_job_id, unit_id=sub.id)


def test_a_worker_reads_the_checkpoint_of_its_search_alone(store: MetaStore, given: Given, sub: SubTrainJob) -> None:
    trial = given.trial(sub)
    store.trials.set_checkpoint(trial.id, TrialCheckpoint(params_id="kept", step=1, attempt=1), owner_id="adv")
    ServiceRights(service(given, sub, ServiceType.TRAIN), store, WrittenParams()).read_params("kept")
    other = given.sub_train_job("adv")
    with pytest.raises(UnauthorizedError):
        ServiceRights(service(given, other, ServiceType.TRAIN), store, WrittenParams()).read_params("kept")


def test_an_advisor_removes_what_its_workers_wrote_but_no_result(
    store: MetaStore, given: Given, sub: SubTrainJob
) -> None:
    written = WrittenParams()
    for params_id in ("kept", "result"):
        written.note(params_id, sub.id)
    given.completed_trial(sub, 1, 0.5, "result")
    advisor = ServiceRights(service(given, sub, ServiceType.ADVISOR), store, written)
    advisor.delete_params("kept")
    for params_id in ("result", "of another search"):
        with pytest.raises(UnauthorizedError):
            advisor.delete_params(params_id)
    with pytest.raises(UnauthorizedError):
        ServiceRights(service(given, sub, ServiceType.TRAIN), store, written).delete_params("kept")
