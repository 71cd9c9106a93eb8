"""Calls of the contract as the user who is logged in, and the streams that the admin pushes."""

from __future__ import annotations

import contextlib
import re
import threading
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import quote

import msgspec

from rafiki.client.http_server import (
    IDLE_TIMEOUT_S,
    WATCH_PATIENCE_S,
    HttpServer,
    Progress,
    ProgressReader,
    encode_json,
)
from rafiki.client.trust import Trust
from rafiki.contract.endpoint import Answer, AnyEndpoint, Endpoint, ErrorBody, FilePart, Request, RequestStruct
from rafiki.contract.http_headers import STACK_HEADER
from rafiki.errors import (
    AdminLostError,
    AdminStoppedError,
    InvalidRequestError,
    RafikiError,
    StackDownError,
    UnauthorizedError,
    UnreachableError,
    error_from_wire,
)
from rafiki.utils.clock import Deadline
from rafiki.utils.values import JsonObject

if TYPE_CHECKING:
    from rafiki.stack_folder import StackFolder

HANG_S = 5.0
"""An admin that does not say for so long how it is hangs."""
ADMIN_HINT = "Start the stack with `rafiki up`, or check the address."


class Away(msgspec.Struct, frozen=True, kw_only=True, tag="away"):
    """The admin does not answer who watches a stream, which is tried again; then the stream begins with a snapshot."""

    reason: str
    left_s: float
    """How long it is still tried."""


