"""The environments of workers that run in images on nodes: where each is, is being built, or cannot be.

A set of packages is built once on each node, by a service of a single run (:mod:`rafiki.environments.on_node`) in the
image that its workers run in, into a volume of the node that workers read.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec
from packaging.requirements import Requirement

from rafiki.environments.build_lines import BuildLines
from rafiki.environments.on_node import NodeAnswer, NodeRequest
from rafiki.environments.requirements import are_satisfied_by, lines_of
from rafiki.environments.state import Environment, EnvironmentState, EnvironmentStatus
from rafiki.errors import RafikiError
from rafiki.utils.clock import utc_now
from rafiki.utils.files import read_text, write_atomic
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)

PROGRAM = ("-m", "rafiki.environments.on_node")
_NEEDED_FOR_S = 60.0
"""The supervisor asks for what live jobs need at each of its looks."""
TIMEOUT_MARGIN_S = 120.0
"""What starting the service, and fetching the image, may take besides the build."""


class NodeRunner(Protocol):
    """Runs programs on nodes, each once."""

    def list_nodes(self) -> Mapping[str, str]:
        """The names of hosts that take services, by the ids of their nodes. Cheap: asked at each look."""

    def identify_image(self, image: str | None) -> tuple[str, Mapping[str, str]]:
        """What the image is now, and the versions of packages that it says it has. Cheap: asked at each look."""

    def run_once(
        self, node_id: str, image: str | None, program: Sequence[str], request: bytes, *, log: Callable[[bytes], None],
        timeout_s: float, stop: threading.Event,
    ) -> str | None:  # fmt: skip
        """Run a program of Python's on a node, with a file that holds ``request``; what it writes goes to ``log``.

        Returns:
            Why it did not do what it is for; None when it ended well.
        """


class _OnNode(msgspec.Struct, kw_only=True):
    """One environment on one node."""

    reason: str | None = None
    """Why it could not be built."""
    size_bytes: int = 0
    image: str | None = None
    """That has the packages, where they are in an image; by its digest."""
    datetime_built: datetime | None = None


class _Kept(msgspec.Struct, kw_only=True):
    """One environment."""

    key: str
    requirements: list[str]
    is_base: bool = False
    """The image has the packages itself: nothing is on nodes."""
    nodes: dict[str, _OnNode] = {}
    datetime_used: datetime


class PackagesOnNodes(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker finds its packages."""

    folder: str
    """In the volume, or in the image."""
    nodes: list[str]
    """Ids of the nodes that have it."""
    image: str | None = None
    """That has it, by its digest; then every node can. None = the volumes of these nodes have it."""


