"""Every wrong input that the published interface implies: refused by its named error, and the next good call works.

One running stack serves a trained model of each task to people of every role. The table is in ``tests/wrong_inputs``,
one file a noun.
"""

from __future__ import annotations

import collections
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest
from support.http.raw_http import check_refusal
from wrong_inputs import datasets, jobs, models, protocol, queries, users
from wrong_inputs.table import ADMIN, RawRequest, Row, filled
from wrong_inputs.world import TASKS, World

pytestmark = pytest.mark.acceptance

ROWS: list[Row] = [r for noun in (users, models, datasets, jobs, queries, protocol) for r in noun.ROWS]
CLIENTS_MATCH_ON = {
    "InvalidUserError", "UserExistsError", "UserAlreadyBannedError", "InvalidPasswordError", "UnauthorizedError",
    "InvalidModelError", "DuplicateModelNameError", "ModelUsedError", "InvalidDatasetError", "NoModelsForTrainJobError",
    "InvalidTrainJobError", "InvalidTrialError", "RunningInferenceJobExistsError", "InvalidRunningInferenceJobError",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("wrong-inputs"))
    yield made
    made.close()


def test_the_table_has_every_error_that_clients_match_on() -> None:
    ids = collections.Counter(r.id for r in ROWS)
    assert [i for i, n in ids.items() if n > 1] == []
    assert len(ids) >= 100
    assert CLIENTS_MATCH_ON - {r.error for r in ROWS} == set()
    assert {r.noun for r in ROWS} == set(GOOD_CALLS)


def send_raw(port: int, data: bytes) -> httpx.Response:
    """The answer to bytes that no HTTP library would send; the server has to close the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode("latin-1").split("\r\n")
    return httpx.Response(int(status.split()[1]), headers=[tuple(h.split(": ", 1)) for h in headers], content=body)


def send(world: World, row: Row) -> httpx.Response:
    caller, request = world.callers[row.who], row.request
    if isinstance(request, RawRequest):
        port = caller.port if request.at == ADMIN else world.predictors[request.at].base_url.port
        assert port is not None
        data = filled(request.data, world.names).replace(b"%TOKEN", (caller.token or "").encode())
        return send_raw(port, data)
    http = caller.http if request.at == ADMIN else world.predictors[request.at]
    return http.request(request.method, filled(request.path, world.names), **filled(request.parts, world.names))


def works(who: str, path: str) -> Callable[[World, Row], None]:
    return lambda world, row: world.callers[who].ok("GET", filled(path, world.names)) and None


GOOD_CALLS: dict[str, Callable[[World, Row], None]] = {
    "users": works("superadmin", "/users"),
    "tokens": works("developer", "/users/me"),
    "datasets": works("developer", "/datasets"),
    "models": works("developer", "/models/<CUSTOM model>"),
    "train jobs": works("developer", "/train_jobs/<unserved app>/-1"),
    "trials": works("developer", "/trials/<trial>/parameters"),
    "inference jobs": works("developer", "/inference_jobs/<CUSTOM app>/-1"),
    "protocol": works("developer", "/train_jobs"),
    "queries": lambda world, row: world.ask(row.request.at),
}


@pytest.mark.parametrize("row", ROWS, ids=[r.id.encode("ascii", "backslashreplace").decode()[:60] for r in ROWS])
def test_a_wrong_input_is_refused_by_its_named_error_and_the_next_good_call_works(world: World, row: Row) -> None:
    before = world.state()
    message = check_refusal(send(world, row), row.error, row.status)
    says = [filled(fragment, world.names) for fragment in row.says]
    assert [s for s in says if s not in message] == [], message
    assert len(message) <= 1000
    assert world.state() == before, "something has changed"
    GOOD_CALLS[row.noun](world, row)


def test_after_all_of_them_the_stack_still_makes_trains_and_serves(world: World) -> None:
    developer = world.callers["superadmin"].make_user("MODEL_DEVELOPER")
    app = developer.run_job(model_id=developer.upload_model(), dataset_id=developer.upload_dataset())
    host = developer.ok("POST", "/inference_jobs", json={"app": app})["predictor_host"]
    answer = httpx.post(f"http://{host}/predict", json={"query": 1}, timeout=30)
    assert answer.json()["prediction"]["query"] == 1, answer.text
    developer.ok("POST", f"/inference_jobs/{app}/-1/stop")
    for task in TASKS:
        world.ask(task)
    for log in world.stack.log.parent.glob("*.log"):
        assert "unexpected:" not in log.read_text(errors="replace"), log.read_text(errors="replace")[-5000:]
