"""Sends the calls of the contract over HTTP, and turns refusals back into the errors that were raised."""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
import threading
import time
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

import msgspec

from rafiki.client.plain_http import NoConnectionError, PlainHttp
from rafiki.client.sse import parse_events
from rafiki.contract.endpoint import Answer, AnyEndpoint, Endpoint, FilePart, Request, RequestStruct
from rafiki.errors import (
    InternalError,
    InvalidRequestError,
    RafikiError,
    UnauthorizedError,
    UnreachableError,
    error_from_wire,
)
from rafiki.utils.clock import Deadline
from rafiki.utils.mismatch import explain_json

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 5.0
WATCH_PATIENCE_S = 60.0
"""How long the admin may be away from who watches: longer than a restart takes."""
SILENCE_TIMEOUT_S = 45.0
"""The longest silence on a stream of events: the admin says something every 15 s."""
IDLE_TIMEOUT_S = 60.0
"""The longest pause within an upload or a download."""

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the bytes that have travelled so far and the bytes in all."""


def _httpx() -> ModuleType:
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


class _Reader:
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


def _to_builtins(value: Any) -> Any:
    if hasattr(value, "tolist"):  # NumPy arrays and numbers
        return value.tolist()
    raise InvalidRequestError(f"A {type(value).__name__} cannot be sent as JSON. Use plain lists, dicts and numbers.")


def encode_json(value: Any) -> bytes:
    """JSON bytes of plain values and NumPy arrays.

    Raises:
        InvalidRequestError: naming the type that has no JSON form.
    """
    try:
        return msgspec.json.encode(value, enc_hook=_to_builtins)
    except TypeError as e:
        raise InvalidRequestError(f"This cannot be sent as JSON: {e}.") from e


class HttpServer:
    """One server of the stack: connections to it, and its errors. Safe to share between threads."""

    def __init__(self, host: str, port: int, *, what: str, hint: str, is_light: bool = False) -> None:
        """
        Args:
            is_light: requests without files go without httpx, which costs 100 ms to load, where no proxy is to be used.
        """
        self.address = join_address(host, port)
        self._what, self._hint = what, hint
        is_tls = host.startswith(_HTTPS)
        host = host.removeprefix(_HTTPS)
        self._is_light = is_light
        self._plain = PlainHttp(host, port, is_tls=is_tls, connect_timeout_s=CONNECT_TIMEOUT_S)
        self._is_loopback = host == "localhost" or host.startswith("127.") or host == "::1"
        self._connections: httpx.Client | None = None
        self._lock = threading.Lock()

    def _client(self) -> httpx.Client:
        httpx = _httpx()
        is_tls = self.address.startswith(_HTTPS)
        with self._lock:
            if self._connections is None:
                self._connections = httpx.Client(
                    base_url=self.address if is_tls else f"http://{self.address}",
                    # The machine's own certificates (or SSL_CERT_FILE), where those of a company are installed. Without
                    # TLS there is nothing to verify, and reading certificates costs 20 ms.
                    verify=ssl.create_default_context() if is_tls else False,
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
        **parts: Any,
    ) -> bytes:
        """The body of a successful answer."""
        if self._is_light and "files" not in parts and not self._has_proxy():
            return self._send_plain(method, path, timeout_s=timeout_s, **parts)
        httpx = _httpx()
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
            raise self._refusal(answer.status_code, answer.content)
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
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> bytes:
        from http.client import HTTPException

        target = f"{path}?{urlencode(params, quote_via=quote)}" if params else path

        def ask() -> tuple[int, bytes]:
            start_s = time.perf_counter()
            answer = self._plain.request(method, target, body=content, headers=headers, timeout_s=timeout_s)
            took_ms = 1000 * (time.perf_counter() - start_s)
            scheme = "" if self.address.startswith(_HTTPS) else "http://"
            logger.debug("%s %s%s%s: %d in %.0f ms", method, scheme, self.address, target, answer[0], took_ms)
            return answer

        try:
            try:
                status, body = ask()
            except (ConnectionError, HTTPException):
                # A kept connection may end just when it is used again; a second GET does no harm.
                if method != "GET":
                    raise
                status, body = ask()
        except NoConnectionError as e:
            raise self._no_connection(str(e)) from e
        except TimeoutError as e:
            raise self._no_answer(timeout_s) from e
        except (OSError, HTTPException, ValueError) as e:
            raise self._broken(str(e)) from e
        if not 200 <= status < 300:
            raise self._refusal(status, body)
        return body

    def download(self, path: str, out: Path, *, headers: Mapping[str, str], progress: Progress | None = None) -> None:
        """Write the body of a successful answer to ``out`` as it comes in."""
        timeout = _httpx().Timeout(IDLE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with (
            self._as_errors(IDLE_TIMEOUT_S),
            self._client().stream("GET", path, timeout=timeout, headers=headers) as answer,
        ):
            if not answer.is_success:
                raise self._refusal(answer.status_code, answer.read())
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
        timeout = _httpx().Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with (
            self._as_errors(SILENCE_TIMEOUT_S),
            self._client().stream("GET", path, timeout=timeout, headers=headers) as answer,
        ):
            if not answer.is_success:
                raise self._refusal(answer.status_code, answer.read())
            yield from parse_events(answer.iter_bytes())

    @contextlib.contextmanager
    def _as_errors(self, timeout_s: float) -> Iterator[None]:
        httpx = _httpx()
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

    def _no_connection(self, reason: str) -> UnreachableError:
        if "CERTIFICATE" in reason:
            return UnreachableError(
                f"The certificate of {self.address} is not trusted by this machine: {reason.partition('] ')[2]}. "
                "Install its authority's certificate, or name it with SSL_CERT_FILE."
            )
        return UnreachableError(f"No {self._what} answers at {self.address}. {self._hint}")

    def _no_answer(self, timeout_s: float) -> UnreachableError:
        return UnreachableError(
            f"The {self._what} at {self.address} did not answer within {timeout_s:g} s. {self._hint}"
        )

    def _broken(self, reason: str) -> UnreachableError:
        return UnreachableError(
            f"The connection to the {self._what} at {self.address} broke: {reason.rstrip('.')}. {self._hint}"
        )

    def _refusal(self, status: int, body: bytes) -> RafikiError:
        with contextlib.suppress(msgspec.DecodeError):
            found = msgspec.json.decode(body)
            if isinstance(found, dict) and isinstance(found.get("error"), str):
                return error_from_wire(found["error"], str(found.get("message") or ""), status)
        if status >= 500:
            return InternalError(
                f"The {self._what} at {self.address} failed (HTTP status {status}). Look into `rafiki logs`."
            )
        return UnreachableError(
            f"What answers at {self.address} (status {status}) is not a Rafiki {self._what}. {self._hint}"
        )

    def decode(self, body: bytes) -> Any:
        """The JSON of an answer as plain dicts and lists."""
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError as e:
            raise self._not_ours() from e

    def _not_ours(self) -> UnreachableError:
        return UnreachableError(f"What answers at {self.address} is not a Rafiki {self._what}. {self._hint}")


class Away(msgspec.Struct, frozen=True, kw_only=True, tag="away"):
    """The admin does not answer who watches a stream, which is tried again; then the stream begins with a snapshot."""

    reason: str
    left_s: float
    """How long it is still tried."""


class ContractCaller(HttpServer):
    """Makes calls of the contract with the token of whoever is logged in: those of typed requests answer with the
    records of the contract, and ``_plain`` calls with dicts and lists as they came."""

    def __init__(self, host: str, port: int, *, is_light: bool = False) -> None:
        hint = "Start the stack with `rafiki up`, or check the address."
        super().__init__(host, port, what="admin", hint=hint, is_light=is_light)
        self.token: str | None = None

    def call(
        self, endpoint: Endpoint[Request, Answer], request: Request, *, progress: Progress | None = None
    ) -> Answer:
        """One call. Fields that are None do not travel.

        Raises:
            UnauthorizedError: when the call needs a login and there is none.
            InvalidRequestError: when a file to upload cannot be read.
            UnreachableError: when no admin answers in time, or one of another version of Rafiki.
            RafikiError: the error that the admin raised.
        """
        body = self._exchange(endpoint, _fields_of(request), progress)
        return cast(Answer, body) if endpoint.response is bytes else self._decode_as(endpoint, body)

    def call_plain(self, endpoint: AnyEndpoint, *, progress: Progress | None = None, **fields: Any) -> Any:
        """Like :meth:`call`, for fields and an answer of plain values.

        Raises:
            InvalidRequestError: also when a field is unknown.
        """
        body = self._exchange(endpoint, fields, progress)
        return body if endpoint.response is bytes else self.decode(body)

    def call_to_file(
        self,
        endpoint: Endpoint[Request, bytes],
        request: Request,
        out: Path,
        *,
        progress: Progress | None = None,
    ) -> None:
        """Like :meth:`call`, for an answer in bytes that goes to a file."""
        path, _, headers = self._prepare(endpoint, _fields_of(request))
        try:
            self.download(path, out, headers=headers, progress=progress)
        except OSError as e:
            raise InvalidRequestError(f"{out}: cannot be written: {e.strerror}.") from e

    def watch(
        self,
        endpoint: Endpoint[Request, Answer],
        request: Request,
        *,
        patience_s: float,
        stop: threading.Event | None = None,
    ) -> Iterator[Answer | Away]:
        """The events of a stream, until its end; a broken one is opened again. Events of kinds that are not in the
        contract, because the admin is newer, are left out.

        While no admin answers, an :class:`Away` comes before each try. A stream that was opened again begins with a
        snapshot, like every other.

        Args:
            patience_s: how long the admin may be away, once the stream has begun.
            stop: set from another thread to end the waits between tries.

        Raises:
            UnreachableError: when no admin answers at first, or it is away for longer.
            RafikiError: the error that the admin raised.
        """
        kinds = _kinds_of(endpoint)
        for event in self._events(endpoint, _fields_of(request), patience_s, stop):
            if isinstance(event, Away):
                yield event
            elif event[0] in kinds:
                yield self._decode_as(endpoint, event[1])

    def watch_plain(
        self, endpoint: AnyEndpoint, *, patience_s: float, stop: threading.Event | None = None, **fields: Any
    ) -> Iterator[dict[str, Any]]:
        """Like :meth:`watch`, for events of plain values, whatever their kind."""
        for event in self._events(endpoint, fields, patience_s, stop):
            yield msgspec.to_builtins(event) if isinstance(event, Away) else self.decode(event[1])

    def _exchange(self, endpoint: AnyEndpoint, fields: Mapping[str, Any], progress: Progress | None) -> bytes:
        path, rest, headers = self._prepare(endpoint, fields)
        timeout_s = endpoint.timeout_s
        if endpoint.method == "GET":
            return self.send("GET", path, params=_as_texts(rest), headers=headers, timeout_s=timeout_s)
        if endpoint.is_form:
            return self._send_form(endpoint, path, rest, headers, progress)
        content = encode_json(rest)
        headers["Content-Type"] = "application/json"
        return self.send(endpoint.method, path, content=content, headers=headers, timeout_s=timeout_s)

    def _decode_as(self, endpoint: Endpoint[Any, Answer], body: bytes) -> Answer:
        try:
            return cast(Answer, msgspec.json.decode(body, type=endpoint.response))
        except msgspec.ValidationError as e:
            reason = explain_json(body, endpoint.response)
            raise UnreachableError(
                f"The admin at {self.address} is of another version of Rafiki, whose answer to {endpoint.name} cannot "
                f"be read: {reason}. Use the version of its stack."
            ) from e
        except msgspec.DecodeError as e:
            raise self._not_ours() from e

    def _events(
        self, endpoint: AnyEndpoint, fields: Mapping[str, Any], patience_s: float, stop: threading.Event | None
    ) -> Iterator[tuple[str, bytes] | Away]:
        """The events of a stream as (kind, data); see :meth:`watch`."""
        path, _, headers = self._prepare(endpoint, fields)
        from rafiki.utils.process import Backoff

        backoff, stop = Backoff(0.1, 2.0), stop or threading.Event()
        away: Deadline | None = None
        has_begun = False
        while True:
            try:
                for kind, data in self.open_stream(path, headers=headers):
                    if kind == "error":
                        event = self.decode(data)
                        error = error_from_wire(event["error"], event["message"])
                        if error.http_status < 500:
                            raise error
                        raise UnreachableError(error.message)
                    has_begun, away = True, None
                    backoff.reset()
                    yield kind, data
                    if kind == "end":
                        return
                raise UnreachableError(f"The admin at {self.address} ended the stream.")
            except UnreachableError as e:
                away = away or Deadline(patience_s)
                if not has_begun or away.is_over():
                    raise
                yield Away(reason=e.message, left_s=away.left_s())
            if stop.wait(min(backoff.next_s(), away.left_s() + 0.01)):
                return

    def _prepare(self, endpoint: AnyEndpoint, fields: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, str]]:
        if unknown := fields.keys() - endpoint.fields.keys():
            raise InvalidRequestError(f"{endpoint.name} takes no {', '.join(sorted(unknown))}.")
        headers: dict[str, str] = {}
        if endpoint.roles is not None:
            if self.token is None:
                raise UnauthorizedError(
                    f"Not logged in at {self.address}. Log in with `rafiki login`, or with Client.login()."
                )
            headers["Authorization"] = f"Bearer {self.token}"
        path = re.sub(r"{(\w+)}", lambda m: quote(str(fields[m[1]]), safe=""), endpoint.path)
        rest = {n: v for n, v in fields.items() if v is not None and n not in endpoint.path_fields}
        return path, rest, headers

    def _send_form(
        self,
        endpoint: AnyEndpoint,
        path: str,
        fields: Mapping[str, Any],
        headers: dict[str, str],
        progress: Progress | None,
    ) -> bytes:
        texts = _as_texts({n: v for n, v in fields.items() if not isinstance(v, FilePart)})
        with contextlib.ExitStack() as stack:
            files = {}
            for name, part in fields.items():
                if isinstance(part, FilePart):
                    files[name] = (part.file_name, _open(part.path, progress, stack))
            # A server that refuses a file early hangs up before its last byte; httpx reads that answer too.
            return self.send(
                endpoint.method, path, data=texts, files=files, headers=headers, timeout_s=endpoint.timeout_s,
                timeouts={"write": IDLE_TIMEOUT_S, "pool": IDLE_TIMEOUT_S},
            )  # fmt: skip


def _open(path: str, progress: Progress | None, stack: contextlib.ExitStack) -> Any:
    try:
        size = Path(path).stat().st_size
        file = Path(path).open("rb")  # noqa: SIM115 (closed by the stack)
        stack.callback(file.close)
    except OSError as e:
        raise InvalidRequestError(f"{path}: this file cannot be read: {e.strerror}.") from e
    return _Reader(file, size, progress) if progress else file


def _fields_of(request: RequestStruct) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__struct_fields__}


def _kinds_of(stream: AnyEndpoint) -> frozenset[str]:
    """The kinds of a stream's events."""
    events = typing.get_args(stream.response) or (stream.response,)
    return frozenset(event.__struct_config__.tag for event in events)


def _as_texts(fields: Mapping[str, Any]) -> dict[str, str]:
    """Fields as they travel in a query string or a form: lists and dicts as JSON."""
    return {n: v if isinstance(v, str) else encode_json(v).decode() for n, v in fields.items()}
