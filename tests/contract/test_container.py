"""What every container manager promises, over real services."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from support.services.container_rooms import DEAF, FOREVER, SPAWN, ContainerRoom, run, wait_for_end

from rafiki.config import worker_environment
from rafiki.container import ContainerManager
from rafiki.container.base import Address, ServiceExit, ServiceRequest
from rafiki.entities import Gpu
from rafiki.utils.sockets import listen

# The first test over two Docker hosts brings them up and builds their image.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def manager(room: ContainerRoom) -> ContainerManager:
    return room.manager()


# ---- start


@pytest.mark.parametrize("model", [True, False])
def test_model_code_gets_the_allowed_environment_alone(
    room: ContainerRoom, monkeypatch: pytest.MonkeyPatch, model: bool
) -> None:
    secrets = {"AWS_SECRET": "a", "RAFIKI_META_STORE__URL": "postgresql://", "RAFIKI_CONFIG": "/x", "DATABASE_URL": "d"}
    for name, value in {**secrets, "PASSED_ON": "{{.Node.ID}} {{ %"}.items():
        monkeypatch.setenv(name, value)
    request = room.request("import json, os; print(json.dumps(dict(os.environ)))", model=model)
    environment = msgspec.json.decode(run(room, room.manager(), request))
    assert environment["PASSED_ON"] == "{{.Node.ID}} {{ %"
    if model:
        assert not secrets.keys() & environment.keys()
        # What names the process is no secret.
        ours = {name for name in environment if name.startswith("RAFIKI_")}
        names = {"RAFIKI_STACK", "RAFIKI_STACK_ID", "RAFIKI_SERVICE_ID", "RAFIKI_RUNS_MODEL_CODE"}
        assert ours <= names | {"RAFIKI_SERVICE_TOKEN_FILE", "RAFIKI_COPIES_FOLDER"}
    else:
        assert secrets.items() <= environment.items()


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("model", [True, False])
def test_a_service_sees_its_own_gpus_alone(
    room: ContainerRoom, manager: ContainerManager, monkeypatch: pytest.MonkeyPatch, count: int, model: bool
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    gpus = room.gpus()[:count]
    # What runs no model code is beside the admin, whatever the back end.
    variable, none = (room.gpus_variable, room.no_gpus) if model else ("CUDA_VISIBLE_DEVICES", "-1")
    request = room.request(f"import os; print(os.environ[{variable!r}])", gpus=gpus, model=model)
    assert run(room, manager, request).strip() == (",".join(g.name for g in gpus) or none)


def test_the_gpus_that_are_told_are_the_callers_own_list(room: ContainerRoom) -> None:
    manager = room.manager(gpus=[4, 6])
    found = manager.gpus()
    manager.gpus().append(Gpu("elsewhere", "99"))
    assert manager.gpus() == found
    assert len(set(found)) == len(found) == 2


def test_a_service_runs_on_the_host_that_it_is_given(room: ContainerRoom, manager: ContainerManager) -> None:
    hosts = manager.hosts()
    assert len({host.name for host in hosts}) == len(hosts) > 0
    assert all(host.why_closed is None and host.cores and host.memory_bytes for host in hosts)
    requests = [msgspec.structs.replace(room.request(FOREVER), host=host.name) for host in hosts]
    started = [manager.start(request) for request in requests]
    for request in requests:
        room.wait_for_log(request)
    exits = manager.poll_all({r.service_id: s.handle for r, s in zip(requests, started, strict=True)})
    assert set(exits.values()) == {None}
    found = manager.find_hosts(r.service_id for r in requests)
    # Where there is one, it goes without saying.
    assert [found.get(r.service_id, hosts[0].name) for r in requests] == [host.name for host in hosts]
    for request, s in zip(requests, started, strict=True):
        manager.stop(request.service_id, s.handle, 1.0)


def test_a_number_of_threads_that_the_owner_set_goes_for_all_libraries(room: ContainerRoom) -> None:
    manager = room.manager(model_environment={**worker_environment([]), "MKL_NUM_THREADS": "3"})
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    request = room.request(f"import os; print(*(os.environ[n] for n in {names}))")
    assert run(room, manager, request).strip() == "3 3 3"


def test_both_outputs_of_a_service_are_in_its_log_at_once(room: ContainerRoom, manager: ContainerManager) -> None:
    request = room.request(
        "import os, sys\nprint('out')\nsys.stderr.write('err\\n')\nos.system('echo child')\n" + FOREVER
    )
    started = manager.start(request)
    room.wait_for_log(request)
    assert {"out", "err", "child"} <= set(room.log(request).split())
    manager.stop(request.service_id, started.handle, 1.0)


# ---- addresses

SERVER = """
import json, pathlib, socket, sys
host, port = json.loads({spec!r})
sock = socket.create_server((host, port))
print("ready", flush=True)
while True:
    sock.accept()[0].sendall(b"served")
