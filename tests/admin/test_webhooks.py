"""Webhooks of users, on a real stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.http.raw_http import Caller
from support.results.hook_receiver import HookReceiver
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack, eventually, kill

COURIER = "rafiki.admin.courier"
PUBLIC = "https://hooks.example.org/rafiki"


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    made = HookReceiver()
    yield made
    made.close()


@pytest.fixture
def owner(people: People) -> Caller:
    return people.superadmin.make_user("ADMIN")


def test_a_webhook_is_told_of_a_job_from_beginning_to_end_also_when_the_courier_is_killed(
    owner: Caller, receiver: HookReceiver, stack: RunningStack
) -> None:
    made = owner.ok("POST", "/webhooks", json={"url": receiver.url})
    receiver.secret = made["secret"]
    tested = owner.ok("POST", f"/webhooks/{made['id']}/test")
    eventually(lambda: receiver.types() == ["webhook.test"], "the test")
    assert receiver.got[0]["id"] == tested["id"]
    [courier] = [p for p in stack.processes() if COURIER in p.cmdline()]
    kill(courier.pid)
    app = owner.run_job()
    eventually(lambda: "train_job.ended" in receiver.types(), "the end of the job")
    assert set(receiver.types()) == {"webhook.test", "train_job.started", "trial.best", "train_job.ended"}
    assert receiver.got[-1]["data"]["app"] == app
    assert set(receiver.is_genuine) == {True}
    found = owner.ok("GET", f"/webhooks/{made['id']}/deliveries", params={"limit": 1})
    assert [d["event"] for d in found] == ["train_job.ended"]
    owner.ok("DELETE", f"/webhooks/{made['id']}")
    owner.refused("InvalidWebhookError", "GET", f"/webhooks/{made['id']}/deliveries")


def test_a_webhook_is_out_of_reach_of_others(owner: Caller, people: People) -> None:
    made = owner.ok("POST", "/webhooks", json={"url": PUBLIC})
    for other in (people.app_developer, people.superadmin):
        other.refused("InvalidWebhookError", "DELETE", f"/webhooks/{made['id']}")
        other.refused("InvalidWebhookError", "POST", f"/webhooks/{made['id']}/test")
        assert made["id"] not in [w["id"] for w in other.ok("GET", "/webhooks")]
    people.app_developer.refused("UnauthorizedError", "GET", "/receivers")
    assert people.admin.ok("GET", "/receivers") == []
    owner.ok("DELETE", f"/webhooks/{made['id']}")


@pytest.mark.parametrize(
    "url", ["ftp://x", "https://u:p@example.org", "https://", "nonsense", "https://x:0/", "http://a b"]
)
def test_an_address_that_is_none_is_refused(owner: Caller, url: str) -> None:
    assert "'url'" in owner.refused("InvalidRequestError", "POST", "/webhooks", json={"url": url})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1:8080"])
def test_an_address_that_is_not_public_is_refused_to_who_is_no_admin(people: People, host: str) -> None:
    caller = people.app_developer
    told = caller.refused("InvalidRequestError", "POST", "/webhooks", json={"url": f"http://{host}/"})
    assert "not a public address" in told


def test_events_that_are_none_are_refused_with_the_nearest(owner: Caller) -> None:
    for events in ([], ["train_job.end"], ["webhook.test"]):
        told = owner.refused("InvalidRequestError", "POST", "/webhooks", json={"url": PUBLIC, "events": events})
        assert "train_job.ended" in told


def test_a_user_has_ten_webhooks_at_most(people: People) -> None:
    caller = people.superadmin.make_user("APP_DEVELOPER")
    for _ in range(10):
        caller.ok("POST", "/webhooks", json={"url": PUBLIC})
    assert "10" in caller.refused("InvalidWebhookError", "POST", "/webhooks", json={"url": PUBLIC})
