from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.http.raw_http import Caller
from support.stacks.admin_people import Finished, People
from support.stacks.running_stack import MODELS, eventually

FIELDS = [
    "app", "app_version", "budget", "datetime_started", "datetime_stopped", "deployment", "ensemble", "error", "id",
    "labels", "lost_members", "predictor_host", "role", "scaling", "status", "train_job_id", "trial_ids",
    "update", "waits_for", "weights",
]  # fmt: skip
BREAKS_ON_LOAD = (MODELS / "tiny.py").read_bytes().replace(b'self.x = params["x"]', b'raise OSError("no weights")')


@pytest.fixture(scope="module")
def served(finished: Finished) -> Iterator[dict[str, Any]]:
    """The running inference job of the finished train job."""
    yield finished.owner.ok("POST", "/inference_jobs", json={"app": finished.app})
    finished.owner.ok("POST", f"/inference_jobs/{finished.app}/-1/stop")


def predict(job: dict[str, Any], query: Any) -> httpx.Response:
    return httpx.post(f"http://{job['predictor_host']}/predict", json={"query": query}, timeout=30)


def is_gone(job: dict[str, Any]) -> bool:
    """Whether nobody listens at a job's predictor. One that is ending may cut off a request that just reached it."""
    try:
        predict(job, "q")
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False
    return False


def test_an_inference_job_serves_the_best_trial_as_soon_as_it_is_made(
    finished: Finished, served: dict[str, Any]
) -> None:
    assert sorted(served) == ["app", "app_version", "id", "predictor_host", "train_job_id"]
    assert (served["app"], served["app_version"]) == (finished.app, 1)
    answer = predict(served, "q")
    assert answer.status_code == 200
    best = finished.owner.trials(finished.app, type="best", max_count=1)[0]
    assert answer.json()["prediction"]["x"] == best["proposal"]["knobs"]["x"]
    assert answer.json()["predictions"] == []


def test_the_running_job_says_what_it_serves(finished: Finished, served: dict[str, Any]) -> None:
    job = finished.owner.ok("GET", f"/inference_jobs/{finished.app}/-1")
    assert sorted(job) == FIELDS
    assert {n: job[n] for n in served} == served
    best = finished.owner.trials(finished.app, type="best", max_count=1)[0]
    assert (job["status"], job["error"], job["trial_ids"]) == ("RUNNING", None, [best["id"]])
    assert job["budget"] == {"GPU_COUNT": 0, "REPLICA_COUNT": 1}
    assert job["weights"] == [1.0]
    assert (job["ensemble"]["method"], job["ensemble"]["size"], job["ensemble"]["note"]) == ("mean", None, None)
    assert job["datetime_stopped"] is None
    assert finished.owner.ok("GET", f"/inference_jobs/{finished.app}/1") == job
    assert job in finished.owner.ok("GET", "/inference_jobs")
    assert job in finished.owner.ok("GET", f"/inference_jobs/{finished.app}")


def test_a_train_job_has_one_live_inference_job(finished: Finished, served: dict[str, Any]) -> None:
    fields = {"app": finished.app, "app_version": 1}
    finished.owner.refused("RunningInferenceJobExistsError", "POST", "/inference_jobs", json=fields)


@pytest.mark.parametrize("who", ["superadmin", "admin", "model_developer", "app_developer"])
def test_an_inference_job_belongs_to_its_user(
    people: People, finished: Finished, served: dict[str, Any], who: str
) -> None:
    other: Caller = getattr(people, who)
    other.refused("InvalidTrainJobError", "POST", "/inference_jobs", json={"app": finished.app})
    other.refused("InvalidTrainJobError", "GET", f"/inference_jobs/{finished.app}/-1")
    if who not in ("superadmin", "admin"):  # They may stop anyone's.
        other.refused("InvalidTrainJobError", "POST", f"/inference_jobs/{finished.app}/-1/stop")
    assert other.ok("GET", f"/inference_jobs/{finished.app}") == []
    assert served["id"] not in [j["id"] for j in other.ok("GET", "/inference_jobs")]
    assert predict(served, "q").status_code == 200


def test_admins_see_the_jobs_of_any_user(people: People, finished: Finished, served: dict[str, Any]) -> None:
    query = {"user_id": finished.owner.id}
    for who in (people.superadmin, people.admin, finished.owner):
        assert served["id"] in [j["id"] for j in who.ok("GET", "/inference_jobs", params=query)]
    people.model_developer.refused("InvalidRunningInferenceJobError", "GET", "/inference_jobs", params=query)


