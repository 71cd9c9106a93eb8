"""Images with packages that models depend on: built on the engine's node, kept in a registry, pulled by every node."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

import msgspec

from rafiki.container.base import BuiltImage, ContainerSetup
from rafiki.container.swarm_engine import AnswerError, Engine, missing_is_fine
from rafiki.container.swarm_logs import payloads
from rafiki.container.swarm_once import SwarmOneShots
from rafiki.container.swarm_service import KIND_LABEL, STACK_LABEL, USER
from rafiki.errors import ConfigError, ContainerError
from rafiki.utils.clock import Deadline
from rafiki.utils.image_names import ImageName

_REPOSITORY = "rafiki-packages"
_FOLDER = PurePosixPath("/var/lib/rafiki")
"""Where an image of Rafiki's lets everybody write, and where no volume of a worker is."""
_REQUEST = "request.json"
_UID = int(USER.partition(":")[0])
_KIND = "packages"
_POLL_S = 0.5
_TRANSFER_TIMEOUT_S = 900.0
_JOIN_TIMEOUT_S = 10.0
_NO_LOGIN = ("unauthorized", "no basic auth", "access to the resource is denied", "authentication required")
"""Words of engines and registries."""


class _Made(msgspec.Struct):
    id: str = msgspec.field(name="Id")


class _State(msgspec.Struct, rename="pascal"):
    running: bool = False
    status: str = ""
    exit_code: int = 0
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)


class _Container(msgspec.Struct, rename="pascal"):
    state: _State


class _Size(msgspec.Struct, rename="pascal"):
    size: int = 0


def check_registry(registry: str) -> None:
    """
    Raises:
        ConfigError: it is no registry, or no folder of one, that images can be named after.
    """
    try:
        named = ImageName(f"{registry}/{_REPOSITORY}:1").registry
    except ValueError:
        named = None
    if named is None:
        raise ConfigError(
            f"container.registry: {registry[:80]!r} is no registry of images. Write its address, and a folder in it if "
            "there is one: 'registry.example.org:5000/team'."
        )


