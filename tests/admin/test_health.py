"""What the admin says of itself derives from what worked or failed lately."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from support.services.supervised import Scene
from support.stacks.running_stack import eventually
from support.stores.meta_store_records import Given
from support.stores.store_and_cache import given, migrated_file, store, store_url

from rafiki.admin import health
from rafiki.admin.health import Condition, Health, Starts
from rafiki.admin.supervisor import Supervisor
from rafiki.errors import CacheUnavailableError, ContainerError
from rafiki.meta_store import MetaStore

__all__ = ["given", "migrated_file", "store", "store_url"]

FAILURE = CacheUnavailableError("it is full")


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(health.time, "monotonic", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def told(condition: Condition) -> str | None:
    error = condition.find_error()
    return error.message if error is not None else None


def test_what_never_worked_is_not_healthy(clock: Clock) -> None:
    condition = Condition("The cache")
    assert told(condition) == "The cache has not answered yet."
    condition.begin()
    condition.end(FAILURE)
    assert told(condition) == "it is full"
    condition.begin()
    condition.end()
    assert told(condition) is None


def test_a_failure_counts_once_it_has_lasted_and_until_it_works_again(clock: Clock) -> None:
    condition = Condition("The cache")
    condition.begin()
    condition.end()
    condition.begin()
    condition.end(FAILURE)
    assert told(condition) is None
    clock.now_s += health.PATIENCE_S
    assert told(condition) == "it is full"
    condition.begin()
    condition.end()
    assert told(condition) is None
    condition.begin()
    condition.end(FAILURE)
    assert told(condition) is None


def test_a_failure_that_took_long_to_show_counts_from_its_beginning(clock: Clock) -> None:
    condition = Condition("The cache")
    condition.begin()
    condition.end()
    condition.begin()
    clock.now_s += health.PATIENCE_S
    condition.end(FAILURE)
    assert told(condition) == "it is full"


def test_what_hangs_is_not_healthy(clock: Clock) -> None:
    condition = Condition("The database")
    condition.begin()
    condition.end()
    condition.begin()
    assert told(condition) is None
    clock.now_s += health.HANG_S
    assert str(told(condition)).startswith("The database does not answer for")
    condition.begin(60.0)
    assert told(condition) is None


def test_a_service_that_could_not_be_started_counts_until_one_is_or_for_a_while(clock: Clock) -> None:
    starts = Starts()
    assert starts.find_error() is None
    starts.fail("no space")
    assert str(starts.find_error()) == "no space"
    starts.succeed()
    assert starts.find_error() is None
    starts.fail("no space")
    clock.now_s += health.FAILED_START_COUNTS_S
    assert starts.find_error() is None


def test_checks_hold_up_no_other_and_outlive_what_they_run_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "EVERY_S", 0.01)
    monkeypatch.setattr(health, "_AGAIN_S", 0.01)
    monkeypatch.setattr(health, "HANG_S", 0.05)
    may_go_on = threading.Event()
    is_broken = threading.Event()

    def broken() -> None:
        if is_broken.is_set():
            raise ValueError("a fault of our own")

    checked = Health([("The hung", may_go_on.wait), ("The broken", broken)])  # type: ignore[list-item]
    monkeypatch.setattr(health, "PATIENCE_S", 0.0)
    checked.start()
    try:
        eventually(lambda: [e.message for e in checked.find_errors()] == ["The hung has not answered yet."], "the hung")
        is_broken.set()
        eventually(lambda: "ValueError: a fault of our own" in str(checked.find_errors()), "the broken")
        is_broken.clear()
        may_go_on.set()
        eventually(lambda: checked.find_errors() == [], "health")
    finally:
        may_go_on.set()
        checked.shut_down()


# ---- the supervisor


@pytest.fixture
def scene(store: MetaStore, store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(health, "PATIENCE_S", 0.0)
    made = Scene(store, store_url, tmp_path)
    yield made
    made.supervisor.shut_down()


@pytest.fixture
def supervised(scene: Scene) -> Supervisor:
    return scene.supervisor


def messages(supervised: Supervisor) -> str:
    return " ".join(e.message for e in supervised.find_errors())


def test_a_supervisor_is_healthy_after_its_first_look(supervised: Supervisor) -> None:
    assert "has not answered yet" in messages(supervised)
    supervised.start()
    eventually(lambda: supervised.find_errors() == [], "a healthy supervisor")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ContainerError("no engine"), "no engine"),
        (ValueError("a fault of our own"), r"failed unexpectedly (ValueError: a fault of our own)"),
    ],
)
def test_a_loop_that_raises_each_time_is_told_until_it_does_not(
    supervised: Supervisor, scene: Scene, error: Exception, reason: str
) -> None:
    scene.cache.ensure.side_effect = error
    supervised.start()
    eventually(lambda: reason in messages(supervised), "the reason")
    scene.cache.ensure.side_effect = None
    eventually(lambda: supervised.find_errors() == [], "a healthy supervisor")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_has_ended_is_told(supervised: Supervisor, scene: Scene) -> None:
    scene.cache.ensure.side_effect = SystemExit
    supervised.start()
    eventually(lambda: "has ended, so no job goes on" in messages(supervised), "the end")


def test_a_look_that_hangs_is_told(supervised: Supervisor, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()
    supervised.start()
    eventually(lambda: supervised.find_errors() == [], "a healthy supervisor")
    monkeypatch.setattr(health, "HANG_S", 0.05)
    scene.cache.ensure.side_effect = lambda _: may_go_on.wait(60)
    try:
        eventually(lambda: "does not answer for" in messages(supervised), "the hung look")
    finally:
        may_go_on.set()
    eventually(lambda: supervised.find_errors() == [], "a healthy supervisor")


def test_services_that_the_machine_does_not_start_are_told(
    supervised: Supervisor, scene: Scene, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    given.sub_train_job("owner")
    start = create_autospec(scene.containers.start, side_effect=ContainerError("cannot fork: too many processes"))
    monkeypatch.setattr(scene.containers, "start", start)
    supervised.start()
    eventually(lambda: "Services cannot be started: cannot fork" in messages(supervised), "the reason")
