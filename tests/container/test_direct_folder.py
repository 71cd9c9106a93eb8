"""Where predictors listen for the workers of their job: a box sees that folder, and no other job's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.machines.bubblewrap import needs_bubblewrap
from support.services.container_rooms import TESTS, BoxedRoom, wait_for_end

from rafiki.sandbox.sandbox import BOX_FOLDER, DIRECT
from rafiki.utils.sockets import listen_at

pytestmark = needs_bubblewrap


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BoxedRoom]:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    made = BoxedRoom(tmp_path.resolve() / "stack")
    yield made
    made.close()


def test_a_box_reaches_the_predictors_of_its_job_and_changes_nothing_in_their_folder(room: BoxedRoom) -> None:
    manager = room.manager()
    own, others = room.run / DIRECT / "own", room.run / DIRECT / "others"
    for folder in (own, others):
        folder.mkdir(parents=True)
    code = f"""
import os, socket
print(sorted(os.listdir("{BOX_FOLDER}/{DIRECT}")), os.path.exists("{others}"))
try:
    os.unlink("{BOX_FOLDER}/{DIRECT}/p.sock")
except OSError as e:
    print("kept", e.errno)
s = socket.socket(socket.AF_UNIX)
s.connect("{BOX_FOLDER}/{DIRECT}/p.sock")
print(s.recv(100).decode())
"""
    request = msgspec.structs.replace(room.request(code), direct_folder=own)
    with listen_at(own / "p.sock") as listening, listen_at(others / "q.sock"):
        started = manager.start(request)
        listening.settimeout(60.0)
        connected, _ = listening.accept()
        with connected:
            connected.sendall(b"hello")
        wait_for_end(manager, request, started)
    assert room.log(request).splitlines() == ["['p.sock'] False", "kept 30", "hello"]
