"""What the admin pushes to who watches: over real processes, also when they are killed."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from support.data.wheels import make_wheel, pip_variables
from support.http.raw_http import TASK, Caller, check_refusal, superadmin_of, unique
from support.stacks.admin_people import Finished, People
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client, PredictorClient

STREAM = "text/event-stream"


def client_of(who: Caller) -> Client:
    client = Client("127.0.0.1", who.port)
    client.token = who.token
    return client


class Watcher:
    """Reads a stream in a thread; keeps its events."""

    def __init__(self, stream: Iterator[dict[str, Any]]) -> None:
        self.events: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in self._stream:
                self.events.append(event)
        except BaseException as e:
            self.error = e

    def types(self) -> list[str]:
        return [e["type"] for e in self.events]

    def wait(self) -> list[dict[str, Any]]:
        """All events, once the stream has ended."""
        self._thread.join(120)
        assert not self._thread.is_alive(), self.types()
        if self.error is not None:
            raise self.error
        return self.events


def fold(events: list[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The train job and its trials as a stream's events tell them."""
    job: dict[str, Any] = {}
    trials: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["type"] == "snapshot":
            job, trials = event["job"], {t["id"]: t for t in event["trials"]}
        elif event["type"] == "trial":
            trials[event["trial"]["id"]] = event["trial"]
        elif event["type"] in ("job", "end"):
            job = event["job"]
    return job, sorted(trials.values(), key=lambda t: (t["datetime_started"], t["no"]))


# ---- train jobs


def test_the_stream_of_a_train_job_tells_its_start_each_change_and_its_end(people: People) -> None:
    me = people.model_developer
    models = [me.upload_model(), me.upload_model()]
    app = me.start_job(model_ids=models, budget={"MODEL_TRIAL_COUNT": 4}, train_args={"sleep_s": 0.2})
    events = Watcher(client_of(me).watch_train_job(app)).wait()
    kinds = [e["type"] for e in events]
    assert (kinds[0], kinds[-1], kinds.count("snapshot"), kinds.count("end")) == ("snapshot", "end", 1, 1)
    statuses = [e["job"]["status"] for e in events if "job" in e]
    assert statuses[0] in ("STARTED", "RUNNING")
    assert "RUNNING" in statuses
    assert statuses[-1] == "STOPPED"
    told = [(e["trial"]["id"], e["trial"]["status"]) for e in events if e["type"] == "trial"]
    assert {status for _, status in told} == {"RUNNING", "COMPLETED"}
    # Only what has changed: nothing is told twice.
    assert len(told) == len(set(told))
    # And all of it is there before the end.
    assert fold(events) == (me.job(app), me.trials(app))
    assert len(me.trials(app)) == 8


def test_the_stream_of_a_job_that_has_ended_is_a_snapshot_and_the_end(finished: Finished) -> None:
    events = list(client_of(finished.owner).watch_train_job(finished.app))
    assert [e["type"] for e in events] == ["snapshot", "end"]
    assert fold(events) == (finished.owner.job(finished.app), finished.owner.trials(finished.app))