def test_a_stopped_job_is_not_running_any_more_and_can_be_made_anew(people: People) -> None:
    me = people.model_developer
    app = me.run_job()
    me.refused("InvalidRunningInferenceJobError", "GET", f"/inference_jobs/{app}/-1")
    first = me.ok("POST", "/inference_jobs", json={"app": app, "app_version": 1})
    stopped = me.ok("POST", f"/inference_jobs/{app}/-1/stop")
    assert stopped == {n: first[n] for n in ("id", "train_job_id", "app", "app_version")}

    for method, path in (("GET", f"/inference_jobs/{app}/1"), ("POST", f"/inference_jobs/{app}/1/stop")):
        me.refused("InvalidRunningInferenceJobError", method, path)
    eventually(lambda: is_gone(first), "an end of the predictor")
    [job] = me.ok("GET", f"/inference_jobs/{app}")
    assert job["status"] == "STOPPED"
    assert job["datetime_stopped"] is not None

    second = me.ok("POST", "/inference_jobs", json={"app": app})
    assert second["id"] != first["id"]
    assert predict(second, "q").status_code == 200
    assert [j["id"] for j in me.ok("GET", f"/inference_jobs/{app}")] == [second["id"], first["id"]]
    me.ok("POST", f"/inference_jobs/{app}/-1/stop")


def test_a_live_train_job_cannot_be_served(people: People) -> None:
    me = people.model_developer
    app = me.start_job(train_args={"sleep_s": 60})
    assert "stop" in me.refused("InvalidTrainJobError", "POST", "/inference_jobs", json={"app": app})
    me.ok("POST", f"/train_jobs/{app}/-1/stop")
    assert "no completed trial" in me.refused("InvalidTrainJobError", "POST", "/inference_jobs", json={"app": app})


def test_a_stopped_train_job_is_served_with_the_trials_it_completed(people: People) -> None:
    me = people.model_developer
    app = me.start_job(budget={"MODEL_TRIAL_COUNT": 10_000}, train_args={"sleep_s": 0.05})
    eventually(lambda: any(t["status"] == "COMPLETED" for t in me.trials(app)), "a completed trial")
    me.ok("POST", f"/train_jobs/{app}/-1/stop")
    job = me.ok("POST", "/inference_jobs", json={"app": app})
    best = me.trials(app, type="best", max_count=1)[0]
    assert predict(job, "q").json()["prediction"]["x"] == best["proposal"]["knobs"]["x"]
    me.ok("POST", f"/inference_jobs/{app}/-1/stop")


def test_one_trial_of_each_model_is_served_with_as_many_workers_as_asked_for(people: People) -> None:
    me = people.model_developer
    models = [me.upload_model(), me.upload_model()]
    app = me.run_job(model_ids=models, budget={"MODEL_TRIAL_COUNT": 2})
    made = me.ok("POST", "/inference_jobs", json={"app": app, "budget": {"REPLICA_COUNT": 2}})
    job = me.ok("GET", f"/inference_jobs/{app}/-1")
    trials = {t["id"]: t for t in me.trials(app)}
    served = [trials[i] for i in job["trial_ids"]]
    assert len({t["model_name"] for t in served}) == 2
    assert [t["score"] for t in served] == sorted((t["score"] for t in served), reverse=True)
    workers = [
        s for s in people.admin.ok("GET", "/services")
        if s["job_id"] == made["id"] and s["service_type"] == "INFERENCE"
    ]  # fmt: skip
    assert len(workers) == 4
    me.ok("POST", f"/inference_jobs/{app}/-1/stop")


def test_a_model_that_does_not_load_its_parameters_makes_the_job_errored_with_the_reason(people: People) -> None:
    me = people.model_developer
    model_id = me.send_model(BREAKS_ON_LOAD, "Tiny").json()["id"]
    app = me.run_job(model_id=model_id)
    me.ok("POST", "/inference_jobs", json={"app": app})
    [job] = eventually(
        lambda: [j for j in me.ok("GET", f"/inference_jobs/{app}") if j["status"] == "ERRORED"], "an ERRORED job"
    )
    assert "OSError: no weights (line " in job["error"]
    me.refused("InvalidRunningInferenceJobError", "GET", f"/inference_jobs/{app}/-1")
    me.refused("InvalidRunningInferenceJobError", "POST", f"/inference_jobs/{app}/-1/stop")


# ---- how the members are chosen


