"""The counting of the chaos suite: whose fault a late answer is."""

from __future__ import annotations

import random
import subprocess
import threading
from types import SimpleNamespace

import pytest
from chaos.answers import Answer, Freeze, Lag, Tally
from chaos.blows import Blows
from chaos.ledger import Service
from chaos.pace import SHORT


def answer(took_s: float, *, seen_s: float | None = None, outcome: str = "answered") -> Answer:
    """To a query of half a second, sent at 100."""
    return Answer(
        target="d", sent_at=100.0, deadline_s=0.5, took_s=took_s, seen_s=took_s if seen_s is None else seen_s,
        outcome=outcome,
    )  # fmt: skip


def count(*told: Answer | Lag | Freeze) -> Tally:
    tally = Tally()
    for one in told:
        if isinstance(one, Answer):
            tally.add(one)
        elif isinstance(one, Lag):
            tally.add_lag(one)
        else:
            tally.freezes.append(one)
    return tally


def test_an_answer_after_its_deadline_is_late_and_one_within_the_grace_is_not() -> None:
    tally = count(answer(1.0), answer(0.69))
    assert [round(s, 6) for _, s in tally.late()] == [0.5]
    assert tally.late_for_client() == 1


def test_what_the_client_itself_delayed_is_counted_apart() -> None:
    tally = count(answer(0.4, seen_s=1.5))
    assert tally.late() == []
    assert tally.late_for_client() == 1


@pytest.mark.parametrize(
    ("freeze", "n_late"), [(("d", 100.2, 100.8), 0), (("d", 101.5, 109.0), 1), (("e", 0.0, 200.0), 1)]
)
def test_a_predictor_that_was_stopped_answers_when_it_may(freeze: tuple[str, float, float], n_late: int) -> None:
    tally = count(answer(1.0), Freeze(*freeze))
    assert len(tally.late()) == n_late
    assert tally.held_by_stopped() == 1 - n_late


@pytest.mark.parametrize(("lag", "n_late"), [(Lag(100.6, 0.4), 0), (Lag(99.0, 5.0), 1), (Lag(100.6, 0.1), 1)])
def test_a_machine_that_ran_nobody_is_no_fault_of_the_server(lag: Lag, n_late: int) -> None:
    assert len(count(answer(1.0), lag).late()) == n_late


def test_what_was_wrong_is_kept_with_its_words() -> None:
    tally = count(answer(0.1, outcome="wrong: 500 b'oh'"), answer(0.1, outcome="refused"))
    assert tally.outcomes == {"wrong": 1, "refused": 1}
    assert tally.wrong == ["d: wrong: 500 b'oh'"]
    assert tally.last_complete == {}


def test_a_predictor_that_is_stopped_as_its_deployment_ends_counts_as_stopped() -> None:
    tally, work = Tally(), SimpleNamespace(deployed={"1-3": "job"})
    with subprocess.Popen(["sleep", "60"]) as process:
        service = Service("id", "PREDICT", "job", "unit", 0, "RUNNING", process.pid)
        ledger, stack = SimpleNamespace(services=[service]), SimpleNamespace(witness=None, disk=None, no_disk="")
        blows = Blows(stack, ledger, work, tally, SimpleNamespace(), SHORT)  # type: ignore[arg-type]
        planned = blows.makers["stop predictor"]("stop predictor", random.Random(1))
        assert planned is not None
        ending = threading.Timer(0.02, work.deployed.clear)
        ending.start()
        assert planned.effect() == {}
        ending.join()
        process.kill()
    assert [freeze.target for freeze in tally.freezes] == ["1-3"]
