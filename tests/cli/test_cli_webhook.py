from __future__ import annotations

from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode

URL = "https://hooks.example.org/rafiki"
HOOKS = [
    {"id": "aaaa-1", "url": URL, "events": ["train_job.*"], "is_on": True, "off_reason": None, "waiting": 3,
     "error": None, "datetime_created": "2026-11-30T10:00:00Z", "datetime_delivered": None, "datetime_failed": None},
    {"id": "bbbb-2", "url": "https://b.example.org", "events": ["*"], "is_on": False, "off_reason": "It took nothing.",
     "waiting": 0, "error": "x", "datetime_created": "2026-11-30T10:00:00Z", "datetime_delivered": None,
     "datetime_failed": None},
]  # fmt: skip
DELIVERY = {
    "id": "e1", "event": "webhook.test", "status": "WAITING", "attempts": 0, "answer": None, "error": None,
    "datetime_created": "2026-11-30T10:00:00Z", "datetime_due": "2026-11-30T10:00:00Z", "datetime_ended": None,
}  # fmt: skip


def asked(server: ContractServer, name: str) -> Any:
    return next(c.request for c in server.calls if c.name == name)


@pytest.fixture(autouse=True)
def answers(server: ContractServer) -> None:
    server.answers |= {
        "create_webhook": {"id": "aaaa-1", "url": URL, "events": ["train_job.*"], "secret": "whsec_x"},
        "get_webhooks": HOOKS, "delete_webhook": HOOKS[0], "resume_webhook": HOOKS[1], "test_webhook": DELIVERY,
        "get_webhook_deliveries": [{**DELIVERY, "status": "DELIVERED", "attempts": 1, "answer": 204}],
    }  # fmt: skip


def test_the_secret_alone_goes_to_stdout(logged_in, server: ContractServer) -> None:
    result = logged_in("webhook", "add", URL, "--event", "train_job.*")
    assert (result.code, result.out) == (ExitCode.OK, "whsec_x\n")
    assert "not shown again" in result.err
    assert asked(server, "create_webhook").events == ["train_job.*"]
    logged_in("webhook", "add", URL)
    assert server.calls[-1].request.events is None


def test_webhooks_are_listed_with_how_they_do(logged_in) -> None:
    out = logged_in("webhook", "list").out
    assert "ok" in out
    assert "off: It took nothing." in out


@pytest.mark.parametrize("wanted", [URL, "aaaa-1", "aaaa"])
def test_a_webhook_is_removed_by_its_address_or_id(logged_in, server: ContractServer, wanted: str) -> None:
    assert logged_in("webhook", "remove", wanted).code == ExitCode.OK
    assert asked(server, "delete_webhook").webhook_id == "aaaa-1"


def test_a_test_waits_for_the_answer(logged_in, server: ContractServer) -> None:
    result = logged_in("webhook", "test", URL)
    assert (result.code, "answered with status 204" in result.err) == (ExitCode.OK, True)
    failed = {**DELIVERY, "status": "FAILED", "attempts": 1, "answer": 500, "error": "It answers with status 500."}
    server.answers["get_webhook_deliveries"] = [failed]
    result = logged_in("webhook", "test", URL)
    assert result.code != ExitCode.OK
    assert "It answers with status 500." in result.err


def test_deliveries_are_listed_and_one_that_is_off_is_switched_on(logged_in, server: ContractServer) -> None:
    out = logged_in("webhook", "deliveries", "aaaa", "-n", "5").out
    assert "webhook.test" in out
    assert "204" in out
    assert asked(server, "get_webhook_deliveries").limit == 5
    assert logged_in("webhook", "resume", "bbbb").code == ExitCode.OK
    assert asked(server, "resume_webhook").webhook_id == "bbbb-2"


def test_an_unknown_webhook_is_told(logged_in) -> None:
    result = logged_in("webhook", "remove", "https://nobody")
    assert result.code == ExitCode.NOT_FOUND
    assert "rafiki webhook list" in result.err
