"""Environments are built once, shared, and survive what goes wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.data.wheels import make_wheel, pip_variables
from support.stacks.running_stack import eventually

from rafiki.config import package_environment
from rafiki.environments.build import HEADING, BuildOptions
from rafiki.environments.requirements import key_of, parse_dependencies
from rafiki.environments.state import EnvironmentStatus
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import EnvironmentBusyError, InvalidEnvironmentError, InvalidModelError

READY, BUILDING, FAILED = EnvironmentStatus.READY, EnvironmentStatus.BUILDING, EnvironmentStatus.FAILED
ROOT = Path(__file__).parents[2]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    for version in ("1.0", "2.0"):
        make_wheel(tmp_path / "wheels", "glimmer", version)
    return tmp_path / "wheels"


def open_store(
    tmp_path: Path, wheels: Path, *, timeout_s: float = 120.0, only_wheels: bool = False
) -> EnvironmentStore:
    for folder in ("environments", "logs"):
        (tmp_path / folder).mkdir(exist_ok=True)
    variables = {**package_environment(), **pip_variables(wheels), "PYTHONPATH": str(ROOT)}
    options = BuildOptions(timeout_s=timeout_s, only_wheels=only_wheels, process_environment=variables)
    return EnvironmentStore(tmp_path / "environments", tmp_path / "logs", options)


@pytest.fixture
def store(tmp_path: Path, wheels: Path) -> Iterator[EnvironmentStore]:
    opened = open_store(tmp_path, wheels)
    yield opened
    opened.shut_down()


def run(python: str | None, code: str) -> str:
    assert python is not None
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def key(**dependencies: str) -> str:
    return key_of(parse_dependencies(dependencies))


def test_what_is_there_already_runs_as_it_is(store: EnvironmentStore, tmp_path: Path) -> None:
    for dependencies in ({}, {"numpy": ">=1.26"}):
        state = store.wait(dependencies)
        assert (state.status, state.key, state.python) == (READY, None, None)
    assert store.list_environments() == []
    assert list((tmp_path / "environments").iterdir()) == []


def test_an_environment_has_its_packages_and_those_beside_rafiki(store: EnvironmentStore) -> None:
    old, new = store.wait({"glimmer": "1.0"}), store.wait({"glimmer": ">=2"})
    assert (old.status, new.status) == (READY, READY)
    code = "import glimmer, numpy, rafiki.worker.train; print(glimmer.VERSION)"
    assert [run(old.python, code), run(new.python, code)] == ["1.0", "2.0"]
    assert run(old.python, "import numpy; print(numpy.__file__)") == run(
        sys.executable, "import numpy; print(numpy.__file__)"
    )
    # Packages that add tasks and the like are found by their entry points.
    points = "from importlib.metadata import entry_points as e; print(sorted(p.value for p in e(group='pytest11')))"
    assert run(old.python, points) == run(sys.executable, points) != "[]"
    listed = {e.key: e for e in store.list_environments()}
    assert {e.requirements[0] for e in listed.values()} == {"glimmer==1.0", "glimmer>=2"}
    assert all(e.status is READY and e.size_bytes and e.datetime_built for e in listed.values())


def test_it_is_built_once_for_all_who_ask_and_kept(store: EnvironmentStore, tmp_path: Path, wheels: Path) -> None:
    states = []
    askers = [threading.Thread(target=lambda: states.append(store.wait({"glimmer": "1.0"}))) for _ in range(4)]
    for thread in askers:
        thread.start()
    for thread in askers:
        thread.join()
    assert [s.status for s in states] == [READY] * 4
    log = (tmp_path / "logs" / f"environment-{states[0].key}.log").read_text()
    assert log.count(HEADING.decode()) == 1
    # Warm: neither the next question nor the next admin installs anything.
    again = open_store(tmp_path, wheels)
    again.clean_up()
    assert again.look({"Glimmer": "==1.0"}) == states[0] == store.look({"glimmer": "1.0"})
    assert (tmp_path / "logs" / f"environment-{states[0].key}.log").read_text() == log
    again.shut_down()


def test_a_failed_build_says_why_and_is_tried_again_on_request(
    store: EnvironmentStore, wheels: Path, tmp_path: Path
) -> None:
    heard = threading.Event()
    store.on_change(heard.set)
    failed = store.wait({"glimmer": "3.0"})
    assert failed.status is FAILED
    assert failed.reason is not None
    assert "glimmer==3.0" in failed.reason
    assert "could not be installed" in failed.reason
    assert f"rafiki environment log {failed.key}" in failed.reason
    assert heard.wait(30)
    assert str(wheels) in (tmp_path / "logs" / f"environment-{failed.key}.log").read_text()
    assert store.look({"glimmer": "3.0"}) == failed
    assert store.list_environments()[0].status is FAILED
    make_wheel(wheels, "glimmer", "3.0")
    assert store.look({"glimmer": "3.0"}) == failed
    assert store.wait({"glimmer": "3.0"}).status is READY


def test_of_many_versions_the_reason_names_the_last(store: EnvironmentStore, wheels: Path) -> None:
    for minor in range(200):
        make_wheel(wheels, "glimmer", f"5.{minor}")
    reason = store.wait({"glimmer": "9.9"}).reason or ""
    assert "the newest there are: 5.197, 5.198, 5.199" in reason
    assert "5.100" not in reason
    assert "glimmer==9.9" in reason


@pytest.mark.parametrize(
    ("requires", "says"),
    [(("numpy<1",), "numpy"), (("no-such-package",), "no-such-package")],
    ids=["against Rafiki's own", "of its own missing"],
)
def test_packages_that_cannot_go_together_are_a_failed_build(
    store: EnvironmentStore, wheels: Path, requires: tuple[str, ...], says: str
) -> None:
    make_wheel(wheels, "glimmer", "4.0", requires=requires)
    failed = store.wait({"glimmer": "4.0"})
    assert failed.status is FAILED
    assert says in (failed.reason or "")
    # The next one is not spoilt by it.
    assert store.wait({"glimmer": "1.0"}).status is READY


def test_a_package_that_breaks_the_workers_is_a_failed_build(store: EnvironmentStore, wheels: Path) -> None:
    # A module that hides one that the workers run with.
    make_wheel(wheels, "msgspec", "0.23.99")
    failed = store.wait({"msgspec": "0.23.99"})
    assert failed.status is FAILED
    assert "workers do not start" in (failed.reason or "")


def test_a_build_that_takes_too_long_ends(tmp_path: Path, wheels: Path) -> None:
    store = open_store(tmp_path, wheels, timeout_s=0.001)
    failed = store.wait({"glimmer": "1.0"})
    assert failed.status is FAILED
    assert "environments.build_timeout_s" in (failed.reason or "")
    store.shut_down()


def make_source_package(folder: Path) -> None:
    import io
    import tarfile

    setup = b"open('/proc/self/cwd/ran', 'w'); from setuptools import setup; setup(name='slowly', version='1.0')"
    with tarfile.open(folder / "slowly-1.0.tar.gz", "w:gz") as archive:
        for name, data in (("PKG-INFO", b"Metadata-Version: 1.0\nName: slowly\nVersion: 1.0\n"), ("setup.py", setup)):
            entry = tarfile.TarInfo(f"slowly-1.0/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def test_packages_that_bring_build_scripts_can_be_refused(tmp_path: Path, wheels: Path) -> None:
    make_source_package(wheels)
    store = open_store(tmp_path, wheels, only_wheels=True)
    failed = store.wait({"slowly": ""})
    assert failed.status is FAILED
    assert "slowly" in (failed.reason or "")
    store.shut_down()


def test_stopping_the_stack_ends_a_build_and_the_next_start_begins_anew(tmp_path: Path, wheels: Path) -> None:
    store = open_store(tmp_path, wheels)
    assert store.look({"glimmer": "1.0"}).status is BUILDING
    eventually(lambda: list((tmp_path / "environments").iterdir()), "the build to begin")
    store.shut_down()
    assert store.look({"glimmer": "2.0"}).status is BUILDING  # And never begun.
    with pytest.raises(EnvironmentBusyError, match="being stopped"):
        store.wait({"glimmer": "2.0"})
    again = open_store(tmp_path, wheels)
    again.clean_up()
    assert again.wait({"glimmer": "1.0"}).status is READY
    again.shut_down()


def test_what_was_left_half_built_or_half_removed_is_cleared_away(tmp_path: Path, wheels: Path) -> None:
    store = open_store(tmp_path, wheels)
    ready = store.wait({"glimmer": "1.0"})
    folder = tmp_path / "environments"
    (folder / key(glimmer="2.0") / "bin").mkdir(parents=True)
    (folder / ".removed-0123456789abcdef" / "lib").mkdir(parents=True)
    (folder / "0123456789abcdef").mkdir()
    (folder / "0123456789abcdef" / "environment.json").write_text("{")
    again = open_store(tmp_path, wheels)
    again.clean_up()
    assert [f.name for f in folder.iterdir()] == [ready.key]
    assert again.wait({"glimmer": "2.0"}).status is READY
    again.shut_down()
    store.shut_down()


def test_an_environment_can_be_removed_and_is_built_again_when_needed(store: EnvironmentStore, tmp_path: Path) -> None:
    ready = store.wait({"glimmer": "1.0"})
    assert ready.key is not None
    assert store.remove(ready.key).requirements == ["glimmer==1.0"]
    assert store.list_environments() == []
    assert list((tmp_path / "environments").iterdir()) == list((tmp_path / "logs").iterdir()) == []
    assert store.look({"glimmer": "1.0"}).status is BUILDING
    with pytest.raises(InvalidEnvironmentError, match="being built"):
        store.remove(ready.key)
    assert store.wait({"glimmer": "1.0"}) == ready


@pytest.mark.parametrize("wrong", ["0123456789abcdef", "", "..", "../logs", "."])
def test_a_key_that_names_nothing_is_refused(store: EnvironmentStore, wrong: str) -> None:
    for ask in (store.get_environment, store.remove):
        with pytest.raises(InvalidEnvironmentError):
            ask(wrong)


def test_dependencies_that_are_none_are_refused(store: EnvironmentStore) -> None:
    for ask in (store.wait, store.request):
        with pytest.raises(InvalidModelError):
            ask({"--pre": "1"})
    # The record of a model that is there already must not keep the others from being looked at.
    state = store.look({"--pre": "1"})
    assert (state.status, state.reason is not None and "--pre" in state.reason) == (FAILED, True)
