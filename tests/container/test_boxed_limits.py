"""A worker in a box that wants too much: it ends with a reason that names the limit, and nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.machines.bubblewrap import needs_bubblewrap
from support.services.container_rooms import FOREVER, TESTS, BoxedRoom, wait_for_end

from rafiki.sandbox.control_groups import NoControlGroupsError, open_control_groups

pytestmark = needs_bubblewrap
SLEEP_S = "7782"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BoxedRoom]:
    try:
        open_control_groups("rafiki-test-boxed")
    except NoControlGroupsError as e:
        # Then limits hold for each process, as tests of processes show.
        pytest.skip(f"no control groups: {e}")
    monkeypatch.setenv("PYTHONPATH", TESTS)
    made = BoxedRoom(tmp_path.resolve() / "stack")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("limits", "code", "setting"),
    [
        # All of it at once: before anybody looks.
        ({"memory_limit_mb": 128}, "held = [bytearray(8 << 20) for _ in range(64)]", "container.memory_limit_mb"),
        (
            {"max_processes": 32},
            f"import subprocess\nheld = [subprocess.Popen(['sleep', '{SLEEP_S}']) for _ in range(100)]",
            "container.max_processes",
        ),
    ],
)
def test_too_much_is_refused_by_the_kernel_and_told(
    room: BoxedRoom, limits: dict[str, int], code: str, setting: str
) -> None:
    manager = room.manager(**limits)
    request = room.request(code)
    end = wait_for_end(manager, request, manager.start(request))
    assert end.code != 0
    assert setting in end.reason
    assert not any(p.info["cmdline"] == ["sleep", SLEEP_S] for p in psutil.process_iter(["cmdline"]))


def test_a_service_that_was_stopped_leaves_no_group(room: BoxedRoom) -> None:
    manager = room.manager()
    request = room.request(FOREVER)
    started = manager.start(request)
    room.wait_for_log(request)
    groups = list(Path("/sys/fs/cgroup").rglob(f"rafiki-*-{request.service_id}"))
    assert groups
    manager.stop(request.service_id, started.handle, 0.0)
    assert not any(group.exists() for group in groups)