class ContractCaller(HttpServer):
    """Makes calls of the contract with the token of whoever is logged in: those of typed requests answer with the
    records of the contract, and ``_plain`` calls with dicts and lists as they came."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        is_light: bool = False,
        crash_patience_s: float = WATCH_PATIENCE_S,
        down_patience_s: float = WATCH_PATIENCE_S,
        hint: str = ADMIN_HINT,
        trust: Trust | None = None,
    ) -> None:
        """
        Args:
            crash_patience_s: the longest time for which a stream waits for an admin that went without a word.
            down_patience_s: the same for one that was stopped with its stack.
            hint: what to do when no admin answers, for people.
            trust: whose certificates are taken; None = those of the machine's authorities.
        """
        super().__init__(host, port, what="admin", hint=hint, is_light=is_light, trust=trust)
        self.token: str | None = None
        self._crash_patience_s, self._down_patience_s = crash_patience_s, down_patience_s
        self.stack_id: str | None = None
        """Of the stack that is meant: the admin of another one refuses the calls. None = whoever answers."""
        self.down: UnreachableError | None = None
        """Why nobody is asked: the stack that is meant does not run, by its own files."""
        self.stack: StackFolder | None = None
        """The folder of the stack that is meant, where that is on this machine: it tells an admin that was stopped from
        one that has crashed."""
        self.find_token: Callable[[], str | None] | None = None
        """Asked once, at the first call that needs a token while there is none."""

    def known_token(self) -> str | None:
        """The token of whoever is logged in, here or elsewhere.

        Raises:
            RafikiError: when the login that was made elsewhere cannot be used.
        """
        if self.token is None and self.find_token is not None:
            find, self.find_token = self.find_token, None
            self.token = find()
        return self.token

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

    def call_plain(
        self, endpoint: AnyEndpoint, fields: Mapping[str, object], *, progress: Progress | None = None
    ) -> object:
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
            patience_s: how long the admin may be away, once the stream has begun; less where it crashed or was stopped,
                as this client was made.
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
        self,
        endpoint: AnyEndpoint,
        fields: Mapping[str, object],
        *,
        patience_s: float,
        stop: threading.Event | None = None,
    ) -> Iterator[JsonObject]:
        """Like :meth:`watch`, for events of plain values, whatever their kind."""
        for event in self._events(endpoint, fields, patience_s, stop):
            yield msgspec.to_builtins(event) if isinstance(event, Away) else self.decode_object(event[1])

    def _exchange(self, endpoint: AnyEndpoint, fields: Mapping[str, object], progress: Progress | None) -> bytes:
        path, rest, headers = self._prepare(endpoint, fields)
        timeout_s = endpoint.timeout_s
        if endpoint.method == "GET":
            return self.send("GET", path, params=_as_texts(rest), headers=headers, timeout_s=timeout_s)
        if endpoint.is_form:
            return self._send_form(endpoint, path, rest, headers, progress)
        content = encode_json(rest)
        headers["Content-Type"] = "application/json"
        return self.send(endpoint.method, path, content=content, headers=headers, timeout_s=timeout_s)

    def _decode_as(self, endpoint: Endpoint[RequestStruct, Answer], body: bytes) -> Answer:
        try:
            return msgspec.json.decode(body, type=endpoint.answer_type)
        except msgspec.ValidationError as e:
            from rafiki.utils.mismatch import explain_json

            reason = explain_json(body, endpoint.response)
            versions = self.say_versions() or f"The admin at {self.address} is of another version of Rafiki."
            raise UnreachableError(
                f"{versions} Its answer to {endpoint.name} cannot be read: {reason}. Use one version on both sides."
            ) from e
        except msgspec.DecodeError as e:
            raise self._not_ours() from e

    def _events(
        self, endpoint: AnyEndpoint, fields: Mapping[str, object], patience_s: float, stop: threading.Event | None
    ) -> Iterator[tuple[str, bytes] | Away]:
        """The events of a stream as (kind, data); see :meth:`watch`."""
        path, _, headers = self._prepare(endpoint, fields)
        from rafiki.utils.process import Backoff

        backoff, stop = Backoff(0.1, 2.0), stop or threading.Event()
        away: Deadline | None = None
        has_begun = False
        last_word: RafikiError | None = None
        while True:
            try:
                for kind, data in self.open_stream(path, headers=headers):
                    if kind == "error":
                        last_word = self._error_of(data)
                        if last_word.http_status < 500 or isinstance(last_word, UnreachableError):
                            raise last_word
                        raise UnreachableError(last_word.message)
                    has_begun, last_word, away = True, None, None
                    backoff.reset()
                    yield kind, data
                    if kind == "end":
                        return
                raise UnreachableError(f"The admin at {self.address} ended the stream.")
            except UnreachableError as e:
                away = away or Deadline(min(patience_s, self._patience_s(last_word)))
                if not has_begun:
                    raise
                if away.is_over() or self._is_down_for_good(e, last_word):
                    raise self._say_gone(e, last_word) from e
                yield Away(reason=e.message, left_s=away.left_s())
            if stop.wait(min(backoff.next_s(), away.left_s() + 0.01)):
                return

    def _patience_s(self, last_word: RafikiError | None) -> float:
        if isinstance(last_word, AdminStoppedError):
            return WATCH_PATIENCE_S
        return self._down_patience_s if isinstance(last_word, StackDownError) else self._crash_patience_s

    def _is_down_for_good(self, error: UnreachableError, last_word: RafikiError | None) -> bool:
        """Whether nobody waits: the stack was stopped, though the stream did not say so."""
        is_down = isinstance(error, StackDownError) and not isinstance(last_word, AdminStoppedError)
        return is_down and not self._down_patience_s

    def _say_gone(self, error: UnreachableError, last_word: RafikiError | None) -> UnreachableError:
        """How a stream ends whose admin has not come back."""
        if error is last_word:
            return error
        if isinstance(error, StackDownError) and self.stack is not None and self.stack.root.exists():
            # The stream broke before its admin's last word got through; but it answered before, and did not crash.
            return StackDownError(
                f"The stack in {self.stack.root} was stopped with `rafiki down`. Jobs go on at the next `rafiki up`."
            )
        if last_word is not None or isinstance(error, AdminLostError | StackDownError):
            return error
        return AdminLostError(f"The admin went away without a word: it crashed, or its network did. {error.message}")

    def _no_connection(self, reason: str) -> UnreachableError:
        return self._tell_apart(super()._no_connection(reason))

    def _broken(self, reason: str) -> UnreachableError:
        return self._tell_apart(super()._broken(reason))

    def _no_answer(self, timeout_s: float) -> UnreachableError:
        try:
            self._check_it_lives()
        except AdminLostError as e:
            return e
        return super()._no_answer(timeout_s)

    def _tell_apart(self, error: UnreachableError) -> UnreachableError:
        """An admin that nobody reaches: one that was stopped, or one that is gone without that."""
        if self.stack is None:
            return error
        try:
            if (loss := self.stack.find_loss()) is not None:
                return loss
            is_down = not self.stack.is_starting and self.stack.find_admin() is None
        except PermissionError:
            return error
        if not is_down:
            return error
        return StackDownError(f"The stack in {self.stack.root} does not run. Start it with `rafiki up`.")

    def _check_it_lives(self) -> None:
        """Raise when the admin does not even say how it is, which takes it no time.

        Raises:
            AdminLostError: it hangs.
        """
        try:
            self._plain.request("GET", "/", body=None, headers={}, timeout_s=HANG_S)
        except TimeoutError as e:
            raise AdminLostError(
                f"The admin at {self.address} takes connections, but has not answered for {HANG_S:g} s: it hangs, or "
                "its machine does. `rafiki doctor` looks further."
            ) from e
        except (OSError, ValueError):
            return  # The call itself says what is wrong.

    def _error_of(self, data: bytes) -> RafikiError:
        try:
            body = msgspec.json.decode(data, type=ErrorBody)
        except msgspec.DecodeError as e:
            raise self._not_ours() from e
        return error_from_wire(body.error, body.message)

    def _prepare(
        self, endpoint: AnyEndpoint, fields: Mapping[str, object]
    ) -> tuple[str, dict[str, object], dict[str, str]]:
        if unknown := fields.keys() - endpoint.fields.keys():
            raise InvalidRequestError(f"{endpoint.name} takes no {', '.join(sorted(unknown))}.")
        if self.down is not None:
            raise self.down
        headers: dict[str, str] = {} if self.stack_id is None else {STACK_HEADER: self.stack_id}
        if endpoint.roles is not None:
            if (token := self.known_token()) is None:
                raise UnauthorizedError(
                    f"Not logged in at {self.address}. Log in with `rafiki login`, or with Client.login()."
                ).with_name()
            headers["Authorization"] = f"Bearer {token}"
        path = re.sub(r"{(\w+)}", lambda m: quote(str(fields[m[1]]), safe=""), endpoint.path)
        rest = {n: v for n, v in fields.items() if v is not None and n not in endpoint.path_fields}
        return path, rest, headers

    def _send_form(
        self,
        endpoint: AnyEndpoint,
        path: str,
        fields: Mapping[str, object],
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


def _open(path: str, progress: Progress | None, stack: contextlib.ExitStack) -> IO[bytes]:
    try:
        size = Path(path).stat().st_size
        file = Path(path).open("rb")  # noqa: SIM115 (closed by the stack)
        stack.callback(file.close)
    except OSError as e:
        raise InvalidRequestError(f"{path}: this file cannot be read: {e.strerror}.") from e
    # httpx asks a file for no more than a ProgressReader has.
    return cast(IO[bytes], ProgressReader(file, size, progress)) if progress else file


def _fields_of(request: RequestStruct) -> dict[str, object]:
    return {name: getattr(request, name) for name in request.__struct_fields__}


def _kinds_of(stream: AnyEndpoint) -> frozenset[str]:
    """The kinds of a stream's events."""
    events = cast(tuple[type[msgspec.Struct], ...], typing.get_args(stream.response) or (stream.response,))
    return frozenset(str(event.__struct_config__.tag) for event in events)


def _as_texts(fields: Mapping[str, object]) -> dict[str, str]:
    """Fields as they travel in a query string or a form: lists and dicts as JSON."""
    return {
        n: v if isinstance(v, str) else v.isoformat() if isinstance(v, datetime) else encode_json(v).decode()
        for n, v in fields.items()
    }
