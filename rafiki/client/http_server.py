"""One server of the stack over HTTP: connections to it, and its refusals as the errors that were raised."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, TypedDict, Unpack
from urllib.parse import quote, urlencode

import msgspec

from rafiki import __version__
from rafiki.client.plain_http import NoConnectionError, NoHttpError, PlainAnswer, PlainHttp
from rafiki.client.sse import parse_events
from rafiki.client.trust import Trust
from rafiki.contract.http_headers import VERSION_HEADER
from rafiki.distribution import USER_AGENT
from rafiki.errors import (
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    RafikiError,
    UnreachableError,
    error_from_wire,
)
from rafiki.utils.values import JsonObject, JsonValue

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 5.0
WATCH_PATIENCE_S = 60.0
"""How long the admin may be away from who watches: longer than a restart takes."""
CRASH_PATIENCE_S = 4.0
"""The same of a person's command, where the admin went without a word: what looks after it may start it at once."""
SILENCE_TIMEOUT_S = 45.0
"""The longest silence on a stream of events: the admin says something every 15 s."""
IDLE_TIMEOUT_S = 60.0
"""The longest pause within an upload or a download."""

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
_CLOSED_AT_ONCE = ("closed without an answer", "disconnected without sending a response")
_MISUNDERSTOOD = (InvalidRequestError, NotFoundError, MethodNotAllowedError)
"""What a server of another version says of a call, or of a field, that it does not know."""

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the bytes that have travelled so far and the bytes in all."""


def load_httpx() -> ModuleType:
    import httpx  # Costs 100 ms, so that only programs that make a call pay for it.

    return httpx


_HTTPS = "https://"


def split_address(address: str, what: str) -> tuple[str, int]:
    """``host:port`` in its parts (IPv6 as ``[::1]:3000``). The host of an ``https://`` address keeps that beginning.

    Raises:
        InvalidRequestError: when it is not of that form.
    """
    scheme = _HTTPS if address.startswith(_HTTPS) else ""
    host, _, port = address.removeprefix("http://").removeprefix(_HTTPS).rstrip("/").rpartition(":")
    if not re.fullmatch(r"[^/@?#\s]+", host) or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise InvalidRequestError(f"{address!r} is not the address of {what}. Write host:port, as in localhost:3000.")
    return scheme + host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address; ``https://`` before the host stays there."""
    name = host.removeprefix(_HTTPS)
    scheme = host[: len(host) - len(name)]
    return f"{scheme}[{name}]:{port}" if ":" in name else f"{scheme}{name}:{port}"


def _note_start(request: httpx.Request) -> None:
    request.extensions["rafiki_start_s"] = time.perf_counter()


def _log_answer(answer: httpx.Response) -> None:
    """Tell of a request at level DEBUG. Never its headers or body: tokens and passwords travel in those."""
    request = answer.request
    took_ms = 1000 * (time.perf_counter() - request.extensions["rafiki_start_s"])
    logger.debug("%s %s: %d in %.0f ms", request.method, request.url, answer.status_code, took_ms)


class ProgressReader:
    """A file that tells how far it was read. httpx reads it in chunks, never as a whole."""

    def __init__(self, file: IO[bytes], size: int, progress: Progress) -> None:
        self._file, self._size, self._progress = file, size, progress

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._progress(self._file.tell(), self._size)
        return chunk


def _to_builtins(value: object) -> object:
    if hasattr(value, "tolist"):  # NumPy arrays and numbers
        plain: object = value.tolist()
        return plain
    raise InvalidRequestError(f"A {type(value).__name__} cannot be sent as JSON. Use plain lists, dicts and numbers.")


def encode_json(value: object) -> bytes:
    """JSON bytes of plain values and NumPy arrays.

    Raises:
        InvalidRequestError: naming the type that has no JSON form.
    """
    try:
        return msgspec.json.encode(value, enc_hook=_to_builtins)
    except TypeError as e:
        raise InvalidRequestError(f"This cannot be sent as JSON: {e}.") from e


class RequestParts(TypedDict, total=False):
    """What a request carries, named as httpx does."""

    headers: Mapping[str, str]
    params: Mapping[str, str]
    content: bytes
    data: Mapping[str, str]
    files: Mapping[str, tuple[str, IO[bytes]]]