class NodeEnvironments:
    """The environments on the nodes of one stack. All methods may be called from any thread; none waits for a build.

    Args:
        file: keeps what is where.
        log_file: of an environment, by its key.
    """

    PLACE = "on any node"
    """Where packages could not be installed, for people."""

    def __init__(
        self, runner: NodeRunner, file: Path, log_file: Callable[[str], Path], *, timeout_s: float, only_wheels: bool,
        variables: Mapping[str, str], max_bytes: int | None, changed: Callable[[], None],
    ) -> None:  # fmt: skip
        self._runner = runner
        self._file = file
        self._log_file = log_file
        self._timeout_s = timeout_s
        self._only_wheels = only_wheels
        self._variables = dict(variables)
        self._max_bytes = max_bytes
        self._changed = changed
        self._lock = threading.RLock()
        self._kept = self._read()
        self._building: dict[str, set[str]] = {}
        """Nodes on which a build runs or waits to, by folder."""
        self._asked_at: dict[str, float] = {}
        self._unwanted: dict[str, set[str]] = {}
        """Folders to remove, by node, at the next build there."""
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="node environment")

    # ---- asking for one

    def look(self, key: str, requirements: Sequence[Requirement], image: str | None) -> EnvironmentState:
        """The state of an environment; what is missing on a node is begun there."""
        try:
            image_id, versions = self._runner.identify_image(image)
            nodes = self._runner.list_nodes()
        except RafikiError:
            # The engine does not answer: what cannot be seen is not decided either.
            return EnvironmentState(status=EnvironmentStatus.BUILDING, key=key)
        if are_satisfied_by(requirements, versions):
            return EnvironmentState(status=EnvironmentStatus.READY)
        folder = _folder_of(key, image_id)
        with self._lock:
            self._asked_at[folder] = time.monotonic()
            kept = self._kept.get(folder)
            if kept is None:
                kept = _Kept(key=key, requirements=lines_of(requirements), datetime_used=utc_now())
                self._kept[folder] = kept
            if kept.is_base:
                return EnvironmentState(status=EnvironmentStatus.READY)
            # A node that comes back is given another try.
            for gone in [i for i, found in kept.nodes.items() if found.reason is not None and i not in nodes]:
                del kept.nodes[gone]
            self._begin(folder, image, nodes.keys() - kept.nodes.keys())
            return self._state_of(folder, kept, nodes)

    def _state_of(self, folder: str, kept: _Kept, nodes: Mapping[str, str]) -> EnvironmentState:
        there = {i: found for i, found in kept.nodes.items() if i in nodes}
        if any(found.reason is None for found in there.values()):
            return EnvironmentState(status=EnvironmentStatus.READY, key=kept.key)
        if self._building.get(folder) or not there:
            return EnvironmentState(status=EnvironmentStatus.BUILDING, key=kept.key)
        return EnvironmentState(
            status=EnvironmentStatus.FAILED, key=kept.key,
            reason=f"Its dependencies ({', '.join(kept.requirements)}) could not be installed {self.PLACE}: "
            f"{_reasons(there, nodes)}. All of it: `rafiki environment log {kept.key}`.",
        )  # fmt: skip

    def packages(self, key: str, requirements: Sequence[Requirement], image: str | None) -> PackagesOnNodes | None:
        """Where a worker that starts now finds its packages; None when its image has them.

        Raises:
            RafikiError: the engine does not answer.
        """
        image_id, versions = self._runner.identify_image(image)
        folder = _folder_of(key, image_id)
        with self._lock:
            kept = self._kept.get(folder)
            if are_satisfied_by(requirements, versions) or kept is None or kept.is_base:
                return None
            kept.datetime_used = utc_now()
            self._write()
            return self._where(folder, {i: f.image for i, f in kept.nodes.items() if f.reason is None})

    def _where(self, folder: str, built: Mapping[str, str | None]) -> PackagesOnNodes:
        """Where a worker finds what was built: the images of nodes, by their ids."""
        return PackagesOnNodes(folder=folder, nodes=sorted(built))

    def retry(self, key: str) -> None:
        """Failures of an environment are forgotten: it is tried again where it is asked for."""
        with self._lock:
            for kept in self._kept.values():
                if kept.key == key:
                    kept.nodes = {i: found for i, found in kept.nodes.items() if found.reason is None}

    def doubt(self, node_id: str) -> None:
        """A worker did not find its packages on a node: what is there is looked at again, and built where it is not."""
        with self._lock:
            for kept in self._kept.values():
                kept.nodes.pop(node_id, None)
            self._write()
        self._changed()

    # ---- looking after them

    def list_environments(self) -> list[Environment]:
        """One of each key, of all nodes together."""
        with self._lock:
            nodes = self._names()
            return [self._view(folder, kept, nodes) for folder, kept in self._kept.items() if not kept.is_base]

    def _view(self, folder: str, kept: _Kept, nodes: Mapping[str, str]) -> Environment:
        built = [found for found in kept.nodes.values() if found.reason is None]
        failed = {i: found for i, found in kept.nodes.items() if found.reason is not None}
        is_building = bool(self._building.get(folder))
        status = EnvironmentStatus.BUILDING if is_building or not kept.nodes else EnvironmentStatus.READY
        if not is_building and failed:
            status = EnvironmentStatus.FAILED
        return Environment(
            key=kept.key, requirements=kept.requirements, status=status,
            reason=_reasons(failed, nodes) if status is EnvironmentStatus.FAILED else None,
            size_bytes=sum(found.size_bytes for found in built) or None,
            datetime_built=max((f.datetime_built for f in built if f.datetime_built is not None), default=None),
        )  # fmt: skip

    def _names(self) -> Mapping[str, str]:
        try:
            return self._runner.list_nodes()
        except RafikiError:
            return {}

    def is_building(self, key: str) -> bool:
        with self._lock:
            return any(self._building.get(folder) for folder, kept in self._kept.items() if kept.key == key)

    def remove(self, key: str) -> None:
        """Forget an environment. Its folders go from the nodes when something is built there next."""
        with self._lock:
            for folder in [f for f, kept in self._kept.items() if kept.key == key]:
                for node_id in self._kept.pop(folder).nodes:
                    self._unwanted.setdefault(node_id, set()).add(folder)
            self._write()

    def shut_down(self) -> None:
        """End the builds that run, and begin no other."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # ---- building

    def _begin(self, folder: str, image: str | None, node_ids: set[str]) -> None:
        wanted = node_ids - self._building.get(folder, set())
        if not wanted or self._stop.is_set():
            return
        self._building.setdefault(folder, set()).update(wanted)
        self._pool.submit(self._build, folder, image, sorted(wanted))

    def _build(self, folder: str, image: str | None, node_ids: list[str]) -> None:
        """One environment at a time, on all nodes at once."""
        threads = [
            threading.Thread(target=self._build_on, args=(folder, image, node_id), name=f"build on {node_id}")
            for node_id in node_ids
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _build_on(self, folder: str, image: str | None, node_id: str) -> None:
        host = self._names().get(node_id, node_id)
        answer: NodeAnswer | None = None
        try:
            answer = self._run(folder, image, node_id, host)
        except RafikiError as e:
            answer = NodeAnswer(reason=e.message)
        except Exception as e:  # noqa: BLE001 - nobody above a thread sees it
            log_unexpected(_logger, e)
            answer = NodeAnswer(reason="Rafiki failed unexpectedly; see the admin's log")
        finally:
            with self._lock:
                self._building.get(folder, set()).discard(node_id)
                if answer is not None and not self._stop.is_set():
                    self._keep(folder, node_id, answer)
        self._changed()

    def _keep(self, folder: str, node_id: str, answer: NodeAnswer) -> None:
        self._unwanted.pop(node_id, None)
        for name in answer.removed:
            if name in self._kept:
                self._kept[name].nodes.pop(node_id, None)
        if (kept := self._kept.get(folder)) is not None:
            kept.is_base = kept.is_base or answer.is_base
            kept.nodes[node_id] = _OnNode(
                reason=answer.reason, size_bytes=answer.size_bytes, image=answer.image, datetime_built=utc_now()
            )  # fmt: skip
        self._write()

    def _run(self, folder: str, image: str | None, node_id: str, host: str) -> NodeAnswer:
        with self._lock:
            kept = self._kept[folder]
            now = time.monotonic()
            request = NodeRequest(
                folder=folder, requirements=kept.requirements, timeout_s=self._timeout_s,
                only_wheels=self._only_wheels, variables=self._variables, max_bytes=self._max_bytes,
                needed=[f for f, asked_at in self._asked_at.items() if now - asked_at < _NEEDED_FOR_S],
                last_used={f: k.datetime_used for f, k in self._kept.items()},
                unwanted=sorted(self._unwanted.get(node_id, set()) - {folder}),
            )  # fmt: skip
        lines = BuildLines(self._log_file(kept.key), host)
        _logger.info("environment %s: builds %s on %s", kept.key, ", ".join(kept.requirements), host)
        answer = self._carry_out(folder, image, node_id, request, lines)
        lines.close()
        level = logging.INFO if answer.reason is None else logging.ERROR
        _logger.log(level, "environment %s on %s: %s", kept.key, host, answer.reason or "ready")
        return answer

    def _carry_out(
        self, folder: str, image: str | None, node_id: str, request: NodeRequest, lines: BuildLines
    ) -> NodeAnswer:
        problem = self._runner.run_once(
            node_id, image, PROGRAM, msgspec.json.encode(request), log=lines.add,
            timeout_s=self._timeout_s + TIMEOUT_MARGIN_S, stop=self._stop,
        )  # fmt: skip
        lines.close()
        return lines.answer or NodeAnswer(reason=problem or "the service that was to install them said nothing")

    # ---- what is kept

    def _read(self) -> dict[str, _Kept]:
        text = read_text(self._file)
        if text is None:
            return {}
        try:
            found = msgspec.json.decode(text, type=dict[str, _Kept])
        except msgspec.DecodeError:
            # All of it is looked at again.
            return {}
        for kept in found.values():
            kept.nodes = {i: on_node for i, on_node in kept.nodes.items() if on_node.reason is None}
        return found

    def _write(self) -> None:
        write_atomic(self._file, msgspec.json.encode(self._kept))


def _folder_of(key: str, image_id: str) -> str:
    """Packages are built for one image: another one has another Python."""
    return f"{key}-{hashlib.sha256(image_id.encode()).hexdigest()[:8]}"


def _reasons(found: Mapping[str, _OnNode], names: Mapping[str, str]) -> str:
    """Why it could not be built, the same reason once, in the order of the hosts' names: not in that in which their
    builds ended."""
    hosts: dict[str, list[str]] = {}
    for node_id in sorted(found, key=lambda i: names.get(i, i)):
        on_node = found[node_id]
        if on_node.reason is not None:
            hosts.setdefault(on_node.reason.rstrip("."), []).append(names.get(node_id, node_id))
    return "; ".join(f"{reason} (on {', '.join(where)})" for reason, where in hosts.items())