"""


def server(room: ContainerRoom, last_port: int | None = None) -> ServiceRequest:
    """A service that listens where its spec tells it to."""

    def make_spec(address: Address | None) -> bytes:
        assert address is not None
        spec = msgspec.json.encode([address.host, address.port]).decode()
        return SERVER.format(spec=spec).encode()

    return msgspec.structs.replace(
        room.request("", model=False), make_spec=make_spec, listens=True, last_port=last_port
    )


def asked(address: Address | None) -> bytes:
    import socket

    assert address is not None
    with socket.create_connection((address.host, address.port), timeout=30) as sock:
        return sock.recv(6)


def test_a_service_is_reached_at_the_address_that_its_start_returns(
    room: ContainerRoom, manager: ContainerManager
) -> None:
    requests = [server(room), server(room)]
    started = [manager.start(r) for r in requests]
    for request, s in zip(requests, started, strict=True):
        room.wait_for_log(request)
        assert asked(s.address) == b"served"
    assert started[0].address != started[1].address


def test_a_successor_has_the_address_of_its_predecessor(room: ContainerRoom, manager: ContainerManager) -> None:
    first = server(room)
    started = manager.start(first)
    assert started.address is not None
    room.wait_for_log(first)
    manager.stop(first.service_id, started.handle, 5.0)
    second = server(room, started.address.port)
    assert manager.start(second).address == started.address
    room.wait_for_log(second)
    assert asked(started.address) == b"served"


def test_a_port_that_somebody_else_has_taken_is_not_given_again(room: ContainerRoom, manager: ContainerManager) -> None:
    with listen("127.0.0.1", 0) as taken:
        request = server(room, taken.getsockname()[1])
        started = manager.start(request)
        room.wait_for_log(request)
        assert asked(started.address) == b"served"


def test_a_service_that_does_not_listen_has_no_address(room: ContainerRoom, manager: ContainerManager) -> None:
    assert manager.start(room.request("pass")).address is None


# ---- watch


@pytest.mark.parametrize(
    ("code", "exit_code", "reason"),
    [
        ("print('bye')", 0, "it ended with exit code 0"),
        ("print('one\\n\\ntwo'); exit(7)", 7, "it ended with exit code 7; last in its log: one / two"),
        ("raise ValueError('no such knob')", 1, "ValueError: no such knob"),
        ("import os; print('so far', flush=True); os.kill(os.getpid(), 9)", -9, "by SIGKILL; last in its log: so far"),
        ("import os; os.abort()", -6, "it was killed by SIGABRT"),
    ],
)  # fmt: skip
def test_the_end_of_a_service_is_told_with_its_code_and_its_last_words(
    room: ContainerRoom, manager: ContainerManager, code: str, exit_code: int, reason: str
) -> None:
    request = room.request(code)
    started = manager.start(request)
    end = wait_for_end(manager, request, started)
    assert end.code == exit_code
    assert reason in end.reason
    assert manager.poll(request.service_id, started.handle) == end
    assert manager.poll_all({request.service_id: started.handle}) == {request.service_id: end}
    assert manager.find(request.service_id) is None


def test_a_running_service_is_polled_as_such_and_its_use_is_known(
    room: ContainerRoom, manager: ContainerManager
) -> None:
    request = room.request(FOREVER)
    handle = manager.start(request).handle
    assert manager.poll(request.service_id, handle) is None
    room.wait_for_log(request)
    used = manager.usage(request.service_id, handle).memory_bytes
    assert (used or 0) > 1_000_000 if room.knows_memory or used is not None else True
    manager.stop(request.service_id, handle, 5.0)
    assert manager.usage(request.service_id, handle).memory_bytes is None


@pytest.mark.parametrize("handle", ["", "{}", "of another back end", '{"service": "x1y2"}'])
def test_an_unknown_service_has_ended_and_stopping_it_harms_nobody(manager: ContainerManager, handle: str) -> None:
    end = manager.poll("unknown", handle)
    assert end is not None
    assert end.code is None
    manager.stop("unknown", handle, 0.1)
    assert manager.find("unknown") is None
    assert manager.usage("unknown", handle).memory_bytes is None


# ---- adoption


def test_a_new_manager_polls_and_stops_what_another_one_started(room: ContainerRoom, manager: ContainerManager) -> None:
    request = room.request(FOREVER)
    handle = manager.start(request).handle
    manager.close()
    adopting = room.manager()
    assert adopting.poll(request.service_id, handle) is None
    adopting.stop(request.service_id, handle, 5.0)
    assert adopting.poll(request.service_id, handle) is not None
    assert room.count_processes(request) == 0


def test_a_service_is_found_without_its_handle(room: ContainerRoom, manager: ContainerManager) -> None:
    request, other = server(room), room.request(FOREVER)
    started = manager.start(request)
    manager.start(other)
    room.wait_for_log(request)
    adopting = room.manager()
    found = adopting.find(request.service_id)
    assert found is not None
    assert found.address == started.address
    assert adopting.poll(request.service_id, found.handle) is None
    adopting.stop(request.service_id, found.handle, 5.0)
    assert adopting.find(request.service_id) is None
    assert adopting.find(other.service_id) is not None


def test_two_stacks_do_not_see_each_other(
    make_room: Callable[[], ContainerRoom], room: ContainerRoom, manager: ContainerManager
) -> None:
    request = room.request(FOREVER)
    started = manager.start(request)
    assert make_room().manager().find(request.service_id) is None
    assert manager.poll(request.service_id, started.handle) is None


def test_what_a_dead_service_left_behind_is_not_taken_for_it(room: ContainerRoom, manager: ContainerManager) -> None:
    request = room.request(SPAWN)
    started = manager.start(request)
    wait_for_end(manager, request, started)
    assert manager.find(request.service_id) is None
    manager.stop(request.service_id, started.handle, 0.0)
    assert room.count_processes(request) == 0


# ---- stop


def test_a_service_is_asked_to_end_before_it_is_killed(room: ContainerRoom, manager: ContainerManager) -> None:
    code = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (print('cleaned up'), sys.exit(0)))\n"
    request = room.request(code + FOREVER)
    started = manager.start(request)
    room.wait_for_log(request)
    manager.stop(request.service_id, started.handle, 20.0)
    assert "cleaned up" in room.log(request)
    end = manager.poll(request.service_id, started.handle)
    assert end is not None
    assert end.code == 0


@pytest.mark.parametrize("is_adopted", [False, True])
@pytest.mark.parametrize("code", [DEAF, SPAWN + FOREVER, SPAWN + DEAF], ids=["deaf", "children", "deaf with children"])
def test_stopping_leaves_nothing_of_a_service_whatever_it_does(
    room: ContainerRoom, manager: ContainerManager, code: str, is_adopted: bool
) -> None:
    request = room.request(code)
    handle = manager.start(request).handle
    room.wait_for_log(request)
    assert room.count_processes(request) == (3 if code.startswith(SPAWN) else 1)
    (room.manager() if is_adopted else manager).stop(request.service_id, handle, 0.2)
    assert room.count_processes(request) == 0
    manager.stop(request.service_id, handle, 0.2)


def test_stopping_one_service_leaves_the_others_alone(room: ContainerRoom, manager: ContainerManager) -> None:
    one, other = room.request(SPAWN + FOREVER), room.request(SPAWN + FOREVER)
    started = [manager.start(r) for r in (one, other)]
    for r in (one, other):
        room.wait_for_log(r)
    manager.stop(one.service_id, started[0].handle, 5.0)
    ends = manager.poll_all({r.service_id: s.handle for r, s in zip((one, other), started, strict=True)})
    assert ends[one.service_id] is not None
    assert ends[other.service_id] is None
    assert room.count_processes(other) == 3


def test_services_can_be_started_and_stopped_from_many_threads(room: ContainerRoom, manager: ContainerManager) -> None:
    def start_and_stop(_: int) -> ServiceExit | None:
        request = room.request(FOREVER)
        handle = manager.start(request).handle
        room.wait_for_log(request)
        manager.stop(request.service_id, handle, 5.0)
        assert room.count_processes(request) == 0
        return manager.poll(request.service_id, handle)

    with ThreadPoolExecutor(4) as pool:
        assert None not in list(pool.map(start_and_stop, range(8)))


# ---- limits

HUNGRY = "print('hungry', flush=True)\nheld = bytearray(300 << 20)\n" + FOREVER


def test_a_worker_over_its_memory_limit_is_killed_and_the_reason_says_so(room: ContainerRoom) -> None:
    manager = room.manager(memory_limit_mb=100)
    request = room.request(HUNGRY)
    end = wait_for_end(manager, request, manager.start(request))
    assert end.code is not None
    assert "more than its limit of 100 MB" in end.reason
    assert "container.memory_limit_mb" in end.reason


def test_the_memory_limit_is_for_model_code_alone(room: ContainerRoom) -> None:
    manager = room.manager(memory_limit_mb=100)
    request = room.request(HUNGRY, model=False)
    handle = manager.start(request).handle
    room.wait_for_log(request)
    assert manager.poll(request.service_id, handle) is None
    manager.stop(request.service_id, handle, 5.0)


@pytest.mark.parametrize("sharing", [1, 10_000])
def test_workers_that_share_the_machine_share_its_cores(
    room: ContainerRoom, manager: ContainerManager, sharing: int
) -> None:
    code = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])"
    request = msgspec.structs.replace(room.request(code), sharing=sharing)
    threads = set(map(int, run(room, manager, request).split()))
    assert threads == {1} if sharing > 1 else len(threads) == 1
    assert max(threads) <= (os.cpu_count() or 1)