def test_a_stream_is_server_sent_events_with_one_json_object_each(finished: Finished) -> None:
    answer = finished.owner.send("GET", f"/train_jobs/{finished.app}/-1/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, STREAM)
    parts = [p for p in answer.text.split("\n\n") if p and not p.startswith(":")]
    for part in parts:
        kind, data = part.split("\n")
        assert json.loads(data.removeprefix("data: "))["type"] == kind.removeprefix("event: ")


def test_many_who_watch_one_job_are_told_the_same_and_hold_no_threads(
    people: People, stack: RunningStack, tmp_path: Path
) -> None:
    me = people.model_developer
    [admin] = [p for p in psutil.process_iter(["cmdline"]) if _is_admin_of(p, stack)]
    app = me.start_job(budget={"MODEL_TRIAL_COUNT": 6}, train_args={"gate": str(tmp_path / "gate")})
    threads = admin.num_threads()
    watchers = [Watcher(client_of(me).watch_train_job(app)) for _ in range(40)]
    eventually(lambda: all(w.events for w in watchers), "all are told something")
    # The readers of all streams together, and what the calls of others took meanwhile.
    assert admin.num_threads() <= threads + 15
    (tmp_path / "gate").touch()
    found = [fold(w.wait()) for w in watchers]
    assert all(f == (me.job(app), me.trials(app)) for f in found)


def _is_admin_of(process: psutil.Process, stack: RunningStack) -> bool:
    with contextlib.suppress(psutil.Error):
        return "rafiki.admin" in process.cmdline() and process.cwd() == str(stack.folder.resolve())
    return False


def test_streams_that_were_closed_leave_no_connection(people: People, finished: Finished, stack: RunningStack) -> None:
    [admin] = [p for p in psutil.process_iter(["cmdline"]) if _is_admin_of(p, stack)]
    me = people.model_developer
    app = me.start_job(train_args={"sleep_s": 60})

    def n_connections() -> int:
        return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == stack.port for c in admin.net_connections())

    for _ in range(3):
        # Kept: an iterator that is dropped closes its answer.
        chunks: list[Iterator[bytes]] = []
        with contextlib.ExitStack() as opened:
            for _ in range(20):
                answer = opened.enter_context(httpx.stream(
                    "GET", f"http://127.0.0.1:{stack.port}/train_jobs/{app}/-1/events",
                    headers={"Authorization": f"Bearer {me.token}"}, trust_env=False,
                ))  # fmt: skip
                chunks.append(answer.iter_bytes())
                next(chunks[-1])
            assert n_connections() >= 20
        eventually(lambda: n_connections() < 20, "the connections are closed")
    me.ok("POST", f"/train_jobs/{app}/-1/stop")


def test_a_client_that_does_not_read_holds_nobody_up(people: People, stack: RunningStack) -> None:
    me = people.model_developer
    # A search by itself would fit its model hundreds of times.
    app = me.start_job(budget={"MODEL_TRIAL_COUNT": 300, "CPU_WORKER_COUNT": 2}, advisor={"scheme": "random"})
    with socket.socket() as slow:
        # What fits into the socket's buffers is little.
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", stack.port))
        request = f"GET /train_jobs/{app}/1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {me.token}\r\n\r\n"
        slow.sendall(request.encode())
        events = Watcher(client_of(me).watch_train_job(app)).wait()
        job, trials = fold(events)
        # Of so many trials the parameters of most are freed, which is nothing that a watcher waits for.
        without = [{k: v for k, v in t.items() if k != "is_params_saved"} for t in (*trials, *me.trials(app))]
        assert job == me.job(app)
        assert without[: len(trials)] == without[len(trials) :]
        assert people.nobody.ok("GET", "/")["status"] == "ok"


@pytest.mark.parametrize("path", ["/train_jobs/{app}/-1/events", "/inference_jobs/{app}/-1/events"])
def test_a_stream_of_somebody_elses_app_is_refused_like_the_app_itself(
    people: People, finished: Finished, path: str
) -> None:
    path = path.format(app=finished.app)
    check_refusal(people.admin.send("GET", path), "InvalidTrainJobError")
    check_refusal(people.nobody.send("GET", path), "UnauthorizedError", 401)
    check_refusal(people.admin.send("POST", path), "MethodNotAllowedError", 405)


def test_a_stream_of_a_job_that_does_not_serve_is_refused(finished: Finished) -> None:
    check_refusal(
        finished.owner.send("GET", f"/inference_jobs/{finished.app}/1/events"), "InvalidRunningInferenceJobError"
    )


