"""What is shown while the admin pushes: lines, JSON lines, and live views on terminals of 80 and 200 columns."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.http.complete_answers import completed
from support.http.contract_server import ContractServer
from support.terminals.pseudo_terminal import PseudoTerminal

from rafiki.client import Client
from rafiki.constants import ExitCode
from rafiki.contract.inference_jobs import InferenceFigures, InferenceJobView
from rafiki.errors import InvalidRunningInferenceJobError, NotFoundError
from rafiki.utils.clock import Deadline
from rafiki_cli.render.infer_watch import figures_text
from rafiki_cli.watch import streams, train_loop

FIGURES: dict[str, Any] = {
    "type": "figures", "predictors": 1, "requests_per_s": 1234.4, "errors_per_s": 0.5, "p50_ms": 0.6243, "p95_ms": 12.0,
    "requests": 5000, "errors": 3, "waiting": 7, "cache_hits": 0, "cache_misses": 0,
    "members": [
        {"trial_id": "t1", "workers": 2, "waiting": 7, "shed": 0}, {"trial_id": "t2", "workers": 0, "waiting": 0,
        "shed": 0},
    ],
}  # fmt: skip
MEMBERS: list[dict[str, Any]] = [
    {"trial_id": "t1", "model_name": "SkSvm", "model_version": 1, "no": 10, "score": 0.9, "weight": 0.75,
     "state": "RUNNING", "workers": 2, "error": None},
    {"trial_id": "t2", "model_name": "SkDt", "model_version": 3, "no": 2, "score": 0.8, "weight": 0.25,
     "state": "RUNNING", "workers": 1, "error": None},
]  # fmt: skip
SERVING: dict[str, Any] = completed({
    "id": "i1", "status": "RUNNING", "error": None, "train_job_id": "j1", "app": "digits", "app_version": 2,
    "trial_ids": ["t1", "t2"], "weights": [0.75, 0.25], "datetime_started": "2025-01-01T10:00:00Z",
    "datetime_stopped": None, "predictor_host": "127.0.0.1:41000", "lost_members": [],
}, InferenceJobView)  # fmt: skip
SERVICE: dict[str, Any] = {
    "id": "12345678-1234", "service_type": "PREDICT", "job_id": "i1", "app": "digits", "status": "RUNNING",
    "error": None, "attempt": 3, "gpus": [], "port": 41000, "pid": 4711, "memory_bytes": 42_000_000, "host": None,
    "datetime_started": "2025-01-01T10:00:00Z", "last_error": "It was killed (signal 9).", "figures": FIGURES,
    "name": "predict digits/1", "cores": None, "waits_for": None,
}  # fmt: skip


@pytest.fixture
def hold(server: ContractServer) -> Iterator[Callable[..., Any]]:
    """Makes a stream that tells its events and then goes on until :func:`release` is called, or the test ends."""
    released = threading.Event()

    def make(*before: dict[str, Any], after: tuple[dict[str, Any], ...] = ()) -> Callable[[Any], Iterator[Any]]:
        def answer(_: Any) -> Iterator[dict[str, Any]]:
            yield from before
            released.wait(120)
            yield from after

        return answer

    make.release = released.set  # type: ignore[attr-defined]
    yield make
    released.set()


@contextmanager
def terminal(*arguments: str, **settings: Any) -> Iterator[PseudoTerminal]:
    opened = PseudoTerminal(*arguments, **settings)
    try:
        yield opened
    finally:
        opened.close()


# ---- reading what is pushed


def test_events_that_come_together_are_taken_together_and_a_tick_is_an_empty_batch() -> None:
    more, ended = threading.Event(), threading.Event()

    def watch(app: str, stop: threading.Event) -> Iterator[dict[str, Any]]:
        yield from ({"no": i, "app": app} for i in range(100))
        more.wait(60)
        yield {"no": 100, "app": app}
        ended.wait(60)

    seen: list[int] = []
    sizes: list[int] = []
    for batch in streams.batches(watch, "a", tick_s=0.05):
        seen += [e["no"] for e in batch]
        sizes.append(len(batch))
        if not batch and len(seen) == 100:
            more.set()
        if len(seen) == 101:
            ended.set()
    assert seen == list(range(101))
    assert 0 in sizes
    assert max(sizes) > 1


def test_an_error_of_the_stream_is_raised_after_what_came_before_it() -> None:
    def watch(stop: threading.Event) -> Iterator[dict[str, Any]]:
        yield {"no": 1}
        raise InvalidRunningInferenceJobError

    taken: list[dict[str, Any]] = []
    with pytest.raises(InvalidRunningInferenceJobError):
        for batch in streams.batches(watch, tick_s=60):
            taken += batch
    assert taken == [{"no": 1}]


def test_waiting_ends_at_the_deadline_and_tells_the_stream_to_stop() -> None:
    stops: list[threading.Event] = []

    def watch(stop: threading.Event) -> Iterator[dict[str, Any]]:
        stops.append(stop)
        yield {"no": 1}
        stop.wait(60)

    assert [b for b in streams.batches(watch, tick_s=60, deadline=Deadline(0.3)) if b] == [[{"no": 1}]]
    assert stops[0].is_set()


# ---- train jobs


def test_the_time_to_follow_a_job_may_be_limited(
    logged_in, server: ContractServer, hold: Any, job, trial, capsys: pytest.CaptureFixture[str]
) -> None:
    running = {**job, "status": "RUNNING", "datetime_stopped": None}
    server.answers["watch_train_job"] = hold({"type": "snapshot", "job": running, "trials": [trial]})
    client = Client("127.0.0.1", server.port)
    client.token = "t"
    lines: list[str] = []
    assert train_loop.follow(client, "digits", 1, out=lines.append, timeout_s=1.0) is ExitCode.TIMED_OUT
    # How much was told in time is the machine's business; that the job has ended is not among it.
    assert not any("STOPPED" in line for line in lines)
    assert "goes on" in capsys.readouterr().err
    assert not any(c.name == "stop_train_job" for c in server.calls)


def test_json_lines_are_the_events_as_they_came_and_nothing_else(logged_in, server: ContractServer, job, trial) -> None:
    running = {**job, "status": "RUNNING"}
    events = [
        {"type": "snapshot", "job": running, "trials": []}, {"type": "trial", "trial": trial},
        {"type": "end", "job": job},
    ]  # fmt: skip
    server.answers["watch_train_job"] = events
    result = logged_in("train", "watch", "digits", "--version", "1", "-o", "jsonl")
    assert result.code == 0
    assert [json.loads(line) for line in result.out.splitlines()] == events


def test_that_the_admin_is_away_is_said_once_and_what_a_model_waits_for_too(
    logged_in, server: ContractServer, job, trial
) -> None:
    begun: list[int] = []
    waiting = {**job, "status": "STARTED", "models": [{**job["models"][0], "waits_for": "packages"}]}

    def answer(_: Any) -> Iterator[dict[str, Any]]:
        begun.append(1)
        yield {"type": "snapshot", "job": waiting, "trials": []}
        yield {"type": "job", "job": waiting}
        if len(begun) > 1:
            early = {**trial, "ended_early": "hopeless by the median"}
            yield {"type": "snapshot", "job": job, "trials": [early]}
            yield {"type": "end", "job": job}

    server.answers["watch_train_job"] = answer
    result = logged_in("train", "watch", "digits", "--version", "1")
    assert result.code == 0
    assert result.err.count("does not answer") == 1
    assert result.err.count("SkSvm waits: packages") == 1
    assert result.out.splitlines()[0] == (
        "SkSvm#1 COMPLETED score=0.9000 4.0s kernel=rbf C=1.25 (ended early: hopeless by the median)"
    )


@pytest.mark.parametrize("columns", [80, 200])
def test_a_train_job_on_a_terminal(logged_in, server: ContractServer, hold: Any, job, trial, columns: int) -> None:
    running = {**job, "status": "RUNNING", "datetime_stopped": None, "budget": {"MODEL_TRIAL_COUNT": 60}}
    scores = [0.2, 0.5, 0.4, 0.9, 0.7, 0.95, 0.3, 0.94, 0.96, 0.1]
    trials = [
        {
            **trial, "id": f"t{i}", "no": i, "score": score, "datetime_stopped": f"2025-01-01T10:00:{10 + i}Z",
            "proposal": {"knobs": {"C": i, **{f"a_knob_{k}": i * k for k in range(1, 9)}}},
        }
        for i, score in enumerate(scores, 1)
    ]  # fmt: skip
    trials[6]["ended_early"] = "its score at step 3 lies below the median of the others"
    trials.append({**trial, "id": "t11", "no": 11, "status": "PENDING", "score": None, "attempt": 2,
                   "datetime_stopped": None})  # fmt: skip
    server.answers["watch_train_job"] = hold(
        {"type": "snapshot", "job": running, "trials": trials[:3]},
        *({"type": "trial", "trial": t} for t in trials[3:]),
        after=({"type": "end", "job": job},),
    )
    with terminal("train", "watch", "digits", "--version", "1", columns=columns) as shown:
        shown.wait_for(lambda text: "PENDING" in text and "#9" in text, "all trials")
        lines = shown.lines
        assert lines[0] == "digits v1  RUNNING"
        assert "10/60 trials (1 ended early)" in lines[1]
        assert "left" in lines[1]
        assert lines[2] == "best 0.9600 by SkSvm#9  ▁▄▄███████"
        assert lines[3] == "SkSvm#7 was ended early: its score at step 3 lies below the median of the others"[:columns]
        [best] = [line for line in lines if line.startswith(" ★")]
        assert best.split()[1:4] == ["SkSvm", "9", "COMPLETED"]
        [pending] = [line for line in lines if "PENDING" in line]
        assert "waits for a worker" in pending
        assert ("⏹ its score at step 3" in shown.text) == (columns == 200)
        assert max(map(len, lines)) <= columns
        hold.release()
        assert shown.wait() == 0
        assert "digits v1 COMPLETED: 10 trials completed, 0 failed" in shown.text


def test_no_colour_is_no_colour_on_a_terminal_too(logged_in, server: ContractServer, job, trial) -> None:
    server.answers |= {"get_train_job": job, "get_trials_of_train_job": [trial]}
    with (
        terminal("train", "watch", "digits", "--version", "1") as coloured,
        terminal("train", "watch", "digits", "--version", "1", NO_COLOR="1") as plain,
    ):
        assert (coloured.wait(), plain.wait()) == (0, 0)
    assert b"\x1b[32m" in coloured.raw
    for code in range(30, 50):
        assert f"\x1b[{code}m".encode() not in plain.raw
        assert f";{code}m".encode() not in plain.raw
    # The bar alone is drawn otherwise.
    assert plain.lines[2:] == coloured.lines[2:]


# ---- logs of trials


def logs(kind: str, *messages: str, trial: dict[str, Any] | None = None, **metrics: float) -> dict[str, Any]:
    time = "2025-01-01T10:00:0{}+00:00"
    found = {
        "type": kind, "messages": [{"time": time.format(i), "message": m} for i, m in enumerate(messages)],
        "metrics": [{"time": time.format(5), **metrics}] if metrics else [], "plots": [],
    }  # fmt: skip
    return found if trial is None else {**found, "trial": trial}


def test_a_log_is_followed_to_its_end_and_nothing_is_put_out_twice(logged_in, server: ContractServer, trial) -> None:
    running = {**trial, "status": "RUNNING", "score": None}
    begun: list[int] = []

    def answer(_: Any) -> Iterator[dict[str, Any]]:
        begun.append(1)
        if len(begun) == 1:
            yield logs("snapshot", "one", trial=running)
            yield logs("lines", "two", loss=0.5)
            return  # as when the admin is restarted
        yield logs("snapshot", "one", "two", "three", trial=running, loss=0.5)
        yield logs("snapshot", "anew", trial={**running, "attempt": 2})
        yield {"type": "end", "trial": {**trial, "attempt": 2, "ended_early": "hopeless"}}

    server.answers |= {"watch_trial_logs": answer, "get_trial": lambda request: {**trial, "id": request.trial_id}}
    whole_id = "12345678-1234-1234-1234-123456789012"
    result = logged_in("trial", "logs", whole_id, "--follow")
    assert result.code == 0
    assert [line.split("  ", 1)[1] for line in result.out.splitlines()] == ["one", "two", "loss=0.5", "three", "anew"]
    assert "another one begins it anew (attempt 2)" in result.err
    assert "SkSvm#1 COMPLETED: score 0.9000 It was ended early: hopeless" in result.err
    [call] = {c.request.trial_id for c in server.calls if c.name == "watch_trial_logs"}
    assert call == whole_id


def test_a_log_is_followed_by_the_name_of_its_trial_and_as_json_lines(logged_in, server: ContractServer, trial) -> None:
    events = [logs("snapshot", "one", trial=trial), {"type": "end", "trial": trial}]
    server.answers |= {"get_trials_of_train_job": [trial], "watch_trial_logs": events}
    result = logged_in("trial", "logs", "digits", "SkSvm#1", "-f", "-o", "jsonl")
    assert [json.loads(line) for line in result.out.splitlines()] == events
    assert logged_in("trial", "logs", "digits", "SkSvm#1", "-f", "-o", "json").code == ExitCode.USAGE


# ---- inference jobs


def test_what_an_app_serves_is_one_line_a_second_without_a_terminal(logged_in, server: ContractServer) -> None:
    snapshot = {"type": "snapshot", "job": SERVING, "members": MEMBERS}
    silent = {**FIGURES, "predictors": 0, "members": []}
    server.answers["watch_inference_job"] = [snapshot, FIGURES, silent, FIGURES, FIGURES]
    result = logged_in("infer", "watch", "digits", "--version", "2", "--count", "3")
    assert result.code == 0
    lines = [line.split("  ", 1)[1] for line in result.out.splitlines()]
    full = "digits v2 RUNNING  1,234 requests/s · 0.5 errors/s · p50 0.624 ms · p95 12 ms · 7 waiting · 1/2 members"
    assert lines == [full, "digits v2 RUNNING  no predictor tells how much it serves · 2/2 members", full]
    as_json = logged_in("infer", "watch", "digits", "--version", "2", "--count", "1", "-o", "jsonl")
    assert [json.loads(line) for line in as_json.out.splitlines()] == [snapshot, FIGURES]
    assert logged_in("infer", "watch", "digits", "--version", "2", "-o", "yaml").code == ExitCode.USAGE


def test_an_app_that_stops_serving_ends_the_watching_and_one_that_fails_has_a_code_of_its_own(
    logged_in, server: ContractServer
) -> None:
    for status, code in (("STOPPED", ExitCode.OK), ("ERRORED", ExitCode.JOB_ERRORED)):
        job = {**SERVING, "status": status, "error": "the model does not load"}
        server.answers["watch_inference_job"] = [
            {"type": "snapshot", "job": SERVING, "members": MEMBERS}, {"type": "end", "job": job}
        ]  # fmt: skip
        assert logged_in("infer", "watch", "digits", "--version", "2").code == code
    server.answers["watch_inference_job"] = InvalidRunningInferenceJobError("No inference job of digits is running.")
    result = logged_in("infer", "watch", "digits", "--version", "2")
    assert (result.code, result.err) == (ExitCode.REFUSED, "error: No inference job of digits is running.\n")


@pytest.mark.parametrize("columns", [80, 200])
def test_an_inference_job_on_a_terminal(logged_in, server: ContractServer, hold: Any, columns: int) -> None:
    broken = {**MEMBERS[1], "state": "STOPPED", "workers": 0, "error": "ValueError: the parameters do not fit"}
    server.answers["watch_inference_job"] = hold(
        {"type": "snapshot", "job": SERVING, "members": MEMBERS},
        *({**FIGURES, "requests_per_s": rate} for rate in (0.0, 500.0, 1000.0, 1234.4)),
        {"type": "job", "job": SERVING, "members": [MEMBERS[0], broken]},
    )
    with terminal("infer", "watch", "digits", "--version", "2", columns=columns) as shown:
        shown.wait_for(lambda text: "do not fit" in text or "ValueError" in text, "why a member is gone")
        lines = shown.lines
        assert lines[0].startswith("digits v2  RUNNING  http://127.0.0.1:41000/predict  up ")
        assert lines[1] == "1,234 requests/s · 0.5 errors/s · p50 0.624 ms · p95 12 ms · 7 waiting"
        assert lines[2] == "▁▄▇█  peak 1,234/s"
        [header] = [line for line in lines if line.startswith("TRIAL")]
        assert header.split() == ["TRIAL", "STATE", "SCORE", "WEIGHT", "WORKERS", "WAITING", "REASON"]
        rows = [line.split() for line in lines if line.startswith(("SkSvm", "SkDt"))]
        assert rows[0][:6] == ["SkSvm#10", "RUNNING", "0.9000", "75.0%", "2", "7"]
        assert rows[1][:6] == ["SkDt@3#2", "STOPPED", "0.8000", "25.0%", "0", "0"]
        assert max(map(len, lines)) <= columns
        shown.interrupt()
        assert shown.wait() == 0


SCALED: dict[str, Any] = {
    **SERVING,
    "deployment": {**SERVING["deployment"], "replicas": {"min": 0, "max": 4, "idle_s": 60.0}},
    "scaling": {
        "members": [
            {"trial_id": "t1", "label": "SkSvm#10", "wanted": 2, "reason": "queue of 160 ms at a budget of 200 ms",
             "start_s": 1.5},
            {"trial_id": "t2", "label": "SkDt@3#2", "wanted": 1, "reason": "", "start_s": None},
        ],
        "changes": [
            {"datetime_changed": "2025-01-01T10:01:00Z", "trial_id": "t1", "label": "SkSvm#10", "before": 1, "after": 2,
             "reason": "queue of 160 ms at a budget of 200 ms"},
        ],
        "is_asleep": False,
    },
}  # fmt: skip


def asleep() -> dict[str, Any]:
    job = copy.deepcopy(SCALED)
    for member in job["scaling"]["members"]:
        member |= {"wanted": 0, "reason": "nobody asked for 60 s"}
        change = {"before": 2, "after": 0, "reason": member["reason"], "datetime_changed": "2025-01-01T11:00:00Z"}
        job["scaling"]["changes"].append({**change, "trial_id": member["trial_id"], "label": member["label"]})
    job["scaling"]["is_asleep"] = True
    return job


def test_how_many_workers_are_wanted_and_why_is_a_line_each_while_one_watches(
    logged_in, server: ContractServer
) -> None:
    gone = [{**m, "state": "STOPPED", "workers": 0} for m in MEMBERS]
    server.answers["watch_inference_job"] = [
        {"type": "snapshot", "job": SERVING, "members": MEMBERS}, {"type": "job", "job": SCALED, "members": MEMBERS},
        {"type": "job", "job": asleep(), "members": gone}, {**FIGURES, "members": []},
    ]  # fmt: skip
    result = logged_in("infer", "watch", "digits", "--version", "2", "--count", "1")
    lines = [line.split("  ", 1)[1] for line in result.out.splitlines()]
    assert lines[:3] == [
        "SkSvm#10: 1 -> 2, queue of 160 ms at a budget of 200 ms", "SkSvm#10: 2 -> 0, nobody asked for 60 s",
        "SkDt@3#2: 2 -> 0, nobody asked for 60 s",
    ]  # fmt: skip
    assert len(lines) == 4


def test_an_app_shows_what_its_load_asks_for_and_that_it_sleeps(logged_in, server: ContractServer) -> None:
    server.answers |= {"get_running_inference_job": SCALED, "get_trials_of_train_job": []}
    shown = logged_in("infer", "show", "digits", "--version", "2").out
    assert "0 to 4, none when idle for 60 s" in shown
    assert "SkSvm#10: 2 wanted (queue of 160 ms at a budget of 200 ms)" in shown
    assert "SkSvm#10: 1 -> 2, queue of 160 ms at a budget of 200 ms" in shown
    server.answers["get_running_inference_job"] = asleep()
    assert "SkSvm#10: 0 wanted (nobody asked for 60 s)" in logged_in("infer", "show", "digits", "--version", "2").out


def test_a_deployment_is_scaled_and_what_may_surprise_is_told(logged_in, server: ContractServer) -> None:
    server.answers["scale_inference_job"] = {
        "id": "i1", "app": "digits", "app_version": 2, "replicas": {"min": 0, "max": 4, "idle_s": 60.0},
        "warnings": ["A start of its workers took 3.0 s."],
    }  # fmt: skip
    result = logged_in("infer", "scale", "digits", "--version", "2", "--min", "0", "--max", "4", "--idle", "60")
    assert result.code == 0 and "0 to 4, none when idle for 60 s workers" not in result.out
    assert "A start of its workers took 3.0 s." in result.err
    (call,) = [c for c in server.calls if c.name == "scale_inference_job"]
    assert (call.request.min, call.request.max, call.request.idle_s) == (0, 4, 60.0)


@pytest.mark.parametrize(
    ("text", "count", "limits"),
    [
        ((), 1, None),
        (("--replicas", "3"), 3, None),
        (("--replicas", "1..4"), 1, {"min": 1, "max": 4, "idle_s": 300.0}),
        (("--replicas", "0..1", "--idle", "60"), 1, {"min": 0, "max": 1, "idle_s": 60.0}),
    ],
)
def test_replicas_are_a_number_or_two(
    logged_in, server: ContractServer, text: tuple[str, ...], count: int, limits: dict[str, float] | None
) -> None:
    server.answers["create_inference_job"] = {
        "id": "i1", "train_job_id": "j", "app": "digits", "app_version": 1, "predictor_host": "127.0.0.1:1",
    }  # fmt: skip
    assert logged_in("infer", "create", "digits", *text).code == 0
    request = next(c for c in server.calls if c.name == "create_inference_job").request
    assert (1 if request.budget is None else request.budget.replica_count) == count
    found = request.deployment.replicas
    assert (None if found is None else msgspec.to_builtins(found)) == limits


# ---- services


def test_services_tell_uptime_restarts_memory_load_and_the_last_reason(logged_in, server: ContractServer) -> None:
    server.answers["get_services"] = [SERVICE]
    result = logged_in("--admin", f"127.0.0.1:{server.port}", "status")
    [header, row] = [line for line in result.out.splitlines() if line.startswith(("ID", "12345678"))]
    assert "predict digits/1" in row
    for title in ("UPTIME", "RESTARTS", "MEMORY", "LOAD", "LAST REASON"):
        assert title in header
    assert "42.0 MB" in row
    assert "1,234/s, p95 12 ms" in row
    assert "It was killed (signal 9)." in row
    assert row[header.index("RESTARTS") :].split()[0] == "2"


def test_what_waits_is_told_below_the_services_also_where_none_runs(logged_in, server: ContractServer) -> None:
    wait = {
        "job_id": "j", "app": "digits", "name": "train digits/1 SkDt", "count": 1, "of": 4,
        "reason": "no node has 8 GB free (n1 has 2 GB)", "is_lost": False,
    }  # fmt: skip
    server.answers |= {"get_services": [SERVICE], "get_waits": [wait]}
    line = "train digits/1 SkDt: 1 of 4 workers waits: no node has 8 GB free (n1 has 2 GB)"
    for services in ([SERVICE], []):
        server.answers["get_services"] = services
        assert line in logged_in("--admin", f"127.0.0.1:{server.port}", "status").out
    found = json.loads(logged_in("--admin", f"127.0.0.1:{server.port}", "status", "-o", "json").out)
    assert found["waiting"] == [wait]
    # An admin of an earlier version knows no such call.
    server.answers["get_waits"] = NotFoundError("no such path")
    assert logged_in("--admin", f"127.0.0.1:{server.port}", "status").code == 0


@pytest.mark.parametrize("columns", [80, 200])
def test_services_on_a_terminal(logged_in, server: ContractServer, hold: Any, columns: int) -> None:
    worker = {**SERVICE, "id": "87654321", "service_type": "INFERENCE", "figures": None, "last_error": None,
              "name": "inference digits/1 SkDt#10"}  # fmt: skip
    server.answers["watch_services"] = hold(
        {"type": "services", "services": []}, {"type": "services", "services": [SERVICE, worker]}
    )
    with terminal("status", "--watch", columns=columns) as shown:
        shown.wait_for(lambda text: "inference digits/1 SkDt#10" in text, "the services")
        assert shown.lines[0].endswith("2 services, 84.0 MB")
        for what in (
            "predict digits/1",
            "UPTIME",
            "1,234/s",
            "LAST REASON",
            "It was killed",
            "RESTARTS" if columns > 80 else "MEMORY",
        ):
            assert what in shown.text
        assert max(map(len, shown.lines)) <= columns
        shown.interrupt()
        assert shown.wait() == 0


def test_watching_services_without_a_terminal_takes_json_lines(logged_in, server: ContractServer) -> None:
    event = {"type": "services", "services": [SERVICE]}
    server.answers["watch_services"] = [event, {"type": "end"}]
    result = logged_in("status", "--watch", "-o", "jsonl")
    assert json.loads(result.out.splitlines()[0]) == event
    assert logged_in("status", "--watch").code == ExitCode.USAGE
    assert logged_in("status", "--watch", "-o", "json").code == ExitCode.USAGE


# ---- builds of environments


def test_a_build_is_followed_to_its_end(logged_in, server: ContractServer) -> None:
    snapshot = {"type": "snapshot", "key": "0123", "status": "BUILDING", "requirements": ["g"], "lines": ["one", "two"]}
    begun: list[int] = []

    def answer(_: Any) -> Iterator[dict[str, Any]]:
        begun.append(1)
        yield {**snapshot, "lines": snapshot["lines"][: len(begun)]}
        if len(begun) > 1:  # the first stream breaks, as when the admin is restarted
            yield {"type": "lines", "lines": ["three"]}
            yield {"type": "end", "key": "0123", "status": "FAILED", "reason": "No matching distribution"}

    server.answers |= {"get_environments": [{"key": "0123"}], "watch_environment": answer}
    result = logged_in("environment", "log", "01", "--follow")
    assert (result.code, result.out) == (0, "one\ntwo\nthree\n")
    assert "0123 FAILED: No matching distribution" in result.err
    lines = logged_in("environment", "log", "01", "-f", "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["snapshot", "lines", "end"]
    assert logged_in("environment", "log", "01", "-f", "-o", "json").code == ExitCode.USAGE


# ---- bars


def test_a_terminal_shows_what_an_installation_says_while_an_upload_waits_for_it(
    logged_in, server: ContractServer, hold: Any, folder: Path
) -> None:
    (folder / "model.py").write_text("from rafiki.model import BaseModel\nclass M(BaseModel): ...\n")
    uploaded = threading.Event()

    def create_model(_: Any) -> dict[str, Any]:
        uploaded.wait(60)
        return {"id": "m1", "user_id": "u1", "name": "M", "load_error": None}

    server.answers |= {
        "create_environment": {"key": "0123", "status": "BUILDING", "reason": None},
        "watch_environment": hold(
            {
                "type": "snapshot",
                "key": "0123",
                "status": "BUILDING",
                "requirements": ["glimmer"],
                "lines": ["--- now"],
            },
            {"type": "lines", "lines": ["Collecting glimmer", "  Downloading glimmer-1.0 (300 MB)", ""]},
        ),
        "create_model": create_model,
    }
    upload = ("model", "upload", "model.py", "--task", "CUSTOM", "--dep", "glimmer=1.0")
    with terminal(*upload) as shown:
        shown.wait_for(lambda text: "Downloading glimmer-1.0 (300 MB)" in text, "what pip said last")
        [line] = [line for line in shown.lines if "Installing glimmer" in line]
        assert len(line) <= 80
        uploaded.set()
        assert shown.wait() == 0
        # Only the result stays.
        assert "Installing" not in shown.text
        assert "m1" in shown.text
    calls = {c.name: c.request for c in server.calls}
    assert calls["create_environment"].dependencies == {"glimmer": "1.0"}
    server.calls.clear()
    assert logged_in(*upload).code == 0
    assert not any("environment" in c.name for c in server.calls)


def test_an_installation_that_cannot_be_watched_does_not_keep_an_upload_from_its_end(
    logged_in, server: ContractServer, folder: Path
) -> None:
    (folder / "model.py").write_text("from rafiki.model import BaseModel\nclass M(BaseModel): ...\n")
    upload = ("model", "upload", "model.py", "--task", "CUSTOM", "--dep", "glimmer=1.0")
    server.answers["create_model"] = {"id": "m1", "user_id": "u1", "name": "M", "load_error": None}
    for state in (
        InvalidRunningInferenceJobError("No."),
        {"key": None, "status": "READY", "reason": None},
        {"key": "0123", "status": "BUILDING", "reason": None},
    ):
        server.answers |= {"create_environment": state, "watch_environment": InvalidRunningInferenceJobError("No.")}
        with terminal(*upload) as shown:
            assert shown.wait() == 0
            assert "m1" in shown.text
            assert "error" not in shown.text


def test_an_upload_shows_a_bar_on_a_terminal_and_then_that_the_admin_checks_it(
    logged_in, server: ContractServer, folder: Path
) -> None:
    (folder / "digits.zip").write_bytes(b"x" * 3_000_000)
    checked = threading.Event()
    dataset = {
        "id": "d1", "name": "digits", "task": "CUSTOM", "size_bytes": 3_000_000, "sha256": "ab",
        "datetime_created": "2025-01-01T10:00:00Z",
    }  # fmt: skip

    def create_dataset(_: Any) -> dict[str, Any]:
        checked.wait(60)
        return dataset

    server.answers["create_dataset"] = create_dataset
    with terminal("dataset", "upload", "digits.zip", "--task", "CUSTOM") as shown:
        shown.wait_for(lambda text: "The admin checks it" in text and "3.0/3.0 MB" in text, "the bar")
        assert max(map(len, shown.lines)) <= 80
        checked.set()
        assert shown.wait() == 0
        assert "The admin checks it" not in shown.text
        assert "d1" in shown.text


def test_without_a_terminal_nothing_but_messages_is_told_of_what_travels(
    logged_in, server: ContractServer, folder: Path, trial
) -> None:
    server.answers |= {
        "get_trials_of_train_job": [trial], "get_trial_parameters": b"x" * 2_000_000, "get_trial": trial,
    }  # fmt: skip
    result = logged_in("trial", "show", "digits", "SkSvm#1", "--save-params", "p.safetensors")
    assert (result.code, result.err) == (0, "Wrote p.safetensors.\n")
    assert (folder / "p.safetensors").read_bytes() == b"x" * 2_000_000
    (folder / "closed").mkdir()
    for target, reason in (("closed", "it is a folder"), ("nowhere/p", "there is no folder nowhere")):
        result = logged_in("trial", "show", "digits", "SkSvm#1", "--save-params", target)
        assert result.code == ExitCode.USAGE
        assert reason in result.err


@pytest.mark.parametrize(("hits", "misses", "told"), [(0, 0, ""), (0, 5, " · 0% cached"), (3, 1, " · 75% cached")])
def test_the_share_of_kept_predictions_is_told_where_any_are_kept(hits: int, misses: int, told: str) -> None:
    figures = msgspec.convert({**FIGURES, "cache_hits": hits, "cache_misses": misses}, InferenceFigures)
    assert figures_text(figures).endswith(f"7 waiting{told}")
