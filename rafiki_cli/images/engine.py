"""Docker engines, in what is done with images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypedDict

from rafiki.distribution import PACKAGES_LABEL
from rafiki.errors import ContainerError

_TIMEOUT_S = 600.0
"""A build says nothing while it takes what it was sent."""


_NO_LOGIN = ("unauthorized", "no basic auth", "denied", "authentication required", "401")
"""Words of engines and registries."""


class Progress(TypedDict, total=False):
    """One line of what an engine says of a build or a push."""

    stream: str
    status: str
    id: str
    error: str


class Api(Protocol):
    """What of docker-py's client is used."""

    def build(self, **options: object) -> Iterator[Progress]: ...

    def push(self, repository: str, *, stream: bool, decode: bool) -> Iterator[Progress]: ...

    def get_image(self, image: str) -> Iterator[bytes]: ...

    def load_image(self, data: Iterator[bytes]) -> Iterator[Progress]: ...

    def inspect_image(self, image: str) -> dict[str, object]: ...


class ImageEngine:
    """One engine.

    Args:
        url: where it answers; None = what the environment says, else this machine's.
    """

    def __init__(self, url: str | None) -> None:
        from docker import APIClient
        from docker.errors import DockerException
        from docker.utils import kwargs_from_env

        options = {**kwargs_from_env(), **({"base_url": url} if url else {})}
        self.place = str(options.get("base_url") or "this machine's socket")
        try:
            self._api: Api = APIClient(**options, version="auto", timeout=_TIMEOUT_S)
        except (DockerException, OSError) as e:
            raise ContainerError(
                f"No Docker engine answers at {self.place}: {' '.join(str(e).split())[:200]}. Start Docker there, or "
                "name another with --engine, container.engine or DOCKER_HOST."
            ) from e

    def build(self, context: Path, image: str, python: str, packages: Mapping[str, str], part: str) -> Iterator[str]:
        """Build an image of a tar file; yields what the engine says.

        Args:
            python: the version of its base.
            packages: the versions of what is in it, which the image says.
            part: the stage of the Dockerfile that is the image.

        Raises:
            ContainerError: it cannot be built.
        """
        with context.open("rb") as file, _errors(f"build {image}"):
            said = self._api.build(
                fileobj=file, custom_context=True, tag=image, rm=True, decode=True, buildargs={"PYTHON": python},
                target=part,
                labels={PACKAGES_LABEL: json.dumps(dict(sorted(packages.items())))},
            )  # fmt: skip
            yield from _told(said, f"build {image}")

    def push(self, image: str) -> Iterator[str]:
        """Raises: ContainerError: the registry refuses it, or its login."""
        try:
            with _errors(f"push {image}"):
                yield from _told(self._api.push(image, stream=True, decode=True), f"push {image}")
        except ContainerError as e:
            if not any(words in e.message for words in _NO_LOGIN):
                raise
            registry = image.partition("/")[0]
            raise ContainerError(
                f"The registry {registry} refuses the login, or there is none: `docker login {registry}` on this "
                f"machine, then push again. It said: {e.message}"
            ) from e

    def size_bytes(self, image: str) -> int:
        """Raises: ContainerError: the image is not there."""
        with _errors(f"find {image}"):
            return int(str(self._api.inspect_image(image)["Size"]))

    def has(self, image: str) -> str | None:
        """The image's id; None when it is not there."""
        from docker.errors import ImageNotFound

        try:
            return str(self._api.inspect_image(image)["Id"])
        except ImageNotFound:
            return None

    def copy_to(self, other: ImageEngine, image: str) -> None:
        """Raises: ContainerError: it cannot be read here, or written there."""
        with _errors(f"copy {image} to {other.place}"):
            for said in other._api.load_image(self._api.get_image(image)):
                if error := said.get("error"):
                    raise ContainerError(f"{other.place}: {image} cannot be loaded: {error}")


class _errors:
    """Turns what docker-py raises into ContainerError."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        if isinstance(error, DockerException | RequestException):
            raise ContainerError(f"Could not {self._doing}: {' '.join(str(error).split())[:300]}") from error


def _told(said: Iterator[Progress], doing: str) -> Iterator[str]:
    for line in said:
        if error := line.get("error"):
            raise ContainerError(f"Could not {doing}: {' '.join(error.split())[:300]}")
        if (text := line.get("stream", "").strip()) or (text := line.get("status", "")):
            yield text
