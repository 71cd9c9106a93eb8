from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.http.contract_server import ContractServer

from rafiki.budget import TrainBudget
from rafiki.client import Client, PredictorClient, predict
from rafiki.constants import BudgetOption, ModelAccessRight, UserType
from rafiki.contract.all import ENDPOINTS
from rafiki.errors import (
    DuplicateModelNameError,
    InvalidRequestError,
    NoPredictionError,
    RafikiError,
    UnauthorizedError,
    UnreachableError,
)
from rafiki.param_store.codec import encode_params

_METHODS = {"get_model_file": "download_model_file"}


def test_every_call_of_the_contract_has_a_method() -> None:
    for name in ENDPOINTS:
        assert callable(getattr(Client, _METHODS.get(name, name)))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("get_current_user", lambda c: c.get_current_user()),
        ("create_user", lambda c: c.create_user("x@rafiki", "secret", UserType.ADMIN)),
        ("ban_user", lambda c: c.ban_user("x@rafiki")),
        ("get_datasets", lambda c: c.get_datasets("POS_TAGGING")),
        ("get_dataset", lambda c: c.get_dataset("d1")),
        ("get_model", lambda c: c.get_model("m1")),
        ("delete_model", lambda c: c.delete_model("m1")),
        ("get_train_jobs_by_user", lambda c: c.get_train_jobs_by_user("u1")),
        ("get_train_job", lambda c: c.get_train_job("an app / with signs?", 2)),
        ("stop_train_job", lambda c: c.stop_train_job("app")),
        ("get_trials_of_train_job", lambda c: c.get_trials_of_train_job("app", limit=5)),
        ("get_trials_of_train_job", lambda c: c.get_best_trials_of_train_job("app", max_count=3)),
        ("get_trial_logs", lambda c: c.get_trial_logs("t1")),
        ("create_inference_job", lambda c: c.create_inference_job("app", budget={"GPU_COUNT": 1})),
        ("get_running_inference_job", lambda c: c.get_running_inference_job("app")),
        ("stop_inference_job", lambda c: c.stop_inference_job("app", 1)),
        ("stop_all_jobs", lambda c: c.stop_all_jobs()),
        ("get_services", lambda c: c.get_services()),
    ],
)
def test_a_call_arrives_as_the_contract_declares_it(
    client: Client, server: ContractServer, name: str, call: Callable[[Client], Any]
) -> None:
    server.answers[name] = {"answer": name}
    assert call(client) == {"answer": name}
    assert server.calls[0].name == name
    assert server.calls[0].token == "a token"


def test_signs_in_an_app_name_survive_the_path(client: Client, server: ContractServer) -> None:
    client.get_train_job("an app / with signs?", 2)
    assert (server.calls[0].request.app, server.calls[0].request.app_version) == ("an app / with signs?", 2)


def test_a_train_job_travels_with_plain_budget_keys(client: Client, server: ContractServer) -> None:
    server.answers["create_train_job"] = {"id": "j", "app": "digits", "app_version": 1}
    budget = {BudgetOption.MODEL_TRIAL_COUNT: 3}
    assert client.create_train_job("digits", "T", "d1", "d2", budget, models=["m"], train_args={"e": 1})["id"] == "j"
    sent = server.calls[0].request
    assert (sent.budget, sent.model_ids, sent.train_args) == (TrainBudget(model_trial_count=3), ["m"], {"e": 1})


def test_login_keeps_the_token_until_logout(server: ContractServer) -> None:
    server.answers["login"] = {"user_id": "u", "user_type": "ADMIN", "token": "t"}
    with Client("127.0.0.1", server.port) as client:
        assert client.login(email="a@rafiki", password="p")["user_id"] == "u"
        client.get_users()
        assert server.calls[1].token == "t"
        client.logout()
        with pytest.raises(UnauthorizedError, match="rafiki login"):
            client.get_users()
    assert len(server.calls) == 2


def test_a_dataset_is_uploaded_with_progress(client: Client, server: ContractServer, tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(b"x" * 200_000)
    told: list[tuple[int, int]] = []
    client.create_dataset("data", "T", file, progress=lambda sent, total: told.append((sent, total)))
    assert server.calls[0].files["dataset"] == file.read_bytes()
    assert server.calls[0].request.name == "data"
    assert told[-1] == (200_000, 200_000)
    assert len(told) > 2


def test_an_upload_takes_no_memory_of_the_size_of_the_file(server: ContractServer, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as f:
        f.truncate(120_000_000)
    code = (
        "import resource, sys\n"
        "from rafiki.client import Client\n"
        "c = Client('127.0.0.1', int(sys.argv[1])); c.token = 't'\n"
        "c.get_health(); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "c.create_dataset('big', 'T', sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", code, str(server.port), str(tmp_path / "big")]
    grown_kb = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown_kb < 50_000


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"dataset_path": "x", "dataset_url": "http://x/y.zip"}, "either dataset_path or dataset_url"),
        ({}, "either dataset_path or dataset_url"),
        ({"dataset_path": "/nowhere/data.zip"}, "/nowhere/data.zip: this file cannot be read"),
    ],
)
def test_a_dataset_that_cannot_be_sent_is_refused_with_a_reason(
    client: Client, arguments: dict[str, str], match: str
) -> None:
    with pytest.raises(InvalidRequestError, match=match):
        client.create_dataset("d", "T", **arguments)


def test_a_dataset_url_travels_instead_of_a_file(client: Client, server: ContractServer) -> None:
    client.create_dataset("d", "T", dataset_url="http://x/y.zip")
    sent = server.calls[0].request
    assert (sent.name, sent.dataset_url, sent.dataset) == ("d", "http://x/y.zip", None)


