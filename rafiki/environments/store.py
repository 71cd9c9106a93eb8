"""The environments of one stack: which there are, which are being built, which cannot be."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import msgspec
from packaging.requirements import Requirement

from rafiki.environments.build import Build, BuildOptions, python_of
from rafiki.environments.nodes import NodeEnvironments, PackagesOnNodes
from rafiki.environments.reasons import explain_os_error
from rafiki.environments.requirements import RequirementReader, key_of, lines_of, parse_dependencies
from rafiki.environments.state import Environment, EnvironmentState, EnvironmentStatus
from rafiki.errors import EnvironmentBuildError, EnvironmentBusyError, InvalidEnvironmentError, InvalidModelError
from rafiki.utils.clock import Deadline, utc_now
from rafiki.utils.files import read_text, size_of_folder, write_atomic
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)

_RECORD = "environment.json"
"""Written when all else is there: a folder without it was left half built."""
_REMOVED = ".removed-"
_CLEAN_UP_S = 10.0
"""What ending a build that took too long may take itself."""
_MOST_WAITING = 8
"""Callers that may wait for builds at the same time; each holds a thread of the server."""


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    requirements: list[str]
    size_bytes: int
    datetime_built: datetime


_BASE = EnvironmentState(status=EnvironmentStatus.READY)


class EnvironmentStore:
    """Builds each distinct set of dependencies once, one at a time, and keeps it in a folder of its own.

    All methods may be called from any thread. One process a folder: the admin.
    """

    def __init__(self, folder: Path, log_folder: Path, options: BuildOptions) -> None:
        self._folder = folder
        self._logs = log_folder
        self._options = options
        self._reader = RequirementReader()
        self._changed = threading.Condition()
        self._building: dict[str, list[str]] = {}
        self._failed: dict[str, Environment] = {}
        self._asked: dict[str, set[str]] = {}
        self._current: Build | None = None
        self._n_waiting = 0
        self._is_shut_down = False
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="environment")
        self._listeners: list[Callable[[], None]] = []
        self._nodes: NodeEnvironments | None = None

    def add_nodes(self, nodes: NodeEnvironments) -> None:
        """Workers run in images on nodes: what they need is installed there."""
        self._nodes = nodes

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called after each build."""
        self._listeners.append(listener)

    # ---- asking for one

    def look(self, dependencies: Mapping[str, str]) -> EnvironmentState:
        """The state of these dependencies; a missing one is begun. A failure stays one: see request()."""
        try:
            requirements, is_satisfied = self._reader.read(dependencies)
        except InvalidModelError as e:
            return EnvironmentState(status=EnvironmentStatus.FAILED, reason=e.message)
        if is_satisfied:
            return _BASE
        key = key_of(requirements)
        with self._changed:
            if (failed := self._failed.get(key)) is not None:
                return EnvironmentState(status=EnvironmentStatus.FAILED, key=key, reason=_explain(failed))
            if key not in self._building:
                if self._record(key) is not None:
                    python = str(python_of(self._folder / key))
                    return EnvironmentState(status=EnvironmentStatus.READY, key=key, python=python)
                self._begin(key, requirements)
            return EnvironmentState(status=EnvironmentStatus.BUILDING, key=key)

    def look_for_workers(self, dependencies: Mapping[str, str], image: str | None) -> EnvironmentState:
        """As :meth:`look`, of what workers need that run in an image; without nodes these run beside the admin.

        Args:
            image: the model's own; None = that of all workers.
        """
        if self._nodes is None or not dependencies:
            return self.look(dependencies)
        try:
            requirements = parse_dependencies(dependencies)
        except InvalidModelError as e:
            return EnvironmentState(status=EnvironmentStatus.FAILED, reason=e.message)
        return self._nodes.look(key_of(requirements), requirements, image)

    def packages_on_nodes(self, dependencies: Mapping[str, str], image: str | None) -> PackagesOnNodes | None:
        """Where a worker that starts now finds its packages; None where it needs none besides those of its image.

        Raises:
            RafikiError: the back end does not answer.
        """
        if self._nodes is None or not dependencies:
            return None
        requirements = parse_dependencies(dependencies)
        return self._nodes.packages(key_of(requirements), requirements, image)

    def note_change(self) -> None:
        """Something of an environment on a node has changed: whoever listens is told."""
        with self._changed:
            self._changed.notify_all()
        for listener in self._listeners:
            listener()

    def request(self, dependencies: Mapping[str, str], *, user_id: str | None = None) -> EnvironmentState:
        """Like :meth:`look`, but what failed before is tried again: the package may be there now.

        Args:
            user_id: who asks: may watch the build, though no model depends on it yet.

        Raises:
            InvalidModelError: when the dependencies are none.
        """
        key = key_of(parse_dependencies(dependencies))
        with self._changed:
            self._failed.pop(key, None)
            if self._nodes is not None:
                self._nodes.retry(key)
            state = self.look(dependencies)
            if user_id is not None and state.key is not None:
                self._asked.setdefault(key, set()).add(user_id)
        return state

    def was_asked_by(self, key: str, user_id: str) -> bool:
        """Whether this user asked for that environment since the admin's start."""
        with self._changed:
            return user_id in self._asked.get(key, ())

    def wait(self, dependencies: Mapping[str, str]) -> EnvironmentState:
        """Like :meth:`request`, and waits until it is ready or has failed, as uploads do before a model_class is read.

        Raises:
            InvalidModelError: when the dependencies are none.
            EnvironmentBusyError: when too many wait already, or builds before this one took too long.
        """
        state = self.request(dependencies)
        if state.status is not EnvironmentStatus.BUILDING:
            return state
        deadline = Deadline(2 * self._options.timeout_s + _CLEAN_UP_S)
        with self._changed:
            if self._n_waiting >= _MOST_WAITING:
                raise EnvironmentBusyError(
                    f"{self._n_waiting} uploads wait for the environments of their models already. Try again later."
                )
            self._n_waiting += 1
            try:
                while (state := self.look(dependencies)).status is EnvironmentStatus.BUILDING:
                    if self._is_shut_down:
                        raise EnvironmentBusyError("The stack is being stopped. Try again when it is up.")
                    if deadline.is_over():
                        raise EnvironmentBusyError(
                            "Other environments are still being built before this one. Try again later."
                        )
                    self._changed.wait(deadline.left_s())
            finally:
                self._n_waiting -= 1
        return state

    # ---- looking after them

    def list_environments(self) -> list[Environment]:
        """Those that are there, are being built, or could not be built since the admin's start."""
        with self._changed:
            found = [
                *(
                    Environment(key=k, requirements=lines, status=EnvironmentStatus.BUILDING)
                    for k, lines in self._building.items()
                ),
                *self._failed.values(),
            ]
            taken = {e.key for e in found}
            for folder in sorted(self._folder.glob("[0-9a-f]*")):
                record = self._record(folder.name)
                if record is not None and folder.name not in taken:
                    found.append(
                        Environment(
                            key=folder.name, requirements=record.requirements, status=EnvironmentStatus.READY,
                            size_bytes=record.size_bytes, datetime_built=record.datetime_built,
                        )
                    )  # fmt: skip
        return found if self._nodes is None else _merged(found, self._nodes.list_environments())

    def get_environment(self, key: str) -> Environment:
        """One of them.

        Raises:
            InvalidEnvironmentError: when there is none of that key.
        """
        for found in self.list_environments():
            if found.key == key:
                return found
        raise InvalidEnvironmentError.not_found(
            f"There is no environment {key[:80]!r}. List them: `rafiki environment list`."
        )

    def log_file(self, key: str) -> Path:
        """Where the builds of an environment write their log."""
        return self._logs / f"environment-{key}.log"

    def remove(self, key: str) -> Environment:
        """Delete an environment with its log. Whoever needs it again has it built again.

        Raises:
            InvalidEnvironmentError: when there is none of that key, or it is being built.
        """
        found = self.get_environment(key)
        with self._changed:
            if key in self._building or (self._nodes is not None and self._nodes.is_building(key)):
                raise InvalidEnvironmentError(f"The environment {key} is being built at this moment.")
            self._failed.pop(key, None)
            self._asked.pop(key, None)
            removed = self._folder / f"{_REMOVED}{key}"
            with contextlib.suppress(FileNotFoundError):
                # One step: nobody finds half an environment.
                (self._folder / key).rename(removed)
        if self._nodes is not None:
            self._nodes.remove(key)
        shutil.rmtree(removed, ignore_errors=True)
        self.log_file(key).unlink(missing_ok=True)
        return found

    def clean_up(self) -> None:
        """Delete what an admin that died left half built or half removed. Before the first build."""
        for folder in self._folder.glob("*"):
            if folder.name.startswith(_REMOVED) or self._record(folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)

    def shut_down(self) -> None:
        """End the build that runs, and begin no other."""
        with self._changed:
            self._is_shut_down = True
            current = self._current
        if current is not None:
            current.stop()
        if self._nodes is not None:
            self._nodes.shut_down()
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._changed:
            self._building.clear()
            self._changed.notify_all()

    # ---- within

    def _record(self, key: str) -> _Record | None:
        text = read_text(self._folder / key / _RECORD)
        if text is None:
            return None
        try:
            return msgspec.json.decode(text, type=_Record)
        except msgspec.DecodeError:
            return None

    def _begin(self, key: str, requirements: list[Requirement]) -> None:
        if self._is_shut_down:
            return
        self._building[key] = lines_of(requirements)
        self._pool.submit(self._build, key, requirements)

    def _build(self, key: str, requirements: list[Requirement]) -> None:
        folder, lines = self._folder / key, lines_of(requirements)
        build = Build(folder, requirements, self.log_file(key), self._options)
        reason: str | None = None
        with self._changed:
            self._current = build
            if self._is_shut_down:
                return
        _logger.info("environment %s: builds %s", key, ", ".join(lines))
        try:
            build.run()
            record = _Record(requirements=lines, size_bytes=size_of_folder(folder), datetime_built=utc_now())
            write_atomic(folder / _RECORD, msgspec.json.encode(record))
        except EnvironmentBuildError as e:
            reason = e.message
        except OSError as e:
            reason = explain_os_error(e, str(folder))
        except Exception as e:  # noqa: BLE001 - nobody above a pool's thread sees it
            log_unexpected(_logger, e)
            reason = "Rafiki failed unexpectedly; see the admin's log"
        if reason is not None:
            shutil.rmtree(folder, ignore_errors=True)
        _logger.log(logging.INFO if reason is None else logging.ERROR, "environment %s: %s", key, reason or "ready")
        with self._changed:
            self._current = None
            del self._building[key]
            if reason is not None:
                self._failed[key] = Environment(
                    key=key, requirements=lines, status=EnvironmentStatus.FAILED, reason=reason
                )
            self._changed.notify_all()
        for listener in self._listeners:
            listener()


def _merged(here: list[Environment], on_nodes: list[Environment]) -> list[Environment]:
    """One of each key: how it stands where it is worse, and the size of both."""
    found = {e.key: e for e in here}
    for e in on_nodes:
        own = found.get(e.key)
        if own is None:
            found[e.key] = e
            continue
        worse = e if own.status is EnvironmentStatus.READY else own
        found[e.key] = msgspec.structs.replace(
            worse, size_bytes=(own.size_bytes or 0) + (e.size_bytes or 0) or None,
            datetime_built=own.datetime_built or e.datetime_built,
        )  # fmt: skip
    return list(found.values())


def _explain(failed: Environment) -> str:
    """Why a model cannot run, for people."""
    reason = (failed.reason or "").rstrip(".")
    return (
        f"Its dependencies ({', '.join(failed.requirements)}) could not be installed: {reason}. All of it: "
        f"`rafiki environment log {failed.key}`."
    )
