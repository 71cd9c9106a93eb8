"""The door of services, as an attacker finds it: one token, and everything that it must not reach."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from support.http.threaded_server import ThreadedServer
from support.stores.meta_store_records import Given

from rafiki.admin.service_door import AdminServiceDoor
from rafiki.admin.service_tokens import ServiceTokens
from rafiki.admin.spec_shelf import SpecShelf
from rafiki.constants import ServiceStatus, ServiceType
from rafiki.contract.service_calls import SERVICE_CALLS
from rafiki.data_store.folder import FolderDataStore
from rafiki.entities import Service, SubTrainJob
from rafiki.meta_store import open_meta_store
from rafiki.param_store.base import new_params_id
from rafiki.param_store.codec import encode_params
from rafiki.param_store.folder import FolderParamStore
from rafiki.utils.ids import new_id

KEY = "k" * 40


class Job:
    """A search with a dataset, a worker and a completed trial."""

    def __init__(self, house: House, name: str) -> None:
        given, store = house.given, house.store
        user = given.user()
        self.store_id = house.datasets.save([name.encode() * 100]).store_id
        dataset = given.dataset(user, store_id=self.store_id)
        job = given.train_job(user, train_dataset_id=dataset.id, val_dataset_id=dataset.id)
        self.sub: SubTrainJob = store.train_jobs.list_sub_train_jobs(job.id)[0]
        self.params_id = house.params.save({"of": name})
        self.trial = given.completed_trial(self.sub, 1, 0.5, self.params_id)
        self.worker = given.service(job_id=job.id, unit_id=self.sub.id)
        self.advisor = given.service(job_id=job.id, unit_id=self.sub.id, service_type=ServiceType.ADVISOR)
        self.serving = given.service(
            job_id="inference", unit_id=self.trial.id, service_type=ServiceType.INFERENCE
        )  # fmt: skip
        house.door.admit(self.worker.id, f"spec of {name}".encode())


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_meta_store(f"sqlite:///{folder}/meta.db")
        self.store.migrate()
        self.given = Given(self.store)
        self.datasets, self.params = FolderDataStore(folder / "datasets"), FolderParamStore(folder / "params")
        self.open()
        self.mine, self.theirs = Job(self, "mine"), Job(self, "theirs")

    def open(self) -> None:
        """Serve; an admin that has just been started remembers nothing."""
        self.tokens = ServiceTokens(KEY, self.store.services)
        self.door = AdminServiceDoor(
            url="http://127.0.0.1", tokens=self.tokens, shelf=SpecShelf(self.folder / "run"), store=self.store,
            datasets=self.datasets, params=self.params,
        )  # fmt: skip
        self.server = ThreadedServer(Starlette(routes=self.door.routes()))

    def ask(
        self, service: Service | str, method: str, path: str, content: bytes | None = None, **headers: str
    ) -> httpx.Response:
        token = service if isinstance(service, str) else self.tokens.issue(service.id)
        with httpx.Client(base_url=self.server.url, timeout=30) as client:
            return client.request(method, path, content=content, headers={"Authorization": f"Bearer {token}"} | headers)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.server.close()
    made.store.close()


def new_params(value: object = 1) -> tuple[str, bytes]:
    data = encode_params({"x": value})
    return new_params_id(data), data


def test_a_worker_reaches_its_own_job_and_no_other(house: House) -> None:
    mine, theirs = house.mine, house.theirs
    assert house.ask(mine.worker, "GET", "/services/self/spec").content == b"spec of mine"
    assert house.ask(mine.worker, "GET", f"/stores/datasets/{mine.store_id}").content == b"mine" * 100
    assert house.ask(mine.worker, "GET", f"/stores/params/{mine.params_id}").status_code == 200
    for method, path, body in (
        ("GET", f"/stores/datasets/{theirs.store_id}", None),
        ("HEAD", f"/stores/datasets/{theirs.store_id}", None),
        ("GET", f"/stores/params/{theirs.params_id}", None),
        ("GET", f"/stores/params/{theirs.params_id}?direct=true", None),
        ("GET", f"/stores/validation/{theirs.params_id}?max_bytes=1000", None),
        ("PUT", f"/stores/validation/{theirs.params_id}", b"x"),
        ("DELETE", f"/stores/validation/{theirs.params_id}", None),
        ("DELETE", f"/stores/params/{theirs.params_id}", None),
        ("DELETE", f"/stores/params/{mine.params_id}", None),
        ("POST", f"/stores/params/{theirs.params_id}/stored", b'{"size_bytes": 1}'),
    ):
        answer = house.ask(mine.worker, method, path, body)
        assert answer.status_code == 403, (method, path, answer.text)
    assert house.params.load(theirs.params_id) == {"of": "theirs"}


@pytest.mark.parametrize("is_restarted", [False, True])
def test_the_id_of_anothers_parameters_opens_nothing(house: House, is_restarted: bool) -> None:
    theirs = f"/stores/params/{house.theirs.params_id}"
    if is_restarted:
        house.server.close()
        house.open()
    worker = house.mine.worker
    assert house.ask(worker, "PUT", theirs, b"what it is, nobody knows").status_code == 409
    assert house.ask(worker, "PUT", theirs, b"").status_code == 409
    offered = house.ask(worker, "POST", f"{theirs}/upload", b'{"size_bytes": 1}')
    assert offered.json() == {"signed": None, "is_offered": False}
    assert house.ask(worker, "POST", f"{theirs}/stored", b'{"size_bytes": 1}').status_code == 403
    assert house.ask(worker, "GET", theirs).status_code == 403
    assert house.params.load(house.theirs.params_id) == {"of": "theirs"}


def test_a_result_survives_the_advisor_that_removes_checkpoints(house: House) -> None:
    """An advisor removes what its own search has stored and no trial refers to, and nothing else."""
    params_id, data = new_params()
    assert house.ask(house.mine.worker, "PUT", f"/stores/params/{params_id}", data).status_code == 200
    for other in (house.mine.params_id, house.theirs.params_id):
        assert house.ask(house.mine.advisor, "DELETE", f"/stores/params/{other}").status_code == 403
    assert house.ask(house.theirs.advisor, "DELETE", f"/stores/params/{params_id}").status_code == 403
    assert house.ask(house.mine.advisor, "DELETE", f"/stores/params/{params_id}").status_code == 200


def test_a_serving_worker_reads_its_trial_and_writes_nothing(house: House) -> None:
    serving, params_id = house.mine.serving, house.mine.params_id
    assert house.ask(serving, "GET", f"/stores/params/{params_id}").status_code == 200
    new_id_, data = new_params()
    for method, path, body in (
        ("PUT", f"/stores/params/{new_id_}", data),
        ("POST", f"/stores/params/{new_id_}/upload", b'{"size_bytes": 1}'),
        ("PUT", f"/stores/validation/{params_id}", b"x"),
        ("GET", f"/stores/datasets/{house.mine.store_id}", None),
        ("GET", f"/stores/params/{house.theirs.params_id}", None),
        ("DELETE", f"/stores/params/{params_id}", None),
    ):
        assert house.ask(serving, method, path, body).status_code == 403, (method, path)


def test_no_token_but_that_of_a_live_service_of_this_stack_comes_in(house: House) -> None:
    worker = house.mine.worker
    right = house.tokens.issue(worker.id)
    dead_stack = ServiceTokens("another" * 8, house.store.services).issue(worker.id)
    unknown = house.tokens.issue(new_id())
    wrong = [
        "x", "rfs_", dead_stack, unknown, right[:-1], right + "0", right.upper(), right.removeprefix("rfs_"),
        right.replace(worker.id, house.theirs.worker.id), f"{right},{right}", "rft_" + "0" * 64, "a" * 5000,
    ]  # fmt: skip
    for token in wrong:
        for path in ("/services/self/spec", f"/stores/params/{house.mine.params_id}"):
            assert house.ask(token, "GET", path).status_code == 401, token[:80]
    for status in (ServiceStatus.RUNNING, ServiceStatus.STOPPED):
        house.store.services.set_service_status(worker.id, status)
    for method, path, body in (
        ("GET", "/services/self/spec", None),
        ("GET", f"/stores/datasets/{house.mine.store_id}", None),
        ("PUT", f"/stores/params/{new_params()[0]}", new_params()[1]),
    ):
        answer = house.ask(worker, method, path, body)
        assert answer.status_code == 401 and "has ended" in answer.json()["message"]


@pytest.mark.parametrize(
    "name",
    [
        "..%2F..%2Fmeta.db", "%2e%2e/meta.db", "..%5Cmeta.db", "%00", ".writing-0", "a" * 3000, "%FF%FE",
        f"{'0' * 36}.{'0' * 64}%2F..%2F..%2Fmeta.db", f"{'0' * 36}.{'0' * 64}%0A",
    ],
)  # fmt: skip
def test_no_name_leads_out_of_the_stores(house: House, name: str) -> None:
    worker, before = house.mine.worker, sorted(p.name for p in house.folder.rglob("*"))
    for method, path, body in (
        ("GET", f"/stores/datasets/{name}", None),
        ("GET", f"/stores/params/{name}", None),
        ("PUT", f"/stores/params/{name}", b"x"),
        ("POST", f"/stores/params/{name}/upload", b'{"size_bytes": 1}'),
        ("POST", f"/stores/params/{name}/stored", b'{"size_bytes": 1}'),
        ("PUT", f"/stores/validation/{name}", b"x"),
        ("DELETE", f"/stores/params/{name}", None),
    ):
        for service in (worker, house.mine.advisor):
            answer = house.ask(service, method, path, body)
            is_offer = answer.status_code == 200 and path.endswith("/upload")
            assert 400 <= answer.status_code < 500 or is_offer, (method, path, answer.text)
    assert sorted(p.name for p in house.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("header", "status", "length"),
    [
        ("bytes=0-", 200, 400), ("bytes=10-", 206, 390), ("bytes=0-9", 206, 10), ("bytes=5-999999", 206, 395),
        ("bytes=400-", 206, 0), ("bytes=401-", 400, None), ("bytes=-5", 400, None), ("bytes=a-", 400, None),
        ("bytes=0-1,5-6", 400, None), ("bytes=9-3", 206, 0), ("bytes=99999999999999999999999-", 400, None),
        ("lines=0-", 400, None),
    ],
)  # fmt: skip
def test_parts_of_a_dataset(house: House, header: str, status: int, length: int | None) -> None:
    answer = house.ask(house.mine.worker, "GET", f"/stores/datasets/{house.mine.store_id}", Range=header)
    assert answer.status_code == status
    assert length is None or len(answer.content) == length


def test_half_an_upload_leaves_nothing_and_may_be_sent_again(house: House) -> None:
    params_id, data = new_params(bytes(100_000))
    token = house.tokens.issue(house.mine.worker.id)
    head = f"PUT /stores/params/{params_id} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n"
    for body in (data[:1000], b""):
        with socket.create_connection(("127.0.0.1", house.server.port), timeout=30) as connection:
            connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + body)
    assert house.ask(house.mine.worker, "GET", f"/stores/params/{params_id}").status_code == 403
    assert params_id not in {file.id for file in house.params.list_stored()}
    assert house.ask(house.mine.worker, "PUT", f"/stores/params/{params_id}", data).status_code == 200
    assert house.params.read_bytes(params_id) == data


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"size_bytes": -1}', b'{"size_bytes": "x"}', b'{"size_bytes": 1e400}', b"\xff",
             b'{"size_bytes": 1, "id": "x"}', b'{"size_bytes": 1, "more": 1}', b'{"size_bytes": 99999999999999999999}']
)  # fmt: skip
def test_an_upload_that_is_announced_in_a_wrong_way_is_refused(house: House, body: bytes) -> None:
    answer = house.ask(house.mine.worker, "POST", f"/stores/params/{new_params()[0]}/upload", body)
    assert answer.status_code == 400 and answer.json()["error"] == "InvalidRequestError"


def test_what_is_too_large_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rafiki.stores.remote.server._MOST_VALIDATION_BYTES", 1000)
    path = f"/stores/validation/{house.mine.params_id}"
    assert house.ask(house.mine.worker, "PUT", path, bytes(1001)).status_code == 413
    body = b'{"size_bytes": %d}' % (1 << 50)
    upload = f"/stores/params/{new_params()[0]}/upload"
    assert house.ask(house.mine.worker, "POST", upload, body).status_code == 413


def test_every_declared_call_is_served(house: House) -> None:
    for call in SERVICE_CALLS.values():
        answer = house.ask("wrong", call.method, call.path.format(id=house.mine.params_id))
        assert answer.status_code == 401, call.name