def test_a_model_travels_as_form_data_and_its_file_comes_back(
    client: Client, server: ContractServer, tmp_path: Path
) -> None:
    file = tmp_path / "m.py"
    file.write_text("class M: ...\n")
    client.create_model("M", "T", file, "M", {"torch": "2.4"}, ModelAccessRight.PUBLIC)
    sent = server.calls[0].request
    assert (sent.dependencies, sent.access_right, sent.docker_image) == ({"torch": "2.4"}, "PUBLIC", None)
    server.answers |= {"get_model_file": file.read_bytes(), "get_model": {"id": "m1"}}
    assert client.download_model_file("m1", tmp_path / "copy.py") == {"id": "m1"}
    assert (tmp_path / "copy.py").read_bytes() == file.read_bytes()


def test_the_model_of_a_trial_is_loaded_with_its_knobs_and_parameters(client: Client, server: ContractServer) -> None:
    class Model:
        def __init__(self, **knobs: Any) -> None:
            self.knobs = knobs

        def load_parameters(self, params: dict[str, Any]) -> None:
            self.params = params

    server.answers["get_trial"] = {"proposal": {"knobs": {"depth": 3}}}
    server.answers["get_trial_parameters"] = encode_params({"w": np.arange(3)})
    model: Any = client.load_trial_model("t1", Model)  # type: ignore[type-var]
    assert model.knobs == {"depth": 3}
    assert model.params["w"].tolist() == [0, 1, 2]


def test_an_unknown_option_of_a_budget_is_warned_of(client: Client, server: ContractServer) -> None:
    server.answers["create_train_job"] = {"id": "j1", "app": "a", "app_version": 1}
    with pytest.warns(UserWarning, match="'ENABLE_GPU' is unknown") as caught:
        client.create_train_job("a", "T", "d1", "d2", {"ENABLE_GPU": 1, "GPU_COUNT": "0"})
    assert caught[0].filename == __file__
    server.answers["create_inference_job"] = {"id": "i1"}
    with pytest.warns(UserWarning, match="'GPUS' is unknown"):
        client.create_inference_job("a", budget={"GPUS": 1})


def test_a_refusal_is_raised_as_the_error_that_the_admin_raised(client: Client, server: ContractServer) -> None:
    server.answers["delete_model"] = DuplicateModelNameError("taken")
    with pytest.raises(DuplicateModelNameError, match="taken"):
        client.delete_model("m1")


def test_a_stack_that_is_down_is_named_with_what_to_do() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with pytest.raises(UnreachableError, match=rf"127\.0\.0\.1:{port}.*rafiki up"):
        Client("127.0.0.1", port).get_health()


@pytest.fixture
def reply_port() -> Iterator[tuple[int, list[bytes]]]:
    """A port on which each connection gets the bytes that the test appends, and is closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    replies: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(replies[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], replies
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "not a Rafiki admin"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}", "not a Rafiki admin"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", "failed"),
        (b"garbage\r\n\r\n", "broke"),
        (b"", "broke"),
    ],
)
def test_a_server_that_is_no_admin_is_a_clear_error(
    reply_port: tuple[int, list[bytes]], reply: bytes, match: str
) -> None:
    port, replies = reply_port
    replies.append(reply)
    with pytest.raises(RafikiError, match=match):
        Client("127.0.0.1", port).get_health()


def test_importing_the_client_loads_no_http_library() -> None:
    code = "import sys, rafiki.client; print('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# ---- predictors ---------------------------------------------------------------------------------------------------


def _answering(port_and_replies: tuple[int, list[bytes]], status: str, body: bytes) -> str:
    port, replies = port_and_replies
    replies.append(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body))
    return f"127.0.0.1:{port}"


def test_a_prediction_comes_back_as_the_predictor_gave_it(reply_port: tuple[int, list[bytes]]) -> None:
    host = _answering(reply_port, "200 OK", b'{"prediction": null, "predictions": [1, 2]}')
    assert predict(host, queries=[np.zeros(2), [3]]) == {"prediction": None, "predictions": [1, 2]}
    with PredictorClient(host) as predictor:
        assert predictor.predict_many([{}, {}]) == [1, 2]


def test_a_refused_query_raises_the_predictors_error(reply_port: tuple[int, list[bytes]]) -> None:
    body = b'{"error": "NoPredictionError", "message": "late"}'
    host = _answering(reply_port, "503 Unavailable", body)
    with pytest.raises(NoPredictionError, match="late"):
        predict(host, query=1)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_timeout_that_is_no_time_is_refused(timeout_s: float) -> None:
    with pytest.raises(InvalidRequestError, match="above 0"):
        predict("localhost:1", query=1, timeout_s=timeout_s)


@pytest.mark.parametrize(("body", "is_predictor"), [(b'{"members": ["t1"], "absent": []}', True), (b"[]", False)])
def test_a_predictor_tells_its_members(reply_port: tuple[int, list[bytes]], body: bytes, is_predictor: bool) -> None:
    with PredictorClient(_answering(reply_port, "200 OK", body)) as predictor:
        if is_predictor:
            assert predictor.get_health()["members"] == ["t1"]
        else:
            with pytest.raises(UnreachableError, match="not a Rafiki predictor"):
                predictor.get_health()


@pytest.mark.parametrize("host", ["localhost", "localhost:", "localhost:http", ":80", "localhost:99999"])
def test_an_address_without_a_port_is_refused(host: str) -> None:
    with pytest.raises(InvalidRequestError, match="host:port"):
        predict(host, query=1)


def test_a_query_without_a_json_form_is_refused_by_its_type() -> None:
    with pytest.raises(InvalidRequestError, match="object"):
        predict("localhost:1", query=object())
