from __future__ import annotations

import gzip
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.http.raw_http import Caller, check_refusal, superadmin_of
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack, eventually

import rafiki
from rafiki.constants import BudgetOption, InferenceBudgetOption
from rafiki.contract.all import ENDPOINTS, PAGES
from rafiki.contract.endpoint import AnyEndpoint
from rafiki.contract.service_calls import SERVICE_CALLS

KINDS = ["superadmin", "admin", "model_developer", "app_developer", "nobody"]
# Of all calls; what is not named here is for every user who is logged in.
ONLY_FOR = {
    "get_health": KINDS,
    "login": KINDS,
    "get_oidc": KINDS,
    "start_oidc_login": KINDS,
    "finish_oidc_login": KINDS,
    "set_identity": ["superadmin", "admin"],
    "create_user": ["superadmin", "admin"],
    "get_users": ["superadmin", "admin"],
    "ban_user": ["superadmin", "admin"],
    "get_services": ["superadmin", "admin"],
    "watch_services": ["superadmin", "admin"],
    "create_environment": ["superadmin", "admin", "model_developer"],
    "remove_environment": ["superadmin", "admin"],
    "create_model": ["superadmin", "admin", "model_developer"],
    "stop_all_jobs": ["superadmin"],
    **{
        name: ["superadmin", "admin"]
        for name in (
            "get_nodes",
            "get_node",
            "add_node",
            "drain_node",
            "activate_node",
            "remove_node",
            "get_waits",
            "get_receivers",
        )
    },
    "collect_garbage": ["superadmin", "admin"],
    "get_audit": ["superadmin", "admin"],
    "set_user_type": ["superadmin", "admin"],
}
# The calls that users of the first generation rely on.
PUBLISHED = [
    "GET /", "POST /tokens", "POST /users", "GET /users", "DELETE /users", "POST /datasets", "GET /datasets",
    "POST /models", "GET /models/available", "GET /models/{}", "GET /models/{}/model_file", "DELETE /models/{}",
    "POST /train_jobs", "GET /train_jobs", "GET /train_jobs/{}", "GET /train_jobs/{}/{}",
    "POST /train_jobs/{}/{}/stop", "GET /train_jobs/{}/{}/trials", "GET /trials/{}", "GET /trials/{}/logs",
    "GET /trials/{}/parameters", "POST /inference_jobs", "GET /inference_jobs", "GET /inference_jobs/{}",
    "GET /inference_jobs/{}/{}", "POST /inference_jobs/{}/{}/stop", "POST /actions/stop_all_jobs",
]  # fmt: skip


def call_without_fields(who: Caller, endpoint: AnyEndpoint) -> Any:
    path = re.sub(r"{\w+}", "nothing", endpoint.path.replace("{app_version}", "1"))
    if not endpoint.is_stream:
        return who.send(endpoint.method, path)
    with who.http.stream(endpoint.method, path) as answer:
        # A stream that is not refused may have no end.
        if answer.status_code != 200:
            answer.read()
        return answer


# Called by the superadmin below, in a stack of its own: here it would stop the jobs of other tests.
CALLS = [(n, who) for n in sorted(ENDPOINTS) for who in KINDS if (n, who) != ("stop_all_jobs", "superadmin")]


@pytest.mark.parametrize(("name", "who"), CALLS)
def test_each_call_is_for_the_roles_that_may_make_it(people: People, name: str, who: str) -> None:
    answer = call_without_fields(getattr(people, who), ENDPOINTS[name])
    may = who in ONLY_FOR.get(name, KINDS[:4])
    if answer.status_code != 200:
        check_refusal(answer)
    # Whom the call is not for is told so; who is not known is asked who it is.
    refusal = 401 if who == "nobody" else 403
    assert (answer.status_code == refusal) is not may, answer


@pytest.mark.parametrize("call", PUBLISHED)
def test_every_published_call_is_there(call: str) -> None:
    there = {f"{e.method} {re.sub(r'{[^}]*}', '{}', e.path)}" for e in ENDPOINTS.values()}
    assert call in there


def test_the_admin_says_that_it_is_up_to_anyone(people: People) -> None:
    # A machine that is busy with other tests may keep the database waiting for a moment.
    eventually(lambda: people.nobody.ok("GET", "/")["status"] == "ok", "a healthy admin")
    health = people.nobody.ok("GET", "/")
    assert UUID(health.pop("stack_id"))
    assert (health["name"], health["version"]) == ("rafiki admin", rafiki.__version__)