def test_all_services_are_for_admins(people: People) -> None:
    check_refusal(people.model_developer.send("GET", "/services/events"), "UnauthorizedError", 403)
    events = client_of(people.admin).watch_services()
    first = next(events)
    assert first["type"] == "services"
    me = people.model_developer
    app = me.start_job(train_args={"sleep_s": 60})
    kinds: set[str] = set()
    for event in events:
        own = [s for s in event["services"] if s["app"] == app]
        kinds = {s["service_type"] for s in own if s["status"] == "RUNNING"}
        if kinds == {"ADVISOR", "TRAIN"} and all(s["memory_bytes"] for s in own):
            break
    assert {(s["attempt"], s["last_error"], s["figures"]) for s in own} == {(1, None, None)}
    me.ok("POST", f"/train_jobs/{app}/-1/stop")


# ---- the log of a trial


def test_the_log_of_a_trial_comes_line_by_line_until_its_end(people: People) -> None:
    me = people.model_developer
    model = me.upload_model("scored.py", "Scored")
    app = me.start_job(model_id=model, train_args={"n_epochs": 6, "epoch_s": 0.25})
    [trial] = eventually(lambda: me.trials(app), "the first trial")
    events = Watcher(client_of(me).watch_trial_logs(trial["id"])).wait()
    kinds = [e["type"] for e in events]
    assert (kinds[0], kinds[-1]) == ("snapshot", "end")
    assert kinds.count("lines") >= 2
    assert events[-1]["trial"] == me.ok("GET", f"/trials/{trial['id']}")
    whole = me.ok("GET", f"/trials/{trial['id']}/logs")
    told = {kind: [x for e in events[:-1] for x in e[kind]] for kind in ("messages", "metrics", "plots")}
    assert told == whole
    assert [m["step"] for m in whole["metrics"]] == [1, 2, 3, 4, 5, 6]


def test_a_trial_that_begins_anew_with_another_worker_tells_a_new_log(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "stack", {"train": {"lost_after_s": 2.0}, "supervisor": {"restart_delay_s": 0.1}})
    stack.up()
    try:
        me = superadmin_of(stack)
        model = me.upload_model("scored.py", "Scored")
        app = me.start_job(model_id=model, train_args={"n_epochs": 8, "epoch_s": 0.4})
        [trial] = eventually(lambda: me.trials(app), "the first trial")
        watcher = Watcher(client_of(me).watch_trial_logs(trial["id"]))
        eventually(lambda: "lines" in watcher.types(), "something is logged")
        stack.kill_one("train")
        events = watcher.wait()
        attempts = [e["trial"]["attempt"] for e in events if e["type"] == "snapshot"]
        assert attempts == [1, 2]
        begun = events[[e["type"] for e in events].index("snapshot", 1) :]
        assert [m["step"] for e in begun[:-1] for m in e["metrics"]] == [1, 2, 3, 4, 5, 6, 7, 8]
    finally:
        stack.down()


@pytest.mark.parametrize(("who", "allowed"), [("superadmin", True), ("admin", True), ("model_developer", False)])
def test_the_log_of_a_trial_is_for_its_owner_and_admins(
    people: People, finished: Finished, who: str, allowed: bool
) -> None:
    answer = getattr(people, who).send("GET", f"/trials/{finished.trial_ids[0]}/logs/events")
    if allowed:
        assert (answer.status_code, answer.headers["content-type"]) == (200, STREAM)
    else:
        check_refusal(answer, "InvalidTrialError")


# ---- inference jobs


