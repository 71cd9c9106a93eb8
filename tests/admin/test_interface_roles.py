"""The published REST interface over raw HTTP: what each call answers, and whom it refuses."""

from __future__ import annotations

import re
import typing
from typing import Any

import httpx
import msgspec
import pytest
from support.http.raw_http import BYTES, JSON, TASK, Caller, check_refusal, unique
from support.stacks.admin_people import Finished, People
from support.stacks.running_stack import MODELS

from rafiki.contract.all import ENDPOINTS
from rafiki.contract.endpoint import AnyEndpoint

EVERYBODY = {"nobody", "banned", "app_developer", "model_developer", "admin", "superadmin"}
USERS = EVERYBODY - {"nobody", "banned"}
DEVELOPERS = USERS - {"app_developer"}
ADMINS = {"admin", "superadmin"}

USER = "id email user_type"
DATASET = "id name task size_bytes"
MODEL = "id user_id name task datetime_created dependencies access_right"
JOB = (
    "id status app app_version task train_dataset_id val_dataset_id train_args budget datetime_started datetime_stopped"
)
TRIAL = "id no worker_id proposal status score model_name is_params_saved datetime_started datetime_stopped"
INFERENCE_JOB = "id status train_job_id app app_version datetime_started datetime_stopped predictor_host"
# Who may make each published call, and the fields of (each item of) its answer. Ownership comes after that.
PUBLISHED: dict[str, tuple[set[str], str]] = {
    "GET /": (EVERYBODY, ""),
    "POST /tokens": (EVERYBODY, "user_id user_type token"),
    "POST /users": (ADMINS, USER),
    "GET /users": (ADMINS, f"{USER} banned_date"),
    "DELETE /users": (ADMINS, f"{USER} banned_date"),
    "POST /datasets": (USERS, DATASET),
    "GET /datasets": (USERS, f"{DATASET} datetime_created"),
    "POST /models": (DEVELOPERS, "id user_id name"),
    "GET /models/available": (USERS, MODEL),
    "GET /models/<id>": (USERS, MODEL),
    "GET /models/<id>/model_file": (USERS, ""),
    "DELETE /models/<id>": (USERS, "id user_id name"),
    "POST /train_jobs": (USERS, "id app app_version"),
    "GET /train_jobs": (USERS, JOB),
    "GET /train_jobs/<app>": (USERS, JOB),
    "GET /train_jobs/<app>/<version>": (USERS, JOB),
    "POST /train_jobs/<app>/<version>/stop": (USERS, "id app app_version"),
    "GET /train_jobs/<app>/<version>/trials": (USERS, TRIAL),
    "GET /trials/<id>": (USERS, TRIAL),
    "GET /trials/<id>/logs": (USERS, "messages metrics plots"),
    "GET /trials/<id>/parameters": (USERS, ""),
    "POST /inference_jobs": (USERS, "id train_job_id app app_version predictor_host"),
    "GET /inference_jobs": (USERS, INFERENCE_JOB),
    "GET /inference_jobs/<app>": (USERS, INFERENCE_JOB),
    "GET /inference_jobs/<app>/<version>": (USERS, INFERENCE_JOB),
    "POST /inference_jobs/<app>/<version>/stop": (USERS, "id train_job_id app app_version"),
    "POST /actions/stop_all_jobs": ({"superadmin"}, "train_jobs inference_jobs"),
}


def endpoint_of(call: str) -> AnyEndpoint:
    method, _, path = call.partition(" ")
    pattern = re.compile(re.sub(r"<\w+>", r"{\\w+}", path))
    [found] = [e for e in ENDPOINTS.values() if e.method == method and pattern.fullmatch(e.path)]
    return found


# ---- answers


class Session:
    """The owner of everything in it makes calls, whose answers are kept by the call."""

    def __init__(self, who: Caller, app: str) -> None:
        self.who, self.app = who, app
        self.answers: dict[str, httpx.Response] = {}

    def __call__(self, call: str, id: str = "", version: int = -1, **parts: Any) -> Any:
        method, _, path = call.partition(" ")
        path = path.replace("<app>", self.app).replace("<version>", str(version)).replace("<id>", id)
        self.answers[call] = answer = self.who.send(method, path, **parts)
        assert answer.status_code == 200, f"{call}: {answer.text}"
        return answer.json() if answer.headers["content-type"] == JSON else answer.content


