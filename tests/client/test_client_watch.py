"""Streams of events, as the client reads them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.client import Client
from rafiki.client.sse import parse_events
from rafiki.errors import InvalidTrainJobError, InvalidTrialError, UnauthorizedError, UnreachableError

SNAPSHOT = {"type": "snapshot", "job": {"status": "RUNNING"}, "trials": []}
END = {"type": "end", "job": {"status": "STOPPED"}}


@pytest.mark.parametrize(
    ("name", "call", "request_fields"),
    [
        ("watch_train_job", lambda c: c.watch_train_job("an app /?", 2), {"app": "an app /?", "app_version": 2}),
        ("watch_trial_logs", lambda c: c.watch_trial_logs("t1"), {"trial_id": "t1"}),
        ("watch_inference_job", lambda c: c.watch_inference_job("a"), {"app": "a", "app_version": -1}),
        ("watch_environment", lambda c: c.watch_environment("k"), {"key": "k"}),
        ("watch_services", lambda c: c.watch_services(), {}),
    ],
)
def test_a_stream_yields_its_events_until_the_end(
    client: Client, server: ContractServer, name: str, call: Any, request_fields: dict[str, Any]
) -> None:
    server.answers[name] = [SNAPSHOT, {"type": "other", "text": "x" * 300_000 + "é\n"}, END, SNAPSHOT]
    assert list(call(client)) == server.answers[name][:3]
    [made] = server.calls
    assert (made.name, made.token) == (name, "a token")
    assert {f: getattr(made.request, f) for f in request_fields} == request_fields


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_read_whatever_pieces_they_come_in(size: int) -> None:
    text = b': hello\n\nevent: a\ndata: {"x":1}\n\n: again\n\ndata: y\ndata:z\nid: 4\n\nevent: b\n\nevent: c\ndata: 1\n'
    chunks = iter([text[i : i + size] for i in range(0, len(text), size)])
    # An event without data is none, and one that was cut off neither.
    assert list(parse_events(chunks)) == [("a", b'{"x":1}'), ("message", b"y\nz")]


def test_a_broken_stream_is_opened_again_and_begins_with_a_new_snapshot(client: Client, server: ContractServer) -> None:
    begun: list[int] = []

    def answer(_: Any) -> Iterator[dict[str, Any]]:
        begun.append(1)
        yield {**SNAPSHOT, "no": len(begun)}
        if len(begun) == 3:
            yield END

    server.answers["watch_train_job"] = answer
    events = list(client.watch_train_job("app"))
    assert [e["type"] for e in events] == ["snapshot", "away", "snapshot", "away", "snapshot", "end"]
    assert [e["no"] for e in events if e["type"] == "snapshot"] == [1, 2, 3]
    assert 0 < events[1]["left_s"] <= 60
    assert "ended the stream" in events[1]["reason"]


def test_patience_with_an_admin_that_is_away_ends(server: ContractServer) -> None:
    server.answers["watch_train_job"] = [SNAPSHOT]
    client = Client("127.0.0.1", server.port)
    client.token = "t"
    events = client.watch_train_job("app", patience_s=0.3)
    assert next(events) == SNAPSHOT
    server.close()
    with pytest.raises(UnreachableError):
        for event in events:
            assert event["type"] in ("away", "snapshot")


def test_without_any_admin_the_first_try_is_the_last() -> None:
    client = Client("127.0.0.1", 1)
    client.token = "t"
    with pytest.raises(UnreachableError, match="No admin answers"):
        next(client.watch_train_job("app"))


def test_a_refusal_is_the_error_that_the_admin_raised(client: Client, server: ContractServer) -> None:
    server.answers["watch_train_job"] = InvalidTrainJobError("There is no train job of 'x'.")
    with pytest.raises(InvalidTrainJobError, match=r"There is no train job of 'x'\."):
        list(client.watch_train_job("x"))
    client.logout()
    with pytest.raises(UnauthorizedError):
        list(client.watch_train_job("x"))


def test_an_error_within_a_stream_is_raised_if_it_refuses_and_waited_for_if_it_passes(
    client: Client, server: ContractServer
) -> None:
    server.answers["watch_trial_logs"] = [SNAPSHOT, {"type": "error", "error": "InvalidTrialError", "message": "No."}]
    events = client.watch_trial_logs("t")
    assert next(events) == SNAPSHOT
    with pytest.raises(InvalidTrialError, match=r"No\."):
        next(events)
    tries: list[int] = []

    def answer(_: Any) -> Iterator[dict[str, Any]]:
        tries.append(1)
        yield SNAPSHOT
        yield END if len(tries) > 1 else {"type": "error", "error": "MetaStoreError", "message": "The database."}

    server.answers["watch_trial_logs"] = answer
    found = list(client.watch_trial_logs("t"))
    assert [e["type"] for e in found] == ["snapshot", "away", "snapshot", "end"]
    assert found[1]["reason"] == "The database."


def test_a_wait_for_the_admin_ends_when_another_thread_says_so(client: Client, server: ContractServer) -> None:
    server.answers["watch_train_job"] = [SNAPSHOT]
    stop = threading.Event()
    events = client.watch_train_job("app", stop=stop)
    assert next(events) == SNAPSHOT
    assert next(events)["type"] == "away"
    stop.set()
    assert list(events) == []
