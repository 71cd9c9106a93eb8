"""The sockets by which boxes reach the stack, deleted under it."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from support.services.planner_world import NOW, World, steady_inference, steady_train

from rafiki.admin.box_doors import BoxDoors
from rafiki.admin.planner import StopService, plan
from rafiki.config import load_config
from rafiki.messages import CacheAddress
from rafiki.sandbox.sandbox import ADMIN_DOOR, CACHE_DOOR, DOORS
from rafiki.stack_folder import StackFolder
from rafiki.utils.sockets import listen, listen_at


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the doors, of a stack that there is."""
    (tmp_path / "rafiki.yaml").write_text("")
    made = StackFolder(load_config(tmp_path / "rafiki.yaml", environ={}))
    made.create()
    return made.run / DOORS


@pytest.fixture
def doors(folder: Path) -> Iterator[BoxDoors]:
    made = BoxDoors(StackFolder(load_config(folder.parents[2] / "rafiki.yaml", environ={})))
    yield made
    made.close()


@pytest.fixture
def cache() -> Iterator[CacheAddress]:
    """Something that answers each line with itself."""
    listening = listen("127.0.0.1", 0)

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    host, port = listening.getsockname()
    yield CacheAddress(host=host, port=port, db=0, username=None, password=None, prefix="")
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def says_back(door: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(str(door))
        s.sendall(b"hello")
        return s.recv(100) == b"hello"


def test_doors_that_were_deleted_are_made_again_in_their_folder(
    folder: Path, doors: BoxDoors, cache: CacheAddress
) -> None:
    served: list[socket.socket] = [doors.listen_for_admin()]
    doors.serve_admin_with(served.append)
    doors.relay_to(cache)
    since = doors.renewed
    assert not doors.mend()
    for name in (ADMIN_DOOR, CACHE_DOOR):
        (folder / name).unlink()
    assert doors.mend()
    assert says_back(folder / CACHE_DOOR)
    assert [s.getsockname().endswith(ADMIN_DOOR) for s in served] == [True, True]
    # Boxes see the folder still.
    assert doors.renewed == since
    assert not doors.mend()
    for s in served:
        s.close()


def test_the_door_of_a_cache_that_listened_there_itself_leads_to_it_again(
    folder: Path, doors: BoxDoors, cache: CacheAddress
) -> None:
    with listen_at(folder / CACHE_DOOR):
        doors.lead_to(cache)
    (folder / CACHE_DOOR).unlink()
    doors.listen_for_admin().close()
    assert doors.mend()
    assert says_back(folder / CACHE_DOOR)


def test_boxes_of_before_are_cut_off_when_their_folder_was_deleted(
    folder: Path, doors: BoxDoors, cache: CacheAddress
) -> None:
    doors.relay_to(cache)
    kept = folder.rename(folder.with_name("kept"))  # Its inode must not be given again.
    assert doors.mend()
    assert doors.renewed is not None
    assert says_back(folder / CACHE_DOOR)
    shutil.rmtree(kept)


@pytest.mark.parametrize("world", [steady_train(1), steady_inference(1)], ids=["train", "inference"])
def test_workers_that_are_cut_off_are_replaced_and_nothing_else_is(world: World) -> None:
    observed = world.observe()

    def stopped(renewed_s: float) -> list[str]:
        renewed = msgspec.structs.replace(observed, doors_renewed=NOW + timedelta(seconds=renewed_s))
        return [str(a.service.service_type) for a in plan(renewed) if isinstance(a, StopService)]

    assert stopped(0.0) == []
    [kind] = stopped(1.0)
    assert kind in ("TRAIN", "INFERENCE")


def test_an_admin_that_starts_knows_since_when_there_is_the_folder(folder: Path, doors: BoxDoors) -> None:
    """The one before it may have ended between the deletion and the last replacement."""
    stack = StackFolder(load_config(folder.parents[2] / "rafiki.yaml", environ={}))
    assert BoxDoors(stack).renewed == doors.renewed
    shutil.rmtree(folder.parent)
    folder.parent.mkdir()
    later = BoxDoors(stack).renewed
    assert later is not None
    assert doors.renewed is not None
    assert later > doors.renewed
    assert BoxDoors(stack).renewed == later


def leave_dead_door(folder: Path) -> None:
    """As an admin does that passed connections on, and was killed."""
    door = folder / CACHE_DOOR
    door.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(door))
        sock.listen(1)
    assert door.exists()


def test_an_admin_that_starts_opens_a_door_at_which_nobody_listens(
    folder: Path, doors: BoxDoors, cache: CacheAddress
) -> None:
    leave_dead_door(folder)
    doors.lead_to(cache)
    assert says_back(folder / CACHE_DOOR)


def test_a_door_at_which_nobody_listens_any_more_is_opened_again(
    folder: Path, doors: BoxDoors, cache: CacheAddress
) -> None:
    doors.lead_to(cache)
    doors.listen_for_admin().close()
    leave_dead_door(folder)
    assert [doors.mend() for _ in range(5)] == [False] * 4 + [True]
    assert says_back(folder / CACHE_DOOR)
    assert not doors.mend()


def test_a_door_at_which_the_cache_listens_stays_its_own(folder: Path, doors: BoxDoors, cache: CacheAddress) -> None:
    with listen_at(folder / CACHE_DOOR):
        inode = (folder / CACHE_DOOR).stat().st_ino
        doors.lead_to(cache)
        doors.listen_for_admin().close()
        for _ in range(10):
            doors.mend()
        assert (folder / CACHE_DOOR).stat().st_ino == inode
