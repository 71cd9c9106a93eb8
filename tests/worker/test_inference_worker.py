"""How an inference worker answers a batch: whatever fails, fails for the query that caused it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rafiki.errors import CacheUnavailableError
from rafiki.messages import Query, Reply
from rafiki.tasks.registry import get_task
from rafiki.worker.inference import Batches, BatchPredictor

NOW_MS = 1_700_000_000_000


class Model:
    """Answers with what ``rule`` makes of each query, and keeps the sizes of its batches."""

    def __init__(self, rule: Callable[[Any], Any], whole: Callable[[list[Any]], Any] | None = None) -> None:
        self.rule, self.whole = rule, whole
        self.batches: list[int] = []

    def predict(self, queries: list[Any]) -> Any:
        self.batches.append(len(queries))
        return self.whole(queries) if self.whole else [self.rule(q) for q in queries]


def query(query_id: int, raw: bytes, reply_to: str = "r", late_s: float = -60.0) -> Query:
    return Query(reply_to, query_id, NOW_MS - int(late_s * 1000), raw)


def answer(model: Model, *raw: bytes, task: str = "CUSTOM") -> list[Reply]:
    predictor = BatchPredictor(model, get_task(task), "model.py")  # type: ignore[arg-type]
    replies = predictor.answer([query(i, r) for i, r in enumerate(raw)], NOW_MS)
    assert replies.keys() <= {"r"}
    return sorted(replies.get("r", []), key=lambda r: r.query_id)


def test_a_batch_is_predicted_at_once_and_answered_in_order() -> None:
    model = Model(lambda q: {"twice": np.int64(q * 2)})
    assert answer(model, b"1", b"2", b"3") == [Reply(i, "ok", b'{"twice":%d}' % (2 * i + 2)) for i in range(3)]
    assert model.batches == [3]


def test_each_predictor_gets_its_own_answers() -> None:
    predictor = BatchPredictor(Model(lambda q: q), get_task("CUSTOM"), "model.py")  # type: ignore[arg-type]
    replies = predictor.answer([query(1, b"1", "a"), query(1, b"2", "b"), query(2, b"3", "a")], NOW_MS)
    assert replies == {"a": [Reply(1, "ok", b"1"), Reply(2, "ok", b"3")], "b": [Reply(1, "ok", b"2")]}


def test_queries_past_their_deadline_are_neither_predicted_nor_answered() -> None:
    model = Model(lambda q: q)
    predictor = BatchPredictor(model, get_task("CUSTOM"), "model.py")  # type: ignore[arg-type]
    assert predictor.answer([query(1, b"1", late_s=0.1), query(2, b"2")], NOW_MS) == {"r": [Reply(2, "ok", b"2")]}
    assert predictor.answer([query(1, b"1", late_s=5.0)], NOW_MS) == {}
    assert predictor.answer([], NOW_MS) == {}
    assert model.batches == [1]


@pytest.mark.parametrize("failure", [ValueError("not this one"), SystemExit(3), MemoryError(), ZeroDivisionError()])
def test_a_query_that_breaks_the_model_spoils_no_other(failure: BaseException) -> None:
    def rule(q: Any) -> Any:
        if q == "poison":
            raise failure
        return q

    model = Model(rule)
    replies = answer(model, b'"a"', b'"poison"', b'"b"')
    assert [r.status for r in replies] == ["ok", "model_error", "ok"]
    assert replies[1].payload.startswith(b"predict() failed: ")
    assert model.batches == [3, 1, 1, 1]


def test_a_single_query_that_breaks_the_model_is_not_tried_again() -> None:
    model = Model(lambda q: 1 / 0)
    assert [r.status for r in answer(model, b"1")] == ["model_error"]
    assert model.batches == [1]


@pytest.mark.parametrize(
    ("raw", "task"),
    [
        (b"[1,", "CUSTOM"),
        (b'"\xff"', "CUSTOM"),
        (b"[" * 50_000 + b"]" * 50_000, "CUSTOM"),
        (b'"text"', "IMAGE_CLASSIFICATION"),
        (b'["\xff"]', "POS_TAGGING"),
        (b'{"a": "\xff"}', "TABULAR_CLASSIFICATION"),
    ],
)
def test_a_query_that_is_not_what_the_task_takes_never_reaches_the_model(raw: bytes, task: str) -> None:
    model = Model(lambda q: [0, 1])
    good = {"IMAGE_CLASSIFICATION": b"[[1]]", "POS_TAGGING": b'["a"]', "TABULAR_CLASSIFICATION": b"{}"}.get(task, b"1")
    replies = answer(model, raw, good, task=task)
    assert [r.status for r in replies] == ["invalid_query", "ok"]
    assert replies[0].payload.decode().endswith(".")
    assert model.batches == [1]


@pytest.mark.parametrize(
    ("whole", "reason"),
    [
        (lambda qs: qs[:-1], "predict() returned 0 predictions (a list), and a list with one prediction is expected."),
        (lambda qs: [*qs, 1], "predict() returned 2 predictions (a list), and a list with one prediction is expected."),
        (
            lambda qs: None,
            "predict() returned None (is a `return` missing?), and a list with one prediction is expected.",
        ),
        (lambda qs: 3.5, "predict() returned a float (3.5), and a list with one prediction is expected."),
        (lambda qs: "yes", "predict() returned a str ('yes'), and a list with one prediction is expected."),
        (lambda qs: (q / 0 for q in qs), "predict() failed: ZeroDivisionError"),
    ],
)
def test_the_wrong_number_of_predictions_is_a_clear_error_for_each_query(
    whole: Callable[[list[Any]], Any], reason: str
) -> None:
    replies = answer(Model(lambda q: q, whole), b"1", b"2")
    assert [r.status for r in replies] == ["model_error"] * 2
    assert all(reason in r.payload.decode() for r in replies)


def test_an_array_of_predictions_is_one_prediction_a_row() -> None:
    model = Model(lambda q: q, lambda qs: np.full((len(qs), 2), 0.5, np.float32))
    assert answer(model, b"[[1]]", b"[[2]]", task="IMAGE_CLASSIFICATION") == [
        Reply(0, "ok", b"[0.5,0.5]"),
        Reply(1, "ok", b"[0.5,0.5]"),
    ]


class Stubborn:
    def tolist(self) -> Any:
        raise AttributeError("no list of this")


def deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(50_000):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("prediction", "task"),
    [
        (object(), "CUSTOM"),
        (Stubborn(), "CUSTOM"),
        (deep(), "CUSTOM"),
        ("\ud800", "CUSTOM"),
        ([0.1, float("nan")], "IMAGE_CLASSIFICATION"),
        (Stubborn(), "IMAGE_CLASSIFICATION"),
        ("cat", "IMAGE_CLASSIFICATION"),
        (float("inf"), "TABULAR_REGRESSION"),
    ],
)
def test_a_prediction_that_cannot_be_sent_spoils_no_other(prediction: Any, task: str) -> None:
    good, raw = ([0.5, 0.5], b"[[1]]") if task == "IMAGE_CLASSIFICATION" else (1.5, b"{}")
    model = Model(lambda q: q, lambda qs: [good, prediction, good][: len(qs)])
    replies = answer(model, raw, raw, raw, task=task)
    assert [r.status for r in replies] == ["ok", "model_error", "ok"]
    assert replies[1].payload.decode().startswith("predict() ")


class Queue:
    """Gives what it was filled with, a part a call; an exception is raised."""

    now_ms = NOW_MS

    def __init__(self, *parts: list[Query] | Exception) -> None:
        self.parts = list(parts)
        self.asked: list[int] = []

    def exchange(self, replies: object, *, most: int, timeout_s: float) -> list[Query]:
        assert 0 < timeout_s <= 0.1
        self.asked.append(most)
        part = self.parts.pop(0)
        if isinstance(part, Exception):
            raise part
        return part


def batches(queue: Queue, took_s: float, most: int = 8) -> Batches:
    """Of a model whose batches all took ``took_s``."""
    found = Batches(queue, most)  # type: ignore[arg-type]
    for _ in range(20):
        found.add(1, took_s)
    return found


def test_a_batch_with_costs_to_share_is_filled_while_queries_come_and_has_room() -> None:
    q = [query(i, b"1") for i in range(8)]
    queue = Queue([q[1]], [q[2], q[3]], [])
    assert batches(queue, 0.05).fill([q[0]]) == q[:4]
    assert queue.asked == [7, 6, 4]
    queue = Queue([q[1]])
    assert batches(queue, 0.05, most=2).fill([q[0]]) == q[:2]


def test_a_quick_model_predicts_at_once() -> None:
    queue = Queue()
    assert batches(queue, 0.0001).fill([query(0, b"1")]) == [query(0, b"1")]
    assert batches(queue, 0.05).fill([]) == []
    assert queue.asked == []


def test_a_query_whose_deadline_is_near_waits_for_no_other() -> None:
    queue = Queue()
    soon = [query(0, b"1", late_s=-0.04)]
    assert batches(queue, 0.05).fill(soon) == soon
    assert queue.asked == []


def test_what_is_held_is_predicted_when_the_cache_goes_away_meanwhile() -> None:
    q = [query(i, b"1") for i in range(2)]
    assert batches(Queue([q[1]], CacheUnavailableError("away")), 0.05).fill([q[0]]) == q