class SwarmPackageImages:
    """Builds images on top of others, and pushes them. Safe to use from several threads.

    Args:
        one_shots: knows what images are at the moment.
        network: what a build joins; None = a network of its own with a way out.
    """

    def __init__(self, engine: Engine, setup: ContainerSetup, one_shots: SwarmOneShots, network: str | None) -> None:
        """
        Raises:
            ConfigError: container.registry names none.
        """
        self.registry = setup.config.container.registry or ""
        check_registry(self.registry)
        self._engine = engine
        self._setup = setup
        self._one_shots = one_shots
        self._network = network
        self._labels = {STACK_LABEL: setup.stack_id or str(setup.stack_root), KIND_LABEL: _KIND}
        remove_containers(engine, self._labels[STACK_LABEL])

    def identify_image(self, image: str | None) -> tuple[str, Mapping[str, str]]:
        return self._one_shots.identify_image(image)

    def find(self, tag: str) -> str | None:
        """The image of that tag as nodes ask for it, by its digest; None when the registry has none, or does not say.

        Raises:
            ContainerError: the engine does not answer.
        """
        name = self._name(tag)
        digest, _ = self._engine.find_digest(name)
        return None if digest is None else ImageName(name).at(digest)

    def build(
        self, tag: str, image: str | None, program: Sequence[str], request: bytes, *, log: Callable[[bytes], None],
        is_wanted: Callable[[], bool], timeout_s: float, stop: threading.Event,
    ) -> BuiltImage | None:  # fmt: skip
        """Run a program of Python's in a container of an image, and push what it leaves behind as an image of its own.

        Args:
            image: what it is built on; None = that of all workers.
            program: Python's arguments before the name of the file with ``request``; what it writes goes to ``log``.
            is_wanted: asked when the program has ended well; else nothing is pushed.

        Returns:
            None when it is not wanted.

        Raises:
            ContainerError: why there is none.
        """
        base = self._have(image)
        container = self._create(base, tag, program)
        try:
            self._engine.put_archive(container, str(_FOLDER), _archive(request))
            self._engine.post(f"/containers/{container}/start")
            self._wait(container, log, timeout_s, stop)
            if not is_wanted():
                return None
            return self._push(container, base, tag, log)
        finally:
            self._engine.delete(f"/containers/{container}?force=1&v=1")

    def remove(self, tag: str) -> None:
        """Take an image off the engine's node. What the registry has is its owner's to delete."""
        self._engine.delete(f"/images/{self._name(tag)}")

    def _name(self, tag: str) -> str:
        return f"{self.registry}/{_REPOSITORY}:{tag}"

    def _have(self, image: str | None) -> str:
        """The id of an image, which is pulled when the engine's node lacks it."""
        found, _ = self._one_shots.identify_image(image)
        if found.startswith("sha256:"):
            return found
        self._engine.pull(found, timeout_s=_TRANSFER_TIMEOUT_S)
        return self._one_shots.find_image_id(found) or found

    def _create(self, base: str, tag: str, program: Sequence[str]) -> str:
        settings = self._setup.config.container
        body = {
            "Image": base,
            "Cmd": ["python", *program, str(_FOLDER / _REQUEST)],
            "Env": ["HOME=/tmp", "PYTHONUNBUFFERED=1"],
            "User": USER,
            "WorkingDir": "/tmp",
            "Labels": self._labels,
            "HostConfig": {
                # Not a part of the image.
                "Tmpfs": {"/tmp": "mode=1777"},
                "Init": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "Memory": (settings.memory_limit_mb or 0) << 20,
                "PidsLimit": settings.max_processes,
                "NetworkMode": self._network or "default",
            },
        }
        answer = self._engine.post("/containers/create", body, name=f"{_REPOSITORY}-{tag}")
        return msgspec.json.decode(answer, type=_Made).id

    def _wait(self, container: str, log: Callable[[bytes], None], timeout_s: float, stop: threading.Event) -> None:
        stream = self._engine.stream(f"/containers/{container}/logs", follow="1", stdout="1", stderr="1")

        def follow() -> None:
            for payload in payloads(stream):
                log(payload)

        follower = threading.Thread(target=follow, name=f"log of {container[:12]}", daemon=True)
        follower.start()
        deadline = Deadline(timeout_s)
        try:
            while (state := self._engine.get(f"/containers/{container}/json", _Container).state).running:
                if deadline.is_over():
                    raise ContainerError(f"it was not finished within {timeout_s:g} s")
                if stop.wait(_POLL_S):
                    raise ContainerError("the stack was stopped meanwhile")
            # All that it has written ends with it.
            follower.join(_JOIN_TIMEOUT_S)
        finally:
            stream.close()
            follower.join(_JOIN_TIMEOUT_S)
        if state.oom_killed:
            raise ContainerError("it was out of memory (container.memory_limit_mb in rafiki.yaml)")
        if state.exit_code:
            raise ContainerError(f"the program that installs packages ended with exit code {state.exit_code}")

    def _push(self, container: str, base: str, tag: str, log: Callable[[bytes], None]) -> BuiltImage:
        repository = self._name(tag).rpartition(":")[0]
        self._engine.commit(container, repository, tag, timeout_s=_TRANSFER_TIMEOUT_S)
        name = self._name(tag)
        log(f"pushing {name} ...\n".encode())
        try:
            digest = self._engine.push(name, timeout_s=_TRANSFER_TIMEOUT_S)
        except AnswerError as e:
            with missing_is_fine():
                self.remove(tag)
            log(f"not pushed: {e.told}\n".encode())
            raise ContainerError(self._explain_push(e.told)) from e
        log(f"pushed as {digest}\n".encode())
        size_bytes = self._size_bytes(name) - self._size_bytes(base)
        return BuiltImage(image=ImageName(name).at(digest), size_bytes=max(0, size_bytes))

    def _size_bytes(self, image: str) -> int:
        found = self._engine.find(f"/images/{image}/json", _Size)
        return 0 if found is None else found.size

    def _explain_push(self, told: str) -> str:
        host = self.registry.partition("/")[0]
        if any(word in told.lower() for word in _NO_LOGIN):
            return (
                f"the registry {host} (container.registry) refuses the login, or there is none: `docker login {host}` "
                f"as the user of the admin. It said: {told}"
            )
        return f"their image cannot be pushed to {self.registry} (container.registry): {told}"


def remove_containers(engine: Engine, stack: str) -> None:
    """Take away what builds of a stack have left that were killed."""
    labels = [f"{STACK_LABEL}={stack}", f"{KIND_LABEL}={_KIND}"]
    for container in engine.list("/containers/json", _Made, labels, all="1"):
        engine.delete(f"/containers/{container.id}?force=1&v=1")


def _archive(request: bytes) -> bytes:
    """The request as a file that the program alone may read, and may remove."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(_REQUEST)
        info.size, info.mode, info.uid, info.gid = len(request), 0o400, _UID, _UID
        tar.addfile(info, io.BytesIO(request))
    return out.getvalue()
