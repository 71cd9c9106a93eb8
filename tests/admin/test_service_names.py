"""What services are called."""

from __future__ import annotations

from support.stores.meta_store_records import Given
from support.stores.store_and_cache import given, migrated_file, store, store_url

from rafiki.admin.service_names import name_of
from rafiki.constants import ServiceType
from rafiki.entities import Service, SubTrainJob
from rafiki.meta_store import MetaStore

__all__ = ["given", "migrated_file", "store", "store_url"]


def worker_of(given: Given, sub: SubTrainJob) -> Service:
    return given.service(service_type=ServiceType.TRAIN, job_id=sub.train_job_id, unit_id=sub.id)


def test_apps_of_one_name_are_told_apart_by_their_owners(store: MetaStore, given: Given) -> None:
    mine = given.train_job(app="demo")
    sub = store.train_jobs.list_sub_train_jobs(mine.id)[0]
    alone = name_of(store, worker_of(given, sub))
    assert alone == f"train demo/1 {sub.model_name}#1"
    others = given.train_job(given.user(), app="demo")
    theirs = store.train_jobs.list_sub_train_jobs(others.id)[0]
    found = {name_of(store, worker_of(given, one)) for one in (sub, theirs)}
    emails = [store.users.get_user(job.user_id).email for job in (mine, others)]
    assert found == {
        f"train demo/1 {one.model_name}#1 of {email}" for one, email in zip((sub, theirs), emails, strict=True)
    }
    elsewhere = given.train_job(app="another")
    assert " of " not in name_of(store, worker_of(given, store.train_jobs.list_sub_train_jobs(elsewhere.id)[0]))
