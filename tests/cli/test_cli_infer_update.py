"""``rafiki infer update``, ``promote``, ``rollback`` and ``updates``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode, RolloutKind
from rafiki.errors import InvalidRolloutError
from rafiki.utils.shares import parse_share, share_text

SIDE: dict[str, Any] = {"requests": 900, "errors": 0, "p50_ms": 4.0, "p99_ms": 12.0}
ROLLOUT: dict[str, Any] = {
    "id": "r1", "app": "digits", "kind": "replace", "share": 0.0, "rollback": {}, "is_rollback": False,
    "status": "PROMOTED", "reason": None, "from_job_id": "j1", "from_version": 1, "to_job_id": "j2", "to_version": 2,
    "comparison": None, "predictor_host": "127.0.0.1:4001", "datetime_started": "2026-01-01T10:00:00Z",
    "datetime_ready": None, "datetime_stopped": "2026-01-01T10:00:09Z",
}  # fmt: skip
CANARY: dict[str, Any] = {
    **ROLLOUT, "kind": "canary", "share": 0.1, "status": "RUNNING", "datetime_stopped": None,
    "datetime_ready": "2026-01-01T10:00:05Z",
    "comparison": {"before": SIDE, "after": {**SIDE, "requests": 100, "errors": 2}, "compared": 0, "agreed": 0},
}  # fmt: skip


def asked(server: ContractServer, name: str) -> Any:
    return next(c.request for c in server.calls if c.name == name)


def test_an_update_says_what_became_of_it(logged_in, server: ContractServer) -> None:
    server.answers["update_inference_job"] = ROLLOUT
    result = logged_in("infer", "update", "digits", "--version", "2", "--latency-budget-ms", "200", "--gpus", "2")
    assert (result.code, result.out) == (ExitCode.OK, "")
    assert result.err == "digits v2 answers all requests, at the same address; v1 has left.\n"
    request = asked(server, "update_inference_job")
    assert (request.app_version, request.kind, request.ensemble) == (2, RolloutKind.REPLACE, None)
    assert (request.deployment.latency_budget_ms, request.budget.gpu_count) == (200.0, 2)


def test_what_is_left_out_stays_as_it_is(logged_in, server: ContractServer) -> None:
    server.answers["update_inference_job"] = ROLLOUT
    logged_in("infer", "update", "digits")
    request = asked(server, "update_inference_job")
    assert (request.budget, request.ensemble, request.app_version) == (None, None, -1)


def test_a_canary_travels_with_its_share_and_rules_and_says_how_to_go_on(logged_in, server: ContractServer) -> None:
    server.answers["update_inference_job"] = CANARY
    result = logged_in(
        "infer", "update", "digits", "--canary", "10%", "--rollback-errors", "1%", "--rollback-latency-ms", "50",
        "--rollback-score", "0.02",
    )  # fmt: skip
    assert result.code == ExitCode.OK
    assert result.err == (
        "digits v2 answers 10% of the requests, v1 answers. v1: 900 requests, 0.0% errors, p99 12 ms; "
        "v2: 100 requests, 2.0% errors, p99 12 ms. "
        "`rafiki infer promote digits` or `rafiki infer rollback digits` ends that.\n"
    )
    request = asked(server, "update_inference_job")
    assert (request.kind, request.share) == (RolloutKind.CANARY, 0.1)
    assert (request.rollback.errors, request.rollback.latency_ms, request.rollback.score) == (0.01, 50.0, 0.02)


def test_an_update_is_waited_for_while_it_starts(logged_in, server: ContractServer) -> None:
    server.answers["update_inference_job"] = {**ROLLOUT, "status": "STARTED", "reason": "no GPU is free"}
    server.answers["get_rollouts"] = [ROLLOUT]
    result = logged_in("infer", "update", "digits")
    assert (result.code, "answers all requests" in result.err) == (ExitCode.OK, True)
    server.answers["get_rollouts"] = [{**ROLLOUT, "status": "STARTED", "reason": "no GPU is free"}]
    result = logged_in("infer", "update", "digits", "--timeout", "0.01")
    assert "v1 answers until it is ready. It waits: no GPU is free." in result.err


@pytest.mark.parametrize("status", ["ERRORED", "ROLLED_BACK"])
def test_an_update_that_came_to_nothing_is_an_error_with_its_reason(
    logged_in, server: ContractServer, status: str
) -> None:
    server.answers["update_inference_job"] = {**ROLLOUT, "status": status, "reason": "Its model does not load."}
    result = logged_in("infer", "update", "digits")
    assert (result.code, "Its model does not load." in result.err) == (ExitCode.JOB_ERRORED, True)


def test_promote_and_rollback_say_who_answers(logged_in, server: ContractServer) -> None:
    server.answers["promote_inference_job"] = {**CANARY, "status": "PROMOTED", "reason": "Promoted as ordered."}
    assert "digits v2 answers all requests" in logged_in("infer", "promote", "digits").err
    server.answers["rollback_inference_job"] = {**CANARY, "status": "ROLLED_BACK", "reason": "Rolled back as ordered."}
    result = logged_in("infer", "rollback", "digits", "--deployed", "1")
    assert (result.code, "digits v2 was taken back, v1 answers." in result.err) == (ExitCode.OK, True)
    assert asked(server, "rollback_inference_job").deployed_version == 1
    server.answers["promote_inference_job"] = InvalidRolloutError("No update of digits is under way.")
    assert logged_in("infer", "promote", "digits").code == ExitCode.REFUSED


def test_updates_are_listed_and_put_out_as_they_are(logged_in, server: ContractServer) -> None:
    server.answers["get_rollouts"] = [CANARY, {**ROLLOUT, "status": "ERRORED", "reason": "It does not load."}]
    out = logged_in("infer", "updates", "digits").out
    assert "v1 -> v2 canary 10%" in out
    assert "It does not load." in out
    found = json.loads(logged_in("infer", "updates", "digits", "-o", "json").out)
    assert [r["status"] for r in found] == ["RUNNING", "ERRORED"]
    assert found[0]["comparison"]["after"]["errors"] == 2


@pytest.mark.parametrize(
    "options", [("--canary", "10%", "--shadow"), ("--canary", "150%"), ("--canary", "ten"), ("--rollback-errors", "-1")]
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    logged_in, server: ContractServer, options: tuple[str, ...]
) -> None:
    assert logged_in("infer", "update", "digits", *options).code == ExitCode.USAGE
    assert not any(c.name == "update_inference_job" for c in server.calls)


@pytest.mark.parametrize(
    ("text", "share"), [("10%", 0.1), ("0.1", 0.1), (" 0.5 % ", 0.005), ("0", 0.0), ("1", 1.0), ("100%", 1.0)]
)
def test_shares_are_written_in_percent_or_parts(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "x", "nan", "-1%", "1.1", "101%", "inf"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no share"):
        parse_share(text)


def test_a_share_is_shown_in_percent() -> None:
    assert [share_text(s) for s in (0.1, 0.005, 1.0, 1 / 3)] == ["10%", "0.5%", "100%", "33.33%"]
