"""The Docker engine of a Swarm manager: its HTTP interface, in the few requests that are made of it."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from rafiki.errors import ContainerError

_TIMEOUT_S = 30.0
_OLDEST_API = (1, 41)
"""Docker 20.10: the first one that takes capabilities from the services of a Swarm."""
_POOL = 64
_NOT_FOUND = 404
_CONFLICT = 409
_NO_SWARM = 503
_FIRST_REFUSAL = 400
_NOBODY = base64.urlsafe_b64encode(b"{}").decode()
"""The login of nobody."""
T = TypeVar("T")


class SwarmInfo(msgspec.Struct, rename="pascal"):
    node_id: str = msgspec.field(name="NodeID", default="")
    local_node_state: str = "inactive"
    control_available: bool = False


class EngineInfo(msgspec.Struct, rename="pascal"):
    name: str = ""
    swarm: SwarmInfo = msgspec.field(default_factory=SwarmInfo)


class Chunks(Protocol):
    """An answer that comes in pieces."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None:
        """End it. From any thread."""


class AnswerError(ContainerError):
    """The engine refused a request."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def told(self) -> str:
        """The engine's own words."""
        return self.message.partition(": ")[2].rstrip(".")


class Engine:
    """One engine. Safe to use from several threads."""

    def __init__(self, url: str | None, timeout_s: float = _TIMEOUT_S) -> None:
        """
        Args:
            url: where it answers; None = what the environment says (``DOCKER_HOST``), else this machine's socket.

        Raises:
            ContainerError: none answers there, or it is too old.
        """
        # Loaded on demand: it takes a quarter of a second.
        from docker import APIClient
        from docker.errors import DockerException
        from docker.utils import kwargs_from_env

        self._timeout_s = timeout_s
        options = {**kwargs_from_env(), **({"base_url": url} if url else {})}
        place = str(options.get("base_url") or "this machine's socket")
        try:
            self._api = APIClient(**options, version="auto", timeout=timeout_s, num_pools=_POOL)
        except (DockerException, OSError) as e:
            told = " ".join(str(e).split())[:200]
            raise ContainerError(
                f"No Docker engine answers at {place}: {told}. Start Docker there, or name another engine with "
                "container.engine in rafiki.yaml or with DOCKER_HOST."
            ) from e
        if tuple(map(int, self._api.api_version.split("."))) < _OLDEST_API:
            raise ContainerError(
                f"The Docker engine at {place} is too old (API {self._api.api_version}): Docker 20.10 or later is "
                "needed. Upgrade it, or name another engine with container.engine in rafiki.yaml."
            )
        self._root = f"{self._api.base_url}/v{self._api.api_version}"
        self.place = place

    @property
    def plain_host(self) -> str | None:
        """The host that is spoken to without TLS over a network; None = a socket, SSH or TLS."""
        url = str(self._api.base_url)
        return urlsplit(url).hostname if url.startswith("http://") else None

    def has_api(self, major: int, minor: int) -> bool:
        return tuple(map(int, self._api.api_version.split("."))) >= (major, minor)

    # ---- requests

    def get(self, path: str, kind: type[T], **params: str) -> T:
        """What the engine answers, as ``kind``.

        Raises:
            AnswerError: it refuses. ContainerError: it cannot be reached, or answers something else.
        """
        return self._decode(self._request("GET", path, params=params), kind)

    def find(self, path: str, kind: type[T]) -> T | None:
        """As :meth:`get`; None when it is not there."""
        try:
            return self.get(path, kind)
        except AnswerError as e:
            if e.status != _NOT_FOUND:
                raise
            return None

    def list(self, path: str, kind: type[T], labels: list[str], **params: str) -> list[T]:
        """All of what has these labels, each ``name=value``."""
        filters = json.dumps({"label": labels})
        return self.get(path, list[kind], filters=filters, **params)  # type: ignore[valid-type]

    def post(self, path: str, body: object = None, **params: str) -> bytes:
        """Raises: as :meth:`get`."""
        return self._request("POST", path, params=params, body=body)

    def commit(self, container: str, repository: str, tag: str, timeout_s: float) -> None:
        """Make an image of what a container has changed of its own. Raises: as :meth:`get`."""
        params = {"container": container, "repo": repository, "tag": tag, "pause": "0", "changes": 'CMD ["python"]'}
        self._request("POST", "/commit", params=params, body={}, timeout_s=timeout_s)

    def put_archive(self, container: str, folder: str, archive: bytes) -> None:
        """Unpack a tar file in a container. Raises: as :meth:`get`."""
        self._request("PUT", f"/containers/{container}/archive", params={"path": folder}, data=archive)

    def delete(self, path: str) -> None:
        """Raises: as :meth:`get`; what is not there is no error."""
        with missing_is_fine():
            self._request("DELETE", path, params={})

    def create_service(self, spec: dict[str, object], image: str) -> str:
        """Its id. The credentials of the image's registry go with it, so that nodes may pull it."""
        answer = self._request("POST", "/services/create", params={}, body=spec, headers=self._login(image))
        return self._decode(answer, _Created).id

    def get_with_login(self, path: str, kind: type[T], image: str) -> T:
        """As :meth:`get`, with the credentials of an image's registry."""
        return self._decode(self._request("GET", path, params={}, headers=self._login(image)), kind)

    def pull(self, image: str, timeout_s: float) -> None:
        """Have an image on this node.

        Raises:
            AnswerError: its registry does not give it. ContainerError: the engine cannot be reached.
        """
        said = self._request(
            "POST", "/images/create", params={"fromImage": image}, headers=self._login(image), timeout_s=timeout_s
        )
        self._read_progress(said)

    def push(self, image: str, timeout_s: float) -> str:
        """Have an image in its registry; its digest there.

        Raises:
            AnswerError: its registry does not take it. ContainerError: the engine cannot be reached.
        """
        name, _, tag = image.rpartition(":")
        # Without a login the engine wants one all the same.
        headers = self._login(image) or {"X-Registry-Auth": _NOBODY}
        said = self._request("POST", f"/images/{name}/push", params={"tag": tag}, headers=headers, timeout_s=timeout_s)
        digests = [line.aux.digest for line in self._read_progress(said) if line.aux is not None]
        if not digests or digests[-1] is None:
            raise AnswerError("The Docker engine refused: it told no digest of what it has pushed", _NOT_FOUND)
        return digests[-1]

    def find_digest(self, image: str) -> tuple[str | None, str | None]:
        """The digest that a name means in its registry, or why it cannot be told.

        Raises:
            ContainerError: the engine cannot be reached.
        """
        try:
            found = self.get_with_login(f"/distribution/{image}/json", _Distribution, image)
            return found.descriptor.digest, None
        except AnswerError as e:
            return None, e.told

    def _read_progress(self, said: bytes) -> tuple[_Progress, ...]:
        """What an engine says while it transfers: the answer has begun before a registry refuses, which is told in it.

        Raises:
            AnswerError: it did.
        """
        lines = tuple(self._decode(line, _Progress) for line in said.splitlines() if line.strip())
        for line in lines:
            if line.error is not None:
                raise AnswerError(f"The Docker engine refused: {' '.join(line.error.split())[:300]}", _NOT_FOUND)
        return lines

    def _login(self, image: str) -> dict[str, str]:
        """The header with the credentials that `docker login` left for an image's registry."""
        from docker import auth

        registry, _ = auth.resolve_repository_name(image)
        # Somebody may have logged in since.
        self._api.reload_config()
        header = auth.get_config_header(self._api, registry)
        return {"X-Registry-Auth": header.decode() if isinstance(header, bytes) else header} if header else {}

    def stream(self, path: str, **params: str) -> Chunks:
        """The chunks of an answer that may have no end; ``close()`` ends it, from any thread."""
        from docker.types import CancellableStream
        from requests.exceptions import RequestException

        try:
            # No time-out for reading: whoever waits is ended by close().
            response = self._api.get(self._root + path, params=params, stream=True, timeout=(self._timeout_s, None))
        except (RequestException, OSError) as e:
            raise ContainerError(self._told(e)) from e
        if response.status_code >= _FIRST_REFUSAL:
            raise AnswerError(self._refusal(response.content), response.status_code)
        chunks: Chunks = CancellableStream(response.iter_content(chunk_size=None), response)
        return chunks

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str],
        body: object = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        from requests.exceptions import RequestException

        try:
            response = self._api.request(
                method, self._root + path, params=params, json=body, data=data, headers=headers,
                timeout=timeout_s or self._timeout_s,
            )  # fmt: skip
        except (RequestException, OSError) as e:
            raise ContainerError(self._told(e)) from e
        if response.status_code == _NO_SWARM and path != "/info":
            raise AnswerError(
                f"The Docker engine at {self.place} is no manager of a Swarm any more. Services of this stack that ran "
                "in it have ended with it. Make one again (`docker swarm init` there, `docker swarm join` on the other "
                f"machines), and jobs go on; or `rafiki down`. It said: {self._refusal(response.content)}",
                response.status_code,
            )
        if response.status_code >= _FIRST_REFUSAL:
            raise AnswerError(self._refusal(response.content), response.status_code)
        content: bytes = response.content
        return content

    def _told(self, error: Exception) -> str:
        return f"The Docker engine at {self.place} does not answer: {' '.join(str(error).split())[:200]}"

    @staticmethod
    def _refusal(content: bytes) -> str:
        try:
            told = msgspec.json.decode(content, type=_Refusal).message
        except msgspec.DecodeError:
            told = content.decode(errors="replace")
        return f"The Docker engine refused: {' '.join(told.split())[:300]}"

    def _decode(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as e:
            raise ContainerError(f"The Docker engine at {self.place} answered something else: {e}") from e

    def close(self) -> None:
        self._api.close()


class _Created(msgspec.Struct):
    id: str = msgspec.field(name="ID")


class _Pushed(msgspec.Struct, rename="pascal"):
    digest: str | None = None


class _Progress(msgspec.Struct):
    error: str | None = None
    aux: _Pushed | None = None


class _Descriptor(msgspec.Struct):
    digest: str


class _Distribution(msgspec.Struct, rename="pascal"):
    descriptor: _Descriptor


class _Refusal(msgspec.Struct):
    message: str


@contextlib.contextmanager
def missing_is_fine() -> Iterator[None]:
    """Whoever removes or changes what is gone has what it wanted."""
    try:
        yield
    except AnswerError as e:
        if e.status != _NOT_FOUND:
            raise


def is_conflict(error: AnswerError) -> bool:
    """Whether what was to be made is there already."""
    return error.status == _CONFLICT
