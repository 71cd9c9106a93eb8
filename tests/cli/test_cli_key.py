from __future__ import annotations

from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode

KEYS = [
    {"id": f"{n}aaa-bbbb", "app": "digits", "name": name, "datetime_created": "2026-11-30T10:00:00Z"}
    for n, name in enumerate(["website", "phone"])
]


def asked(server: ContractServer, name: str) -> Any:
    return next(c.request for c in server.calls if c.name == name)


@pytest.fixture(autouse=True)
def answers(server: ContractServer) -> None:
    server.answers |= {
        "create_key": {"id": "k1", "app": "digits", "name": "website", "key": "rfp_secret"},
        "get_keys": KEYS, "revoke_key": KEYS[0],
        "create_inference_job": {
            "id": "i1", "train_job_id": "j1", "app": "digits", "app_version": 1, "predictor_host": "h:1",
        },
    }  # fmt: skip


def test_a_key_alone_goes_to_stdout(logged_in) -> None:
    result = logged_in("key", "create", "digits", "--name", "website")
    assert (result.code, result.out) == (ExitCode.OK, "rfp_secret\n")
    assert "not shown again" in result.err


def test_keys_are_listed(logged_in) -> None:
    assert "website" in logged_in("key", "list", "digits").out


@pytest.mark.parametrize("wanted", ["website", "0aaa-bbbb", "0aaa"])
def test_a_key_is_revoked_by_its_name_or_id(logged_in, server: ContractServer, wanted: str) -> None:
    assert logged_in("key", "revoke", "digits", wanted).code == ExitCode.OK
    assert asked(server, "revoke_key").key_id == "0aaa-bbbb"


def test_an_unknown_key_is_told_with_the_nearest(logged_in) -> None:
    result = logged_in("key", "revoke", "digits", "websit")
    assert result.code == ExitCode.NOT_FOUND
    assert "website" in result.err


def test_a_deployment_asks_for_a_key_where_told(logged_in, server: ContractServer) -> None:
    assert logged_in("infer", "create", "digits", "--require-key").code == ExitCode.OK
    assert asked(server, "create_inference_job").deployment.require_key is True
