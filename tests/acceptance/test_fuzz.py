"""Every call by every role, right ones and thousands that are not: what is answered is what the OpenAPI document says.

``make fuzz`` makes 10,000 calls as each role, with a limit of 5 s for each; RAFIKI_FUZZ_SEED makes
those of another run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest
from fuzz.calls import Fuzzer
from fuzz.document import DOCUMENT, check_answer
from fuzz.people import NEVER_BY_APP_DEVELOPERS, ROLES, People

from rafiki.contract.all import ENDPOINTS, PAGES
from rafiki.contract.service_calls import SERVICE_CALLS

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

CALLS = int(os.environ.get("RAFIKI_FUZZ_CALLS", "1000"))
SEED = int(os.environ.get("RAFIKI_FUZZ_SEED", "1"))
MOST_S = 5.0 if "RAFIKI_FUZZ_CALLS" in os.environ else None
"""Only of a long run, which has its machine for itself."""
OF_CLUSTERS = {"get_node", "drain_node", "activate_node", "remove_node", "add_node"}
"""A stack of one machine has no node, and answers them with NoClusterError."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    made = People(tmp_path_factory.mktemp("fuzz"), MOST_S)
    yield made
    made.close()


@pytest.fixture(scope="module")
def toured(people: People) -> People:
    for person in people.all:
        people.tour(person)
    return people


@pytest.mark.parametrize("role", ROLES)
def test_every_call_that_a_role_may_make_is_reached_with_a_success(toured: People, role: str) -> None:
    [me] = [p for p in toured.all if p.role == role]
    for name in ENDPOINTS:
        answered = me.was_answered(name)
        if name in OF_CLUSTERS:
            assert answered and answered <= ({404, 409} if me.may(name) else {403}), (name, answered)
        elif me.may(name):
            assert 200 in answered or (role == "APP_DEVELOPER" and name in NEVER_BY_APP_DEVELOPERS), (name, answered)
        else:
            assert answered and answered == {403}, (name, answered)


def test_the_document_has_every_call_and_no_other() -> None:
    told = {o["operationId"] for path in DOCUMENT["paths"].values() for o in path.values()}
    assert {name for name in told if not name.startswith("head_")} == {*ENDPOINTS, *SERVICE_CALLS, *PAGES.values()}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={"id": 1}),
        httpx.Response(200, json=[]),
        httpx.Response(200, text="{}"),
        httpx.Response(204),
        httpx.Response(302, json={}),
        httpx.Response(400, json={"error": "x"}),
        httpx.Response(500, json={"error": "InternalError", "message": "x"}),
    ],
)
def test_an_answer_that_the_document_does_not_describe_fails_the_test(answer: httpx.Response) -> None:
    with pytest.raises(AssertionError):
        check_answer("/users/me", "get", answer)


def test_nobody_is_answered_401_by_every_call_that_takes_a_token(toured: People) -> None:
    for name, e in ENDPOINTS.items():
        if e.roles is not None:
            answer = toured.nobody.call(name, **dict.fromkeys(e.path_fields, "x"))
            assert (answer.status_code, "www-authenticate" in answer.headers) == (401, True), name


def test_calls_of_services_refuse_the_tokens_of_people(toured: People) -> None:
    for person in (*toured.all, toured.nobody):
        for call in SERVICE_CALLS.values():
            answer = person.caller.send(call.method, call.path.format(id="x"), content=b"{}")
            assert answer.status_code == 401, call.name
            check_answer(call.path, call.method.lower(), answer)


@pytest.mark.timeout(0 if MOST_S else 240)
@pytest.mark.parametrize("role", [*ROLES, "nobody"])
def test_wrong_calls_are_answered_as_the_document_says(toured: People, role: str) -> None:
    [me] = [p for p in (*toured.all, toured.nobody) if p.role == role]
    fuzzer = Fuzzer(toured, SEED * 10 + ROLES.index(role) if role in ROLES else SEED)
    before = me.answered.total()
    for _ in range(CALLS):
        fuzzer.call(me)
    assert me.answered.total() - before == CALLS
    toured.root.ok("stop_all_jobs")
    assert "unexpected:" not in toured.stack.log.read_text(errors="replace")