def test_calls_say_which_methods_they_take_and_answer_head(people: People) -> None:
    asked = people.admin.send("OPTIONS", "/train_jobs")
    assert (asked.status_code, asked.headers["allow"], asked.content) == (204, "GET, HEAD, OPTIONS, POST", b"")
    head = people.admin.send("HEAD", "/train_jobs")
    assert (head.status_code, head.content) == (200, b"")
    assert people.admin.send("DELETE", "/train_jobs").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert people.admin.send("HEAD", "/services/events").status_code == 200


def test_who_is_not_known_sends_little_and_others_no_more_than_is_read_beside_other_calls(people: People) -> None:
    def body(size: int) -> bytes:
        return b'{"email": "' + b"x" * size + b'", "password": "p"}'

    people.nobody.refused("InvalidPasswordError", "POST", "/tokens", content=body(1000))
    people.nobody.refused("RequestTooLargeError", "POST", "/tokens", content=body(70_000))
    packed = {"content": gzip.compress(body(70_000)), "headers": {"content-encoding": "gzip"}}
    people.nobody.refused("RequestTooLargeError", "POST", "/tokens", **packed)
    # It is read, and has fields that the call does not know.
    people.admin.refused("InvalidRequestError", "POST", "/train_jobs", content=body(70_000))
    people.admin.refused("RequestTooLargeError", "POST", "/train_jobs", content=body(5 << 20))


def test_a_call_that_is_meant_for_another_stack_is_refused_and_the_answer_tells_the_version(people: People) -> None:
    meant = people.nobody.ok("GET", "/")["stack_id"]
    assert people.nobody.http.get("/", headers={"X-Rafiki-Stack": meant}).status_code == 200
    answer = people.nobody.http.get("/", headers={"X-Rafiki-Stack": "another"})
    assert (answer.status_code, answer.json()["error"]) == (421, "OtherStackError")
    assert answer.headers["X-Rafiki-Version"] == rafiki.__version__


def test_services_are_listed_with_their_processes(people: People) -> None:
    me = people.model_developer
    app = me.start_job(train_args={"sleep_s": 60})
    job_id = me.job(app)["id"]

    def workers() -> list[dict[str, Any]]:
        found = people.admin.ok("GET", "/services")
        return [s for s in found if s["job_id"] == job_id and s["status"] == "RUNNING"]

    eventually(lambda: len(workers()) == 2, "an advisor and a train worker")
    for service in workers():
        assert (service["app"], service["attempt"], service["gpus"]) == (app, 1, [])
        assert service["pid"] > 0
        assert service["memory_bytes"] > 1_000_000
    assert {s["service_type"] for s in workers()} == {"ADVISOR", "TRAIN"}
    me.ok("POST", f"/train_jobs/{app}/-1/stop")


# ---- stop_all_jobs


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[RunningStack]:
    running = RunningStack(tmp_path)
    running.up()
    yield running
    running.down()


def test_the_superadmin_stops_every_job_of_everyone(own_stack: RunningStack) -> None:
    superadmin = superadmin_of(own_stack)
    users = [superadmin.make_user("ADMIN"), superadmin.make_user("MODEL_DEVELOPER")]
    live = [u.start_job(train_args={"sleep_s": 60}) for u in users]
    served = users[0].run_job()
    users[0].ok("POST", "/inference_jobs", json={"app": served})

    stopped = superadmin.ok("POST", "/actions/stop_all_jobs")
    assert sorted(stopped) == ["inference_jobs", "train_jobs"]
    assert {j["app"] for j in stopped["train_jobs"]} == set(live)
    assert [j["app"] for j in stopped["inference_jobs"]] == [served]
    for user, app in zip(users, live, strict=True):
        assert user.job(app)["status"] == "STOPPED"
    users[0].refused("InvalidRunningInferenceJobError", "GET", f"/inference_jobs/{served}/-1")
    assert superadmin.ok("POST", "/actions/stop_all_jobs") == {"train_jobs": [], "inference_jobs": []}
    eventually(lambda: not own_stack.processes("train") and not own_stack.processes("inference"), "no worker left")


# ---- openapi.json


@pytest.fixture(scope="module")
def document(people: People) -> dict[str, Any]:
    found: dict[str, Any] = people.nobody.ok("GET", "/openapi.json")
    return found


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


