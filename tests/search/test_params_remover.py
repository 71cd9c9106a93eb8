"""Parameters are removed beside the search; what somebody has, and what a failure leaves, stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.stores.meta_store_records import Given

from rafiki.meta_store import MetaStore
from rafiki.param_store.folder import FolderParamStore
from rafiki.search.params_remover import ParamsRemover

_ENOUGH_S = 60.0


@pytest.fixture
def params(tmp_path: Path) -> FolderParamStore:
    return FolderParamStore(tmp_path / "params")


def names(params: FolderParamStore) -> set[str]:
    return {found.id for found in params.list_stored()}


def test_what_no_trial_has_is_gone_when_the_remover_is_closed(
    store: MetaStore, given: Given, params: FolderParamStore
) -> None:
    ids = [params.save({"x": i}) for i in range(30)]
    given.completed_trial(given.sub_train_job("adv"), 1, 0.5, ids[7])
    remover = ParamsRemover(store, params.location)
    remover.remove(ids[:20])
    remover.remove(ids[20:29])
    remover.close(_ENOUGH_S)
    assert names(params) == {ids[7], ids[29]}


def test_a_removal_that_fails_ends_no_later_one(
    store: MetaStore, params: FolderParamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = params.save({"x": 1}), params.save({"x": 2})
    delete = FolderParamStore.delete

    def refuse(self: FolderParamStore, params_id: str) -> None:
        if params_id == first:
            raise PermissionError(13, "not allowed")
        delete(self, params_id)

    monkeypatch.setattr(FolderParamStore, "delete", refuse)
    remover = ParamsRemover(store, params.location)
    remover.remove([first])
    remover.remove([second])
    remover.close(_ENOUGH_S)
    assert names(params) == {first}


def test_without_a_store_nothing_is_removed_and_no_thread_begins(store: MetaStore) -> None:
    remover = ParamsRemover(store, None)
    remover.remove(["p1"])
    remover.close(0.0)