@pytest.fixture(scope="module")
def answers(people: People, finished: Finished) -> dict[str, httpx.Response]:
    """An answer to every published call but `stop_all_jobs`, which would stop the jobs of other tests."""
    by_admin = Session(people.superadmin, "")
    user = {"email": f"{unique('x')}@rafiki", "password": "a password", "user_type": "APP_DEVELOPER"}
    by_admin("POST /users", json=user)
    by_admin("GET /users")
    by_admin("DELETE /users", json={"email": user["email"]})

    me = Session(finished.owner, unique("app"))
    me("GET /")
    me("POST /tokens", json={"email": finished.owner.email, "password": "a password"})
    form = {"name": unique("n"), "task": TASK}
    data = me("POST /datasets", data=form, files={"dataset": ("d.bin", b"some bytes")})["id"]
    me("GET /datasets", params={"task": TASK})
    source = {"model_file_bytes": ("tiny.py", (MODELS / "tiny.py").read_bytes())}
    model = me("POST /models", data={**form, "model_class": "Tiny", "dependencies": "{}"}, files=source)["id"]
    for call in ("GET /models/<id>", "GET /models/<id>/model_file", "DELETE /models/<id>"):
        me(call, model)
    me("GET /models/available", params={"task": TASK})
    me("POST /train_jobs", json=finished.owner.job_fields(finished.model_id, data, app=me.app))
    finished.owner.wait_for_job(me.app)
    me("POST /train_jobs/<app>/<version>/stop")
    me("GET /train_jobs", params={"user_id": finished.owner.id})
    for call in ("GET /train_jobs/<app>", "GET /train_jobs/<app>/<version>"):
        me(call)
    [trial] = me("GET /train_jobs/<app>/<version>/trials", params={"type": "best", "max_count": 2})
    for call in ("GET /trials/<id>", "GET /trials/<id>/logs", "GET /trials/<id>/parameters"):
        me(call, trial["id"])
    me("POST /inference_jobs", json={"app": me.app, "app_version": 1, "budget": {}})
    me("GET /inference_jobs", params={"user_id": finished.owner.id})
    for call in ("GET /inference_jobs/<app>", "GET /inference_jobs/<app>/<version>"):
        me(call)
    me("POST /inference_jobs/<app>/<version>/stop")
    return {**by_admin.answers, **me.answers}


ANSWERED = [call for call in PUBLISHED if call != "POST /actions/stop_all_jobs"]


@pytest.mark.parametrize("call", ANSWERED)
def test_a_call_answers_with_exactly_its_content_type(answers: dict[str, httpx.Response], call: str) -> None:
    is_file = call in ("GET /models/<id>/model_file", "GET /trials/<id>/parameters")
    assert answers[call].headers["content-type"] == (BYTES if is_file else JSON)
    assert answers[call].content
    # Never pickle: neither its protocol header nor its final opcode would be JSON, Python or safetensors.
    assert not answers[call].content.startswith(b"\x80")


@pytest.mark.parametrize("call", [c for c in PUBLISHED if PUBLISHED[c][1]])
def test_a_call_answers_with_its_published_fields_as_the_contract_declares_them(
    answers: dict[str, httpx.Response], call: str
) -> None:
    published = set(PUBLISHED[call][1].split())
    declared = endpoint_of(call).response
    [view] = typing.get_args(declared) or [declared]
    fields = {f.name for f in msgspec.structs.fields(view)}
    # What the first generation did not have may be left out where it says nothing.
    optional = (
        {f.name for f in msgspec.structs.fields(view) if not f.required} - published
        if view.__struct_config__.omit_defaults
        else set()
    )
    assert published <= fields
    if call not in answers:
        return
    found = answers[call].json()
    items = found if typing.get_args(declared) else [found]
    assert items
    for item in items:
        assert fields - optional <= set(item) <= fields


def test_a_predictor_host_is_a_host_and_a_port(answers: dict[str, httpx.Response]) -> None:
    made, running = (answers[c].json() for c in ("POST /inference_jobs", "GET /inference_jobs/<app>/<version>"))
    assert re.fullmatch(r"[\w.-]+:\d+", made["predictor_host"])
    assert running["predictor_host"] == made["predictor_host"]
    assert {int(made["predictor_host"].partition(":")[2])}.isdisjoint({0, answers["GET /"].url.port})


# ---- refusals