def test_the_stream_of_an_inference_job_tells_members_and_how_much_is_served(people: People) -> None:
    me = people.model_developer
    app = me.run_job(budget={"MODEL_TRIAL_COUNT": 2})
    job = me.ok("POST", "/inference_jobs", json={"app": app, "ensemble": {"method": "mean", "size": 2}})
    watcher = Watcher(client_of(me).watch_inference_job(app))

    def figures() -> list[dict[str, Any]]:
        return [e for e in watcher.events if e["type"] == "figures"]

    with PredictorClient(job["predictor_host"]) as predictor:
        predictor.predict(1)
        eventually(lambda: figures() and figures()[-1]["requests"] >= 1, "a request is counted")
        predictor.predict_many([1, 2, 3])
        with contextlib.suppress(Exception):
            predictor.post({"nothing": 1})
    eventually(lambda: figures()[-1]["requests"] == 3, "all requests are counted")
    last = figures()[-1]
    assert (last["predictors"], last["errors"], last["waiting"]) == (1, 1, 0)
    assert 0 < last["p50_ms"] <= last["p95_ms"]
    assert {(m["workers"], m["waiting"]) for m in last["members"]} == {(1, 0)}
    told = [e for e in watcher.events if e["type"] in ("snapshot", "job")]
    members = eventually(
        lambda: (m := told_members(watcher)) and all(x["state"] == "RUNNING" for x in m) and m, "the members run"
    )
    assert told[0]["type"] == "snapshot"
    assert sorted(m["no"] for m in members) == [1, 2]
    assert [m["weight"] for m in members] == [0.5, 0.5]
    [service] = [s for s in people.admin.ok("GET", "/services") if s["app"] == app and s["service_type"] == "PREDICT"]
    assert service["figures"]["requests"] == 3
    me.ok("POST", f"/inference_jobs/{app}/1/stop")
    events = watcher.wait()
    assert events[-1]["type"] == "end"
    assert events[-1]["job"]["status"] == "STOPPED"


def told_members(watcher: Watcher) -> list[dict[str, Any]]:
    members: list[dict[str, Any]] = [e for e in watcher.events if "members" in e and "job" in e][-1]["members"]
    return members


# ---- when parts of the stack end


def test_a_stream_goes_on_after_a_restart_of_the_admin_and_the_server_waits_for_none(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "stack")
    stack.up()
    try:
        me = superadmin_of(stack)
        app = me.start_job(budget={"MODEL_TRIAL_COUNT": 3}, train_args={"gate": str(tmp_path / "gate")})
        watcher = Watcher(client_of(me).watch_train_job(app, patience_s=120))
        eventually(lambda: "trial" in watcher.types(), "the first trial is told")
        stack.kill_admin()
        eventually(lambda: "away" in watcher.types(), "that the admin is away is told")
        stack.up()
        eventually(lambda: watcher.types().count("snapshot") == 2, "the stream goes on")
        (tmp_path / "gate").touch()
        events = watcher.wait()
        kinds = [e["type"] for e in events]
        assert kinds.count("snapshot") == 2
        assert kinds[kinds.index("snapshot", 1) - 1] == "away"
        assert fold(events) == (me.job(app), me.trials(app))

        later = me.start_job(train_args={"sleep_s": 60})
        open_streams = [Watcher(client_of(me).watch_train_job(later, patience_s=0.1)) for _ in range(5)]
        eventually(lambda: all(w.events for w in open_streams), "the streams are open")
        stack.down()
        for w in open_streams:
            with pytest.raises(Exception, match=r"No admin answers|ended the stream|broke"):
                w.wait()
    finally:
        stack.down()


def test_a_cache_that_is_restarted_holds_up_no_stream(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "stack")
    stack.up()
    try:
        me = superadmin_of(stack)
        app = me.start_job(budget={"MODEL_TRIAL_COUNT": 6}, train_args={"gate": str(tmp_path / "gate"), "n_free": 2})
        watcher = Watcher(client_of(me).watch_train_job(app))
        eventually(lambda: "trial" in watcher.types(), "the first trial is told")
        stack.kill_cache()
        (tmp_path / "gate").touch()
        events = watcher.wait()
        assert [e["type"] for e in events].count("snapshot") == 1
        assert fold(events) == (me.job(app), me.trials(app))
    finally:
        stack.down()


# ---- environments