def test_every_reference_in_the_document_resolves(document: dict[str, Any]) -> None:
    references = [n["$ref"] for n in nodes(document) if "$ref" in n]
    assert references
    for reference in references:
        assert reference.startswith("#/")
        target: Any = document
        for step in reference[2:].split("/"):
            assert step in target, reference
            target = target[step]


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_every_call_is_in_the_document(document: dict[str, Any], name: str) -> None:
    endpoint = ENDPOINTS[name]
    operation = document["paths"][endpoint.path][endpoint.method.lower()]
    assert operation["operationId"] == name
    assert operation["summary"]
    in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", endpoint.path))
    assert all(p["required"] for p in operation["parameters"] if p["in"] == "path")
    assert all(p["schema"] for p in operation["parameters"])
    in_body = set()
    if body := operation.get("requestBody"):
        assert endpoint.method != "GET"
        [(kind, content)] = body["content"].items()
        assert kind == ("multipart/form-data" if endpoint.is_form else "application/json")
        in_body = set(content["schema"]["properties"])
        assert set(content["schema"]["required"]) <= in_body
    assert {p["name"] for p in operation["parameters"]} | in_body == set(endpoint.fields)
    [(content_type, content)] = operation["responses"]["200"]["content"].items()
    if endpoint.is_stream:
        assert content_type == "text/event-stream"
        events = content["schema"].get("anyOf") or [content["schema"]]
        kinds = {
            document["components"]["schemas"][e["$ref"].rpartition("/")[2]]["properties"]["type"]["enum"][0]
            for e in events
        }
        assert kinds == {t.__struct_config__.tag for t in typing.get_args(endpoint.response) or [endpoint.response]}
    else:
        assert content_type in ("application/json", "application/octet-stream")
    assert "4XX" in operation["responses"]
    assert operation["security"] == ([] if endpoint.roles is None else [{"token": []}])


@pytest.mark.parametrize("name", sorted(SERVICE_CALLS))
def test_every_call_of_services_is_in_the_document(document: dict[str, Any], name: str) -> None:
    call = SERVICE_CALLS[name]
    operation = document["paths"][call.path][call.method.lower()]
    assert operation["operationId"] == name and operation["summary"] == call.summary
    assert operation["security"] == [{"service_token": []}]
    assert "service_token" in document["components"]["securitySchemes"]
    for kind in call.refusals:
        assert kind.__name__ in operation["responses"]["4XX"]["description"]
    given = {p["name"] for p in operation["parameters"]} - {"Range"}
    [(kind, content)] = operation.get("requestBody", {"content": {"": {}}})["content"].items()
    assert kind == (
        "application/octet-stream" if call.takes_bytes else "application/json" if call.method == "POST" else ""
    )
    given |= set(content.get("schema", {}).get("properties", {}))
    assert given == ({f.name for f in msgspec.structs.fields(call.request)} if call.request else set())
    assert ("206" in operation["responses"]) == call.is_ranged
    assert ("307" in operation["responses"]) == call.redirects


def test_the_document_describes_what_jobs_are_made_of(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert set(schemas["TrainBudget"]["properties"]) == set(BudgetOption)
    assert set(schemas["InferenceBudget"]["properties"]) == set(InferenceBudgetOption)
    assert {"scheme", "options", "early_ending"} <= set(schemas["AdvisorSetting"]["properties"])
    assert {"knobs", "scheme", "phase", "start_from"} <= set(schemas["Proposal"]["properties"])
    body = document["paths"]["/train_jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "TrainBudget" in str(body["properties"]["budget"])
    assert {kind.get("type") for kind in body["properties"]["advisor"]["anyOf"]} == {None, "string", "null"}


def test_the_document_names_its_version_and_holds_nothing_but_the_calls(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == rafiki.__version__
    listed = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    of_services = {(call.method, call.path) for call in SERVICE_CALLS.values()}
    heads = {("HEAD", call.path) for call in SERVICE_CALLS.values() if call.has_head}
    assert listed == {(e.method, e.path) for e in ENDPOINTS.values()} | of_services | heads | {
        ("GET", page) for page in PAGES
    }
    ids = [o["operationId"] for item in document["paths"].values() for o in item.values()]
    assert len(ids) == len(set(ids))
    used = {n["$ref"].rsplit("/", 1)[1] for n in nodes(document) if "$ref" in n}
    assert used == set(document["components"]["schemas"])