class HttpServer:
    """One server of the stack: connections to it, and its errors. Safe to share between threads."""

    def __init__(
        self, host: str, port: int, *, what: str, hint: str, is_light: bool = False, trust: Trust | None = None
    ) -> None:
        """
        Args:
            trust: whose certificates are taken; None = those of the machine's authorities.
            is_light: requests without files go without httpx, which costs 100 ms to load, where no proxy is to be used.
        """
        self.address = join_address(host, port)
        self._what, self._hint = what, hint
        self._is_light = is_light
        self.trust = trust or Trust()
        self._plain = PlainHttp(host, port, connect_timeout_s=CONNECT_TIMEOUT_S, trust=self.trust)
        host = host.removeprefix(_HTTPS)
        self._is_loopback = host == "localhost" or host.startswith("127.") or host == "::1"
        self._connections: httpx.Client | None = None
        self._lock = threading.Lock()
        self.server_version: str | None = None
        """The version of Rafiki that answered last; None until one has said it."""

    def _client(self) -> httpx.Client:
        httpx = load_httpx()
        is_tls = self.address.startswith(_HTTPS)
        with self._lock:
            if self._connections is None:
                self._connections = httpx.Client(
                    base_url=self.address if is_tls else f"http://{self.address}",
                    headers={"User-Agent": USER_AGENT},
                    # Without TLS there is nothing to verify, and reading certificates costs 20 ms.
                    verify=self.trust.context() if is_tls else False,
                    # A proxy from the environment must not catch calls to this machine.
                    trust_env=not self._is_loopback,
                    limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
                    event_hooks={"request": [_note_start], "response": [_log_answer]},
                )
            return self._connections

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._plain.close()
        if self._connections is not None:
            self._connections.close()
            self._connections = None

    def send(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        timeouts: Mapping[str, float] | None = None,
        **parts: Unpack[RequestParts],
    ) -> bytes:
        """The body of a successful answer."""
        if self._is_light and "files" not in parts and not self._has_proxy():
            return self._send_plain(
                method, path, timeout_s=timeout_s, headers=parts.get("headers", {}), params=parts.get("params"),
                content=parts.get("content"),
            )  # fmt: skip
        httpx = load_httpx()
        timeout = httpx.Timeout(timeout_s, **{"connect": CONNECT_TIMEOUT_S, **(timeouts or {})})
        with self._as_errors(timeout_s):
            try:
                answer = self._client().request(method, path, timeout=timeout, **parts)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # A kept connection may end just when it is used again; a second GET does no harm.
                if method != "GET":
                    raise
                answer = self._client().request(method, path, timeout=timeout, **parts)
        if not answer.is_success:
            raise self._refusal(answer.status_code, answer.content, answer.headers.get(VERSION_HEADER))
        self._note_version(answer.headers.get(VERSION_HEADER))
        return bytes(answer.content)

    def _has_proxy(self) -> bool:
        if self._is_loopback:
            return False
        from urllib.request import getproxies

        return bool(getproxies())

    def _send_plain(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        content: bytes | None,
    ) -> bytes:
        target = f"{path}?{urlencode(params, quote_via=quote)}" if params else path

        def ask() -> PlainAnswer:
            start_s = time.perf_counter()
            answer = self._plain.request(
                method, target, body=content, headers=headers, timeout_s=timeout_s, while_silent=self._check_it_lives
            )
            took_ms = 1000 * (time.perf_counter() - start_s)
            scheme = "" if self.address.startswith(_HTTPS) else "http://"
            logger.debug("%s %s%s%s: %d in %.0f ms", method, scheme, self.address, target, answer.status, took_ms)
            return answer

        try:
            try:
                answer = ask()
            except (ConnectionError, NoHttpError):
                # A kept connection may end just when it is used again; a second GET does no harm.
                if method != "GET":
                    raise
                answer = ask()
        except NoConnectionError as e:
            raise self._no_connection(str(e)) from e
        except TimeoutError as e:
            raise self._no_answer(timeout_s) from e
        except (OSError, ValueError) as e:
            raise self._broken(str(e)) from e
        if not 200 <= answer.status < 300:
            raise self._refusal(answer.status, answer.body, answer.version)
        self._note_version(answer.version)
        return answer.body

    def download(self, path: str, out: Path, *, headers: Mapping[str, str], progress: Progress | None = None) -> None:
        """Write the body of a successful answer to ``out`` as it comes in."""
        timeout = load_httpx().Timeout(IDLE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with (
            self._as_errors(IDLE_TIMEOUT_S),
            self._client().stream("GET", path, timeout=timeout, headers=headers) as answer,
        ):
            if not answer.is_success:
                raise self._refusal(answer.status_code, answer.read(), answer.headers.get(VERSION_HEADER))
            total, done = int(answer.headers.get("content-length") or 0), 0
            # Beside it first: a connection that breaks must not cost what was there.
            part = out.with_name(f".{out.name}.part")
            try:
                with part.open("wb") as f:
                    for chunk in answer.iter_bytes():
                        f.write(chunk)
                        done += len(chunk)
                        if progress is not None:
                            progress(done, max(total, done))
                part.replace(out)
            finally:
                part.unlink(missing_ok=True)

    def open_stream(self, path: str, *, headers: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
        """The events of a stream as (kind, data), as they come in. Ends with the answer.

        Raises:
            UnreachableError: when no server answers, or the connection breaks or is silent for too long.
            RafikiError: the server refuses.
        """
        timeout = load_httpx().Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with (
            self._as_errors(SILENCE_TIMEOUT_S),
            self._client().stream("GET", path, timeout=timeout, headers=headers) as answer,
        ):
            if not answer.is_success:
                raise self._refusal(answer.status_code, answer.read(), answer.headers.get(VERSION_HEADER))
            yield from parse_events(answer.iter_bytes())

    @contextlib.contextmanager
    def _as_errors(self, timeout_s: float) -> Iterator[None]:
        httpx = load_httpx()
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as e:
            raise self._no_connection(str(e)) from e
        except httpx.PoolTimeout as e:
            raise UnreachableError(f"All connections to {self.address} are busy. Send fewer calls at once.") from e
        except httpx.TimeoutException as e:
            raise self._no_answer(timeout_s) from e
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise self._broken(str(e)) from e

    def _check_it_lives(self) -> None:
        """Asked while an answer takes long; what it raises ends the call."""

    def _no_connection(self, reason: str) -> UnreachableError:
        if "CERTIFICATE" in reason:
            return UnreachableError(
                f"The certificate of {self.address} is not trusted by this machine: {reason.partition('] ')[2]}. "
                "Install its authority's certificate, or name its file with --ca or RAFIKI_CA."
            )
        if self.address.startswith(_HTTPS) and any(words in reason for words in _NO_TLS):
            return UnreachableError(f"What answers at {self.address} speaks no TLS. Leave out https://.")
        return UnreachableError(f"No {self._what} answers at {self.address}. {self._hint}")

    def _no_answer(self, timeout_s: float) -> UnreachableError:
        return UnreachableError(
            f"The {self._what} at {self.address} did not answer within {timeout_s:g} s. {self._hint}"
        )

    def _broken(self, reason: str) -> UnreachableError:
        is_plain = not self.address.startswith(_HTTPS)
        is_closed = is_plain and any(words in reason for words in _CLOSED_AT_ONCE)
        tls = f" Where it speaks TLS, write https://{self.address}." if is_closed else ""
        return UnreachableError(
            f"The connection to the {self._what} at {self.address} broke: {reason.rstrip('.')}. {self._hint}{tls}"
        )

    def _note_version(self, version: str | None) -> None:
        self.server_version = version or self.server_version

    def say_versions(self) -> str | None:
        """That server and client are of two versions, as a sentence; None when they are not, or it is not known."""
        if self.server_version is None or self.server_version == __version__:
            return None
        return f"The {self._what} at {self.address} is version {self.server_version}, this client is {__version__}."

    def _refusal(self, status: int, body: bytes, version: str | None) -> RafikiError:
        self._note_version(version)
        with contextlib.suppress(msgspec.DecodeError):
            found = msgspec.json.decode(body)
            if isinstance(found, dict) and isinstance(found.get("error"), str):
                error = error_from_wire(found["error"], str(found.get("message") or ""), status)
                if isinstance(error, _MISUNDERSTOOD) and (versions := self.say_versions()):
                    return error.with_message(f"{error.message} {versions} Use one version on both sides.")
                return error
        if status >= 500:
            return InternalError(
                f"The {self._what} at {self.address} failed (HTTP status {status}). Look into `rafiki logs`."
            )
        return UnreachableError(
            f"What answers at {self.address} (status {status}) is not a Rafiki {self._what}. {self._hint}"
        )

    def decode(self, body: bytes) -> JsonValue:
        """The JSON of an answer as plain dicts and lists."""
        try:
            value: JsonValue = msgspec.json.decode(body)
        except msgspec.DecodeError as e:
            raise self._not_ours() from e
        return value

    def decode_object(self, body: bytes) -> JsonObject:
        """Like :meth:`decode`, of an answer that is a JSON object."""
        value = self.decode(body)
        if not isinstance(value, dict):
            raise self._not_ours()
        return value

    def _not_ours(self) -> UnreachableError:
        return UnreachableError(f"What answers at {self.address} is not a Rafiki {self._what}. {self._hint}")
