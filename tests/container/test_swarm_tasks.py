"""How a Swarm's tasks are read as the ends of services."""

from __future__ import annotations

import msgspec
import pytest

from rafiki.container.swarm_logs import append_missing
from rafiki.container.swarm_tasks import Ending, Node, Task, find_ending, first_tasks


def task(
    state: str, *, desired: str = "running", node: str = "n1", container: str = "c", code: int = 0, err: str = "",
    created: str = "2026-11-30T10:00:00.123456789Z",
) -> Task:  # fmt: skip
    return msgspec.convert(
        {
            "ID": "t", "ServiceID": "s", "CreatedAt": created, "NodeID": node, "DesiredState": desired,
            "Status": {"State": state, "Err": err, "ContainerStatus": {"ContainerID": container, "ExitCode": code}},
        },
        Task,
    )  # fmt: skip


def node(state: str = "ready") -> dict[str, Node]:
    return {"n1": msgspec.convert({"ID": "n1", "Description": {"Hostname": "h1"}, "Status": {"State": state}}, Node)}


def ending(
    found: Task, state: str = "ready", memory_limit_mb: int | None = None, waited_s: float = 0.0
) -> Ending | None:
    return find_ending(found, node(state), memory_limit_mb, waited_s)


@pytest.mark.parametrize("state", ["new", "pending", "assigned", "preparing", "starting", "running"])
def test_what_is_on_its_way_or_runs_has_not_ended(state: str) -> None:
    assert ending(task(state)) is None


@pytest.mark.parametrize(
    ("code", "expected", "how"),
    [(0, 0, "exit code 0"), (3, 3, "exit code 3"), (137, -9, "SIGKILL"), (134, -6, "SIGABRT")],
)
@pytest.mark.parametrize("state", ["complete", "failed", "shutdown"])
def test_an_exit_code_above_128_is_a_signal(state: str, code: int, expected: int, how: str) -> None:
    end = ending(task(state, code=code))
    assert end is not None
    assert end.code == expected
    assert how in end.how


def test_a_service_that_was_killed_by_itself_may_have_used_too_much_memory() -> None:
    end = ending(task("failed", code=137), memory_limit_mb=100)
    assert end is not None
    assert "more than its limit of 100 MB" in end.how
    asked = ending(task("shutdown", desired="shutdown", code=137), memory_limit_mb=100)
    assert asked is not None
    assert "limit" not in asked.how


def test_a_task_of_a_lost_host_has_ended_once_the_swarm_gives_it_up() -> None:
    assert ending(task("running"), "down") is None
    end = ending(task("running", desired="shutdown"), "down")
    assert end is not None
    assert (end.code, end.has_log) == (None, False)
    assert "h1" in end.how
    # On a host that is there it is on its way to its end.
    assert ending(task("running", desired="shutdown")) is None


def test_a_task_that_was_rejected_has_the_reason() -> None:
    end = ending(task("rejected", container="", err="No such image: x"))
    assert end is not None
    assert end.code is None
    assert "No such image: x" in end.how


def test_a_task_that_no_node_takes_has_ended_after_a_while_with_the_reason() -> None:
    waiting = task("pending", node="", container="", err="no suitable node (insufficient resources on 2 nodes)")
    assert ending(waiting) is None
    end = ending(waiting, waited_s=61.0)
    assert end is not None
    assert "insufficient resources" in end.how


def test_the_oldest_task_of_a_service_is_the_one_that_ran() -> None:
    old, new = task("shutdown"), task("pending", created="2026-11-30T10:00:09.1Z")
    assert first_tasks([new, old]) == {"s": old}


def frames(*payloads: bytes) -> bytes:
    return b"".join(bytes([1, 0, 0, 0]) + len(p).to_bytes(4, "big") + p for p in payloads)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("known", ["", "one\n", "one\ntw", "one\ntwo\nthree\n"])
def test_a_log_that_is_told_anew_is_written_once(
    tmp_path_factory: pytest.TempPathFactory, known: str, size: int
) -> None:
    file = tmp_path_factory.mktemp("logs") / "train.log"
    file.write_text(known)
    told = frames(b"one\n", b"two\n", b"three\n")
    append_missing((told[i : i + size] for i in range(0, len(told), size)), file)
    assert file.read_text() == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("state", "node_id", "err", "waits_for"),
    [
        ("new", "", "", "a node"),
        ("pending", "", "no suitable node (1 node not available)", "a node (no suitable node (1 node not available))"),
        ("preparing", "n1", "", "its image and its volume, on h1"),
        ("starting", "n1", "", "its image and its volume, on h1"),
        ("running", "n1", "", None),
        ("failed", "n1", "", None),
    ],
)
def test_a_service_waits_until_its_program_begins(state: str, node_id: str, err: str, waits_for: str | None) -> None:
    assert task(state, node=node_id, err=err).find_wait("h1" if node_id else None) == waits_for
