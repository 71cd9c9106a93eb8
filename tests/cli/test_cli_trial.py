from __future__ import annotations

from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode

IDS = ["aaaa1111-0000-0000-0000-000000000001", "aaaa2222-0000-0000-0000-000000000002"]


@pytest.fixture
def server(server: ContractServer, job: dict[str, Any], trial: dict[str, Any]) -> ContractServer:
    trials = [{**trial, "id": id, "no": no} for no, id in enumerate(IDS, 1)]
    server.answers |= {
        "get_train_jobs_by_user": [job],
        "get_trials_of_train_job": trials,
        "get_trial": lambda request: {**trial, "id": request.trial_id},
        "get_trial_logs": {"messages": [], "metrics": [{"time": "2025-01-01T10:00:01Z", "step": 0.0}], "plots": []},
        "get_trial_parameters": b"parameters",
    }
    return server


@pytest.mark.parametrize(
    "words",
    [
        [IDS[1]],
        ["aaaa2"],
        ["AAAA2"],
        ["digits", "SkSvm#2"],
        ["digits", "aaaa2"],
        ["digits", "2"],
        ["digits", "#2"],
        ["digits", "sksvm#2"],
        ["SkSvm#2"],
        ["digits@1", "2"],
        ["digits/1", "2"],
    ],
)
def test_a_trial_is_named_by_its_id_the_beginning_of_it_or_its_app_and_number(logged_in, words: list[str]) -> None:
    assert IDS[1] in logged_in("trial", "show", *words).out
    assert logged_in("trial", "logs", *words).out.endswith("step=0\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["aaaa"], ExitCode.REFUSED, "begins the ids of 2 trials"),
        (["bbbb"], ExitCode.NOT_FOUND, "None of your trials"),
        (["digits"], ExitCode.REFUSED, "`rafiki trial VERB digits SkSvm#1`, `rafiki trial VERB digits SkSvm#2`"),
        (["digts"], ExitCode.REFUSED, "Did you mean 'digits'?"),
        (["wine"], ExitCode.REFUSED, "`rafiki trial VERB APP MODEL#1`"),
        (["digits", "7"], ExitCode.NOT_FOUND, "Its trials: `rafiki trial VERB digits SkSvm#1`"),
        (["digits", "SkSvn#2"], ExitCode.NOT_FOUND, "Did you mean 'SkSvm#2'?"),
        (["digits", "aaaa"], ExitCode.REFUSED, "means 2 trials"),
    ],
)
def test_a_trial_that_is_not_found_is_refused_with_a_way_on(
    logged_in, words: list[str], code: ExitCode, message: str
) -> None:
    for verb in ("show", "logs"):
        result = logged_in("trial", verb, *words)
        assert (result.code, result.out) == (code, "")
        assert message.replace("VERB", verb) in result.err


def test_a_number_that_several_models_have_is_refused_with_what_to_type(
    logged_in, server: ContractServer, trial: dict[str, Any]
) -> None:
    server.answers["get_trials_of_train_job"] = [
        {**trial, "id": id, "no": 3, "model_name": name} for id, name in zip(IDS, ("SkDt", "SkSvm"), strict=True)
    ]
    for verb in ("show", "logs", "plot"):
        result = logged_in("trial", verb, "digits", "3")
        assert result.code == ExitCode.REFUSED
        assert f"Name one: `rafiki trial {verb} digits SkDt#3`, `rafiki trial {verb} digits SkSvm#3`." in result.err
    assert IDS[0] in logged_in("trial", "show", "digits", "SkDt#3").out


def test_a_version_beside_the_app_is_asked_for(logged_in, server: ContractServer) -> None:
    assert logged_in("trial", "show", "digits@3", "1").code == 0
    assert server.calls[-1].request.app_version == 3


def test_a_trial_of_an_older_version_is_asked_for(logged_in, server: ContractServer) -> None:
    assert logged_in("trial", "show", "digits", "SkSvm#1", "--version", "3").code == 0
    assert server.calls[-1].request.app_version == 3


def test_the_parameters_of_a_trial_are_written(logged_in, folder) -> None:
    assert logged_in("trial", "show", "aaaa1", "--save-params", "p.bin").code == 0
    assert (folder / "p.bin").read_bytes() == b"parameters"
    result = logged_in("trial", "show", "aaaa1", "--save-params", ".")
    assert result.code == ExitCode.USAGE
    assert "Errno" not in result.err
