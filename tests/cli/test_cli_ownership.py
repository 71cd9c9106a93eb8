from __future__ import annotations

from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode, UserType

BOB = {"id": "u2", "email": "Bob@rafiki", "user_type": "APP_DEVELOPER", "banned_date": None}


def asked(server: ContractServer, name: str) -> Any:
    return next(c.request for c in server.calls if c.name == name)


@pytest.fixture(autouse=True)
def answers(server: ContractServer) -> None:
    server.answers |= {
        "get_users": [BOB], "set_user_type": {**BOB, "user_type": "ADMIN"}, "ban_user": BOB,
        "stop_train_job": {"id": "j1", "app": "digits", "app_version": 2},
        "stop_inference_job": {"id": "i1", "train_job_id": "j1", "app": "digits", "app_version": 2},
        "get_inference_jobs_of_app": [],
    }  # fmt: skip


def test_a_role_is_given_in_whatever_case(logged_in, server: ContractServer) -> None:
    result = logged_in("user", "role", "bob@rafiki", "admin")
    assert result.code == ExitCode.OK
    assert "ADMIN" in result.out
    assert (asked(server, "set_user_type").email, asked(server, "set_user_type").user_type) == (
        "bob@rafiki",
        UserType.ADMIN,
    )


def test_there_is_no_role_of_a_superadmin_to_give(logged_in, server: ContractServer) -> None:
    assert logged_in("user", "role", "bob@rafiki", "SUPERADMIN").code == ExitCode.USAGE
    assert "set_user_type" not in [c.name for c in server.calls]


def test_a_ban_names_the_heir(logged_in, server: ContractServer) -> None:
    assert logged_in("user", "ban", "bob@rafiki", "--hand-over-to", "ada@rafiki", "--yes").code == ExitCode.OK
    assert asked(server, "ban_user").hand_over_to == "ada@rafiki"


@pytest.mark.parametrize(("noun", "call"), [("train", "stop_train_job"), ("infer", "stop_inference_job")])
def test_an_admin_stops_a_job_of_the_user_who_is_named(logged_in, server: ContractServer, noun: str, call: str) -> None:
    assert logged_in(noun, "stop", "digits", "--user", "bob@rafiki").code == ExitCode.OK
    assert (asked(server, call).user_id, asked(server, call).app_version) == ("u2", -1)
    result = logged_in(noun, "stop", "digits", "--user", "eve@rafiki")
    assert result.code == ExitCode.NOT_FOUND
    assert "rafiki user list" in result.err
