"""Commands that wait, at an admin whose stack is not healthy."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.errors import AdminLostError, MetaStoreError, StackUnhealthyError, UnreachableError
from rafiki_cli.watch import health
from rafiki_cli.watch.health import HealthWatch, while_answering, while_healthy

REASON = "The cache at 127.0.0.1:6379 failed: it is full (maxmemory), and refuses to write."
WAITING = [
    ("train", "watch", "digits", "--version", "1"),
    ("trial", "logs", "00000000-0000-4000-8000-000000000001", "--follow"),
    ("infer", "watch", "digits", "--version", "1"),
    ("train", "create", "--app", "digits", "--task", "CUSTOM", "--train", "d", "--val", "d", "--wait"),
]


@pytest.fixture
def unhealthy(server: ContractServer, job: dict[str, Any], trial: dict[str, Any]) -> Iterator[ContractServer]:
    """Its streams begin, and then tell nothing."""
    end = threading.Event()

    def stream(event: dict[str, Any]) -> Any:
        def tell(_: Any) -> Iterator[dict[str, Any]]:
            yield event
            end.wait(60)

        return tell

    server.answers["get_health"] = {"name": "rafiki", "version": "1", "status": REASON}
    server.answers["get_datasets"] = [{"id": "d1", "name": "d", "task": "CUSTOM"}]
    server.answers["get_available_models"] = [{"id": "m1", "name": "m", "task": "CUSTOM"}]
    server.answers["create_train_job"] = {"id": "j1", "app": "digits", "app_version": 1}
    server.answers["get_train_job"] = {**job, "status": "RUNNING"}
    server.answers["get_running_inference_job"] = {"app": "digits", "app_version": 1, "status": "RUNNING"}
    server.answers["get_trial"] = {**trial, "status": "RUNNING"}
    server.answers["watch_train_job"] = stream({"type": "snapshot", "job": {**job, "status": "RUNNING"}, "trials": []})
    for name in ("watch_trial_logs", "watch_inference_job"):
        server.answers[name] = stream({"type": "nothing"})
    yield server
    end.set()


@pytest.mark.parametrize("command", WAITING, ids=" ".join)
def test_a_command_that_waits_ends_with_the_reason(logged_in, unhealthy: ContractServer, command: list[str]) -> None:
    answer = logged_in(*command)
    assert answer.code == ExitCode.UNHEALTHY
    assert f"The stack is not healthy: {REASON}" in answer.err


def test_status_tells_the_reason_and_exits_with_the_same_code(logged_in, unhealthy: ContractServer) -> None:
    answer = logged_in("status")
    assert answer.code == ExitCode.UNHEALTHY
    assert REASON in answer.out
    assert f"The stack is not healthy: {REASON}" in answer.err


def test_one_that_need_not_wait_is_not_kept(logged_in, unhealthy: ContractServer) -> None:
    assert logged_in("train", "show", "digits", "--version", "1", "-o", "json").code == 0


def test_a_call_that_failed_for_the_reason_is_told_by_it(unhealthy: ContractServer) -> None:
    with pytest.raises(StackUnhealthyError, match="it is full"), while_healthy(f"127.0.0.1:{unhealthy.port}"):
        raise MetaStoreError


def test_what_ends_well_or_fails_for_another_reason_is_left_alone(server: ContractServer) -> None:
    address = f"127.0.0.1:{server.port}"
    with while_healthy(address):
        pass
    with pytest.raises(MetaStoreError), while_healthy(address):
        raise MetaStoreError
    with pytest.raises(KeyboardInterrupt), while_healthy(address):
        raise KeyboardInterrupt


def test_the_signal_is_given_back(server: ContractServer) -> None:
    def mine(*_: Any) -> None:
        pass

    before = signal.signal(signal.SIGUSR1, mine)
    try:
        with while_healthy(f"127.0.0.1:{server.port}"):
            assert signal.getsignal(signal.SIGUSR1) is not mine
        assert signal.getsignal(signal.SIGUSR1) is mine
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_beside_the_main_thread_nothing_is_interrupted_and_a_failure_is_still_explained(
    unhealthy: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process serves the answer too, and may be busy.
    monkeypatch.setattr(health, "_ANSWER_TIMEOUT_S", 60.0)
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            with while_healthy(f"127.0.0.1:{unhealthy.port}"):
                raise UnreachableError
        except StackUnhealthyError as e:
            raised.append(e)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(120)
    assert REASON in str(raised)


def test_an_admin_that_takes_connections_and_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(health, "_ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(health, "_SILENT_S", 0.1)
    monkeypatch.setattr(health, "_EVERY_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(AdminLostError, match="has not answered for"), HealthWatch(address).interrupting():
            threading.Event().wait(60)
        with pytest.raises(AdminLostError, match="has not answered for"), while_answering(address):
            threading.Event().wait(60)


def test_where_any_answer_is_good_only_an_admin_that_hangs_ends_the_wait(unhealthy: ContractServer) -> None:
    watch = HealthWatch(f"127.0.0.1:{unhealthy.port}", is_any_answer_good=True)
    assert watch._look() is None


def test_an_admin_that_is_not_there_is_left_to_the_calls() -> None:
    with while_healthy("127.0.0.1:1"):
        pass
    with pytest.raises(UnreachableError, match="No admin answers"), while_healthy("127.0.0.1:1"):
        raise UnreachableError("No admin answers.")


def test_an_admin_that_has_just_come_back_is_given_time_to_look_at_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = HealthWatch("127.0.0.1:1")
    answers = iter([None, "The supervisor has not answered yet.", "ok", "The disk is full."])
    monkeypatch.setattr(watch, "_ask", lambda: next(answers))
    assert [watch._look() for _ in range(3)] == [None, None, None]
    assert isinstance(watch._look(), StackUnhealthyError)