@pytest.mark.parametrize(
    ("ensemble", "error", "words"),
    [
        ({"method": "greedy"}, "InvalidInferenceJobError", "are not joined"),
        ({"method": "best", "size": 2}, "InvalidInferenceJobError", "serves one trial, not 2"),
        ({"method": "median"}, "InvalidRequestError", "ensemble"),
        ({"size": 0}, "InvalidRequestError", "ensemble.size"),
        ({"size": 101}, "InvalidRequestError", "ensemble.size"),
        ({"length": 3}, "InvalidRequestError", "length"),
        ("greedy", "InvalidRequestError", "ensemble"),
    ],
)
def test_a_choice_of_members_that_makes_no_sense_is_refused(
    finished: Finished, ensemble: Any, error: str, words: str
) -> None:
    fields = {"app": finished.app, "ensemble": ensemble}
    assert words in finished.owner.refused(error, "POST", "/inference_jobs", json=fields)


# ---- how many workers they have


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        (
            {"deployment": {"replicas": {"min": 3, "max": 2}}},
            "InvalidInferenceJobError",
            "min is 3, which",
        ),
        ({"deployment": {"replicas": {"min": 1}}}, "InvalidRequestError", "max"),
        ({"deployment": {"replicas": {"max": 0}}}, "InvalidRequestError", "deployment.replicas.max"),
        ({"deployment": {"replicas": {"max": 257}}}, "InvalidRequestError", "deployment.replicas.max"),
        ({"deployment": {"replicas": {"max": 2, "idle_s": 0}}}, "InvalidRequestError", "deployment.replicas.idle_s"),
        ({"deployment": {"replicas": {"max": 2, "most": 2}}}, "InvalidRequestError", "most"),
        ({"deployment": {"replicas": 2}}, "InvalidRequestError", "deployment.replicas"),
        (
            {"deployment": {"replicas": {"max": 4}}, "budget": {"REPLICA_COUNT": 2}},
            "InvalidInferenceJobError",
            "REPLICA_COUNT is 2, and `replicas` says 1 to 4: give one of them",
        ),
    ],
)
def test_limits_of_replicas_that_make_no_sense_are_refused(
    finished: Finished, fields: dict[str, Any], error: str, words: str
) -> None:
    assert words in finished.owner.refused(error, "POST", "/inference_jobs", json={"app": finished.app, **fields})


def test_limits_are_given_to_what_serves_and_its_number_follows(finished: Finished, served: dict[str, Any]) -> None:
    me, path = finished.owner, f"/inference_jobs/{finished.app}/-1"
    assert me.ok("GET", path)["scaling"] is None
    assert "more than max" in me.refused("InvalidInferenceJobError", "POST", f"{path}/scale", json={"min": 3, "max": 2})
    scaled = me.ok("POST", f"{path}/scale", json={"min": 2})
    assert scaled["replicas"] == {"min": 2, "max": 2, "idle_s": 300.0}
    eventually(lambda: me.ok("GET", path)["scaling"], "limits that hold")
    view = me.ok("GET", path)
    assert view["deployment"]["replicas"] == scaled["replicas"]
    [change] = view["scaling"]["changes"] or [None]
    assert change is None or (change["before"], change["after"]) == (1, 2)
    assert [m["wanted"] for m in view["scaling"]["members"]] == [2]
    assert me.ok("POST", f"{path}/scale", json={"max": 1})["replicas"] == {"min": 1, "max": 1, "idle_s": 300.0}
    assert me.ok("POST", f"{path}/scale", json={"min": 0, "idle_s": 60})["replicas"]["min"] == 0
    assert predict(served, 1).status_code == 200


@pytest.mark.parametrize(
    ("ensemble", "n_members", "said"),
    [({"method": "best"}, 1, ("best", 1)), ({"size": 2}, 2, ("mean", 2)), ({"method": "mean"}, 1, ("mean", None))],
)
def test_the_best_trials_are_served_as_asked_for(
    people: People, ensemble: dict[str, Any], n_members: int, said: tuple[str, int | None]
) -> None:
    me = people.model_developer
    app = me.run_job(budget={"MODEL_TRIAL_COUNT": 3})
    me.ok("POST", "/inference_jobs", json={"app": app, "ensemble": ensemble})
    job = me.ok("GET", f"/inference_jobs/{app}/-1")
    best = me.trials(app, type="best", max_count=n_members)
    assert job["trial_ids"] == [t["id"] for t in best]
    assert job["weights"] == pytest.approx([1 / n_members] * n_members)
    view = job["ensemble"]
    assert (view["method"], view["size"]) == said
    assert (view["metric"], view["validation_score"], view["member_scores"], view["note"]) == (None, None, [], None)
    me.ok("POST", f"/inference_jobs/{app}/-1/stop")