@pytest.fixture(scope="module")
def banned(people: People) -> Caller:
    """Somebody whose token was good, and whose role may do almost everything, until the ban."""
    victim = people.superadmin.make_user("ADMIN")
    people.superadmin.ok("DELETE", "/users", json={"email": victim.email})
    return victim


REFUSED = [(call, who) for call, (may, _) in PUBLISHED.items() for who in sorted(EVERYBODY - may)]


@pytest.mark.parametrize(("call", "who"), REFUSED)
def test_a_call_refuses_whoever_may_not_make_it(people: People, banned: Caller, call: str, who: str) -> None:
    caller: Caller = banned if who == "banned" else getattr(people, who)
    method, _, path = call.partition(" ")
    path = path.replace("<version>", "1").replace("<app>", "an-app").replace("<id>", "an-id")
    message = check_refusal(caller.send(method, path), "UnauthorizedError", 401 if who in ("nobody", "banned") else 403)
    assert ("banned" in message) == (who == "banned")


@pytest.mark.parametrize(
    ("who", "allowed"),
    [("superadmin", True), ("admin", True), ("model_developer", False), ("app_developer", False)],
)
@pytest.mark.parametrize(
    ("path", "error"),
    [("/train_jobs", "InvalidTrainJobError"), ("/inference_jobs", "InvalidRunningInferenceJobError")],
)
def test_only_admins_list_the_jobs_of_somebody_else(
    people: People, finished: Finished, who: str, allowed: bool, path: str, error: str
) -> None:
    caller, query = getattr(people, who), {"user_id": finished.owner.id}
    if allowed:
        assert caller.ok("GET", path, params=query) == finished.owner.ok("GET", path, params=query)
    else:
        caller.refused(error, "GET", path, params=query)


@pytest.mark.parametrize("kind", ["ADMIN", "MODEL_DEVELOPER", "APP_DEVELOPER"])
def test_a_ban_cannot_be_taken_back(people: People, kind: str) -> None:
    victim = people.superadmin.make_user(kind)
    banned = people.superadmin.ok("DELETE", "/users", json={"email": victim.email})
    again = {"email": victim.email, "password": "a password"}
    people.superadmin.refused("UserAlreadyBannedError", "DELETE", "/users", json={"email": victim.email})
    people.superadmin.refused("UserExistsError", "POST", "/users", json={**again, "user_type": kind})
    people.nobody.refused("UnauthorizedError", "POST", "/tokens", json=again)
    assert banned in people.admin.ok("GET", "/users")


# ---- versions and what is served


def test_each_version_is_served_by_itself_and_minus_one_is_the_latest(people: People) -> None:
    me = people.model_developer
    model_id, dataset_id = me.upload_model(), me.upload_dataset()
    app = me.run_job(model_id=model_id, dataset_id=dataset_id)
    me.run_job(model_id=model_id, dataset_id=dataset_id, app=app)

    first = me.ok("POST", "/inference_jobs", json={"app": app, "app_version": 1})
    # Only its own train job counts: that of version 2 has none yet.
    me.refused("InvalidRunningInferenceJobError", "GET", f"/inference_jobs/{app}/-1")
    latest = me.ok("POST", "/inference_jobs", json={"app": app})
    assert [first["app_version"], latest["app_version"]] == [1, 2]
    assert [latest["train_job_id"], first["train_job_id"]] == [j["id"] for j in me.ok("GET", f"/train_jobs/{app}")]
    for version, job in ((-1, latest), (2, latest), (1, first)):
        assert me.ok("GET", f"/inference_jobs/{app}/{version}")["id"] == job["id"]
    for version, job in ((-1, latest), (1, first)):
        assert me.ok("POST", f"/inference_jobs/{app}/{version}/stop")["id"] == job["id"]
    me.refused("InvalidRunningInferenceJobError", "GET", f"/inference_jobs/{app}/1")


def test_the_best_trial_of_each_model_is_served(people: People) -> None:
    me = people.model_developer
    app = me.run_job(model_ids=[me.upload_model(), me.upload_model()], budget={"MODEL_TRIAL_COUNT": 4})
    me.ok("POST", "/inference_jobs", json={"app": app})
    best: dict[str, Any] = {}
    for trial in me.trials(app, type="best", max_count=8):
        best.setdefault(trial["model_name"], trial["id"])
    assert me.ok("GET", f"/inference_jobs/{app}/-1")["trial_ids"] == list(best.values())
    assert len(best) == 2
    me.ok("POST", f"/inference_jobs/{app}/-1/stop")
