"""Fixtures for all tests. A service that is absent skips its tests on a laptop and fails them when CI=true."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.groups import ENGINE_FIXTURES, ENGINES, has_engines, mark_engines
from support.stacks.running_stack import RunningStack
from support.stores.postgres_server import ExternalServer, PostgresUnavailableError, open_server
from support.swarm.docker_hosts import DockerHosts, DockerUnavailableError
from support.swarm.image_registry import ImageRegistry
from support.swarm.shared_images import bring_images

from rafiki.errors import RafikiError

# A shell starts what is to run in the background (`nohup make test &`, some CI systems) with SIGINT ignored, and so are
# all processes below it. Tests of Ctrl-C need it as a person's shell has it; here, before xdist starts its workers.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest compiles a test file for its assertions, and keeps what it made. Where the environment keeps Python from
# writing bytecode, as images of containers do, each worker of each run would do so again: half of collecting.
sys.dont_write_bytecode = False

# Collecting makes half a million objects, all of which stay: the garbage collector would look through them dozens of
# times in each worker.
gc.disable()

# Several workers of the suite share the cores. Numeric libraries that start a thread for each core, and spin while they
# wait, would take the time from each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from support.scheduling import ByNeed

    # In our order, not by the number of tests in a file.
    config.option.loadscopereorder = False
    return ByNeed(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Before `-m` chooses.
    for item in items:
        mark_engines(item)
    if "PYTEST_XDIST_WORKER" in os.environ:
        from support.scheduling import rank

        items.sort(key=rank)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # What a test logs may hold half a surrogate pair, which does not travel from a worker of xdist: it ends the worker.
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


_RUNNING: list[pytest.Item] = []
"""The test that runs, while it does."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _RUNNING.append(item)
    try:
        return (yield)
    finally:
        _RUNNING.remove(item)


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    # A test that asks for it by `getfixturevalue` shows that to nobody before it runs.
    if fixturedef.argname in ENGINE_FIXTURES and not has_engines(_RUNNING[-1]):
        pytest.fail(f"This test uses {fixturedef.argname}: mark it with pytest.mark.{ENGINES}.")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[ExternalServer]:
    """A real PostgreSQL server, one for each pytest (or xdist worker) process."""
    try:
        server = open_server()
    except PostgresUnavailableError as e:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(str(e))
        pytest.skip(str(e))
    yield server
    server.close()


def _folder_of_run(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A folder that all processes of this run of the tests have; None when it is the only one."""
    return tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else None


@pytest.fixture(scope="session")
def docker_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerHosts]:
    """Two real Docker hosts that make one Swarm, with the tests' image; one pair for each process of pytest."""
    if os.environ.get("RAFIKI_TEST_NO_DOCKER_HOSTS"):
        pytest.skip("this machine cannot have two Docker hosts: .ci/docker_hosts.py says why")
    try:
        hosts = DockerHosts()
    except DockerUnavailableError as e:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(str(e))
        pytest.skip(str(e))
    try:
        hosts.start()
        bring_images(hosts, _folder_of_run(tmp_path_factory))
        yield hosts
    finally:
        hosts.down()


@pytest.fixture(scope="session")
def torch() -> Any:
    """The package. Not loaded while tests are collected: every process of the suite does that for all files, and it
    takes seconds."""
    if os.environ.get("CI", "").lower() == "true":
        return importlib.import_module("torch")
    return pytest.importorskip("torch")


@pytest.fixture
def tensorboard() -> Any:
    """The package: an extra."""
    return _extra("tensorboard")


@pytest.fixture
def wandb() -> Any:
    """The package: an extra."""
    return _extra("wandb")


def _extra(name: str) -> Any:
    if os.environ.get("CI", "").lower() == "true":
        return importlib.import_module(name)
    return pytest.importorskip(name)


@pytest.fixture
def image_registry(docker_hosts: DockerHosts, tmp_path: Path) -> Iterator[ImageRegistry]:
    """A registry that both Docker hosts reach; it wants a login."""
    if not ImageRegistry.is_here():
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail("apt-get install docker-registry")
        pytest.skip("docker-registry is not here")
    opened = ImageRegistry(tmp_path / "registry", docker_hosts.address)
    yield opened
    opened.close()


@pytest.fixture
def postgres_url(postgres_server: ExternalServer) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database."""
    name = postgres_server.create_database()
    yield postgres_server.url_of(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A running stack that all tests of this process share. Use names of your own in it."""
    running = RunningStack(tmp_path_factory.mktemp("stack"))
    running.up()
    _SHARED.append(running)
    yield running
    _SHARED.clear()
    running.down()


_SHARED: list[RunningStack] = []
"""The stack of this process, once a test has asked for it."""


@pytest.fixture(scope="module", autouse=True)
def _nothing_goes_on_running() -> Iterator[None]:
    """Jobs and deployments that a file left in the shared stack would take the processor from the files after it."""
    yield
    for running in _SHARED:
        with contextlib.suppress(RafikiError):
            running.client().stop_all_jobs()