def test_the_build_of_an_environment_is_told_to_who_asked_for_it_and_to_nobody_else(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "glimmer", "1.0")
    stack = RunningStack(tmp_path / "stack", variables=pip_variables(wheels))
    stack.up()
    try:
        root = superadmin_of(stack)
        me, other = root.make_user("MODEL_DEVELOPER"), root.make_user("MODEL_DEVELOPER")
        check_refusal(
            root.make_user("APP_DEVELOPER").send("POST", "/environments", json={"dependencies": {"glimmer": "1.0"}}),
            "UnauthorizedError", 403,
        )  # fmt: skip
        state = me.ok("POST", "/environments", json={"dependencies": {"glimmer": "1.0"}})
        assert (state["status"], state["reason"]) == ("BUILDING", None)
        check_refusal(other.send("GET", f"/environments/{state['key']}/events"), "InvalidEnvironmentError")
        check_refusal(me.send("GET", "/environments/0123456789abcdef/events"), "InvalidEnvironmentError")
        events = Watcher(client_of(me).watch_environment(state["key"])).wait()
        assert events[0]["requirements"] == ["glimmer==1.0"]
        lines = [line for e in events[:-1] for line in e["lines"]]
        assert lines[0].endswith("glimmer==1.0")
        assert any("glimmer" in line for line in lines[1:])
        assert lines == me.ok("GET", f"/environments/{state['key']}/log")["lines"]
        assert (events[-1]["type"], events[-1]["status"], events[-1]["reason"]) == ("end", "READY", None)

        missing = me.ok("POST", "/environments", json={"dependencies": {"glimmer": "9"}})
        ended = Watcher(client_of(me).watch_environment(missing["key"])).wait()[-1]
        assert ended["status"] == "FAILED"
        assert "glimmer" in ended["reason"]

        # A job tells which of its models wait for an installation.
        make_wheel(wheels, "glimmer", "2.0")
        source = {"model_file_bytes": ("glimmering.py", (MODELS / "glimmering.py").read_bytes())}
        form = {"name": unique("m"), "task": TASK, "model_class": "Glimmering", "dependencies": '{"glimmer": "2.0"}'}
        model = me.ok("POST", "/models", data=form, files=source)["id"]
        key = next(e["key"] for e in root.ok("GET", "/environments") if e["requirements"] == ["glimmer==2.0"])
        root.ok("DELETE", f"/environments/{key}")
        app = me.start_job(model_id=model)
        told = Watcher(client_of(me).watch_train_job(app)).wait()
        waits = [m["waits_for"] for e in told if "job" in e for m in e["job"]["models"]]
        assert any(w and key in w for w in waits)
        assert waits[-1] is None
    finally:
        stack.down()


# ---- GPUs


def test_a_model_whose_workers_find_no_free_gpu_tells_what_it_waits_for(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "stack", {"container": {"gpus": [0]}})
    stack.up()
    try:
        me = superadmin_of(stack)
        model, budget = me.upload_model(), {"MODEL_TRIAL_COUNT": 1, "GPU_COUNT": 1}
        first = me.start_job(model_id=model, budget=budget, train_args={"sleep_s": 120})
        eventually(lambda: me.trials(first), "the first job has the GPU")
        assert me.job(first)["models"][0]["waits_for"] is None
        second = me.start_job(model_id=model, budget=budget)
        watcher = Watcher(client_of(me).watch_train_job(second))

        def waits() -> list[str | None]:
            return [m["waits_for"] for e in watcher.events if "job" in e for m in e["job"]["models"]]

        eventually(lambda: any(waits()), "what the second job waits for")
        [reason] = {w for w in waits() if w}
        assert reason == f"the only GPU is in use by {first}/1"
        me.ok("POST", f"/train_jobs/{first}/-1/stop")
        events = watcher.wait()
        assert events[-1]["job"]["status"] == "STOPPED"
        assert events[-1]["job"]["models"][0]["waits_for"] is None
    finally:
        stack.down()
