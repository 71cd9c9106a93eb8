from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console
from support.http.complete_answers import record, records

from rafiki.contract.train_jobs import TrainJobView, TrialView
from rafiki_cli.render import train_watch, values

START = datetime(2025, 1, 1, 10, 0, 0, tzinfo=UTC)


def _trials(trial: dict[str, Any], states: str) -> list[dict[str, Any]]:
    """One trial a letter: c(ompleted), e(rrored), r(unning)."""
    status = {"c": "COMPLETED", "e": "ERRORED", "r": "RUNNING"}
    return [
        {
            **trial,
            "id": f"t{i}",
            "no": i,
            "status": status[s],
            "score": i / 1000 if s == "c" else None,
            "error": "ValueError: bad [bold] knob" if s == "e" else None,
            "datetime_started": (START + timedelta(seconds=i)).isoformat(),
            "datetime_stopped": None if s == "r" else (START + timedelta(seconds=i + 1)).isoformat(),
        }
        for i, s in enumerate(states, 1)
    ]


def _job(job: dict[str, Any]) -> TrainJobView:
    return record(job, TrainJobView)


def _records(trials: list[dict[str, Any]]) -> list[TrialView]:
    return records(trials, TrialView)


@pytest.mark.parametrize(
    ("states", "budget", "elapsed_s", "share", "left_s"),
    [
        ("ccr", {"MODEL_TRIAL_COUNT": 4, "TIME_HOURS": 1}, 20, 0.5, 20),
        ("cr", {"MODEL_TRIAL_COUNT": 100, "TIME_HOURS": 0.01}, 18, 0.5, 18),
        ("", {"MODEL_TRIAL_COUNT": 4, "TIME_HOURS": 0.1}, 36, 0.1, 324),
        ("cccc", {"TIME_HOURS": 0.1}, 36, 0.1, 324),
        ("cccc", {"MODEL_TRIAL_COUNT": -1}, 36, 0.1, 324),
        ("c", {"TIME_HOURS": 0.01}, 100, 1.0, 0),
    ],
)
def test_progress_follows_trials_or_time_whichever_is_further(
    job: dict[str, Any], trial: dict[str, Any], states: str, budget: dict[str, Any], elapsed_s: float, share: float,
    left_s: float,
) -> None:  # fmt: skip
    job |= {"status": "RUNNING", "budget": budget, "datetime_stopped": None}
    p = train_watch.progress(_job(job), _records(_trials(trial, states)), START + timedelta(seconds=elapsed_s))
    assert p.share == pytest.approx(share)
    assert p.left_s == pytest.approx(left_s)


def test_a_long_job_shows_the_running_the_best_and_the_latest_trials(trial: dict[str, Any]) -> None:
    trials = _trials(trial, "c" * 50 + "r" + "c" * 49)
    trials[3]["score"] = 0.99
    shown = [t.no for t in train_watch.choose_rows(_records(trials), 8)]
    assert len(shown) == 8
    assert {51, 4, 100} <= set(shown)
    assert shown == sorted(shown)


def test_the_live_view_fits_the_terminal_and_marks_the_best(job: dict[str, Any], trial: dict[str, Any]) -> None:
    job |= {"status": "RUNNING", "datetime_stopped": None}
    trials = _trials(trial, "c" * 200 + "er")
    for t in trials:
        t["proposal"] = {"knobs": {f"knob_{i}": f"{t['no']}" * 9 for i in range(9)}}
    console = Console(width=100, height=24, record=True, file=io.StringIO())
    view = train_watch.live_view(_job(job), _records(trials), START + timedelta(seconds=30), (100, 24))
    console.print(view)
    lines = console.export_text().rstrip().splitlines()
    assert len(lines) <= 24
    (best,) = [line for line in lines if "★" in line]
    assert best.split()[:5] == ["★", "SkSvm", "200", "COMPLETED", "0.2000"]
    assert any("bad [bold] knob" in line for line in lines)
    assert any("more trials" in line for line in lines)


def test_the_live_view_leaves_out_knobs_that_are_the_same_in_all_trials_of_a_model(
    job: dict[str, Any], trial: dict[str, Any]
) -> None:
    job |= {"status": "RUNNING", "datetime_stopped": None}
    trials = [*_trials(trial, "cc"), {**_trials(trial, "c")[0], "id": "other", "model_name": "SkDt"}]
    for t, knobs in zip(trials, ({"C": 1, "size": 32}, {"C": 2, "size": 32}, {"size": 32}), strict=True):
        t["proposal"] = {"knobs": knobs}
    console = Console(width=100, height=24, record=True, file=io.StringIO())
    console.print(train_watch.live_view(_job(job), _records(trials), START, (100, 24)))
    rows = [line for line in console.export_text().splitlines() if "COMPLETED" in line]
    assert sorted(row.split()[-1] for row in rows) == ["C=1", "C=2", "size=32"]


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_progress_takes_one_line_at_any_width(job: dict[str, Any], trial: dict[str, Any], width: int) -> None:
    job |= {"status": "RUNNING", "datetime_stopped": None, "budget": {"MODEL_TRIAL_COUNT": 240, "TIME_HOURS": 0.1}}
    console = Console(width=width, height=24, record=True, file=io.StringIO())
    trials = _trials(trial, "c" * 100 + "e" * 11 + "rr")
    console.print(train_watch.live_view(_job(job), _records(trials), START + timedelta(seconds=211), (width, 24)))
    title, progress, best, blank = console.export_text().splitlines()[:4]
    assert title == "digits v1  RUNNING"
    assert "111/240 trials" in progress
    assert best.startswith("best 0.1000 by SkSvm#100")
    assert blank.strip() == ""


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (values.duration(4.16), "4.2s"),
        (values.duration(185), "3m05s"),
        (values.duration(7800), "2h10m"),
        (values.duration(None), "-"),
        (values.size(999), "999 B"),
        (values.size(1_500_000), "1.5 MB"),
        (values.knobs({"C": 0.123456, "kernel": "rbf", "on": True}), "C=0.1235 kernel=rbf on=yes"),
        (values.score(None), "-"),
        (values.number(0.0), "0"),
        (values.number(123456.0), "123456"),
        (values.number(1.5e-7), "1.5e-07"),
        (values.count(1, "trial"), "1 trial"),
        (values.count(1200, "trial"), "1,200 trials"),
        (values.one_line(" a\n  b\n"), "a b"),
        (values.first_line("a\nb"), "a"),
        (values.first_line("x" * 9, 4), "xxx…"),
    ],
)
def test_values_are_short_for_people(shown: str, text: str) -> None:
    assert shown == text
