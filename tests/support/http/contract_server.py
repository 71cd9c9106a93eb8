"""A small HTTP server that routes and parses calls by the contract, and gives the answers that a test prepared."""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import json
import re
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from support.http.complete_answers import completed

from rafiki.contract.all import ENDPOINTS
from rafiki.contract.endpoint import AnyEndpoint, FilePart
from rafiki.contract.http_headers import VERSION_HEADER
from rafiki.errors import RafikiError


class Call(NamedTuple):
    name: str
    request: Any
    token: str | None
    files: dict[str, bytes]


class ContractServer:
    """Set ``answers[name]`` to an answer, an error to refuse with, or a function of the request.

    The answer of a stream is an iterable of events. Without one, that of a train job follows from the answers to
    ``get_train_job`` and ``get_trials_of_train_job``, which are asked until the job has ended.
    """

    def __init__(self, *, is_complete: bool = False) -> None:
        """With ``is_complete``, the fields that an answer lacks are filled in with neutral values."""
        self._is_complete = is_complete
        self.calls: list[Call] = []
        self.answers: dict[str, Any] = {}
        self.version: str | None = None
        """What it says of its version; None = nothing, as an admin before versions were told."""
        self.is_closed = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = outer.serve(self.command, self.path, self.headers, body)
                if not isinstance(answer, bytes):
                    self._stream(answer)
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                if outer.version is not None:
                    self.send_header(VERSION_HEADER, outer.version)
                self.end_headers()
                self.wfile.write(answer)

            def _stream(self, events: Iterator[dict[str, Any]]) -> None:
                self.close_connection = True
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                with contextlib.suppress(OSError):
                    for event in events:
                        self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
                        self.wfile.flush()
                        if outer.is_closed.is_set():
                            return

            do_GET = do_POST = do_DELETE = _serve

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.is_closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, bytes | Iterator[Any]]:
        parts = urlsplit(target)
        endpoint, texts = _route(method, parts.path)
        texts |= dict(parse_qsl(parts.query, keep_blank_values=True))
        files: dict[str, bytes] = {}
        values: dict[str, Any] = {}
        kind = headers.get("Content-Type") or ""
        if kind.startswith("multipart/form-data"):
            for name, (file_name, content) in _form(kind, body).items():
                if file_name:
                    files[name] = content
                    values[name] = FilePart("", file_name)
                else:
                    texts[name] = content.decode()
        elif kind.startswith("application/x-www-form-urlencoded"):
            texts |= dict(parse_qsl(body.decode(), keep_blank_values=True))
        elif body:
            values = json.loads(body)
        try:
            request = endpoint.parse_request(values, texts)
            token = (headers.get("Authorization") or "").removeprefix("Bearer ") or None
            self.calls.append(Call(endpoint.name, request, token, files))
            if endpoint.name == "watch_train_job" and endpoint.name not in self.answers:
                return 200, self._completed_events(endpoint, self._train_job_events(request))
            answer = self._answer(endpoint.name, request)
            if endpoint.is_stream:
                return 200, self._completed_events(endpoint, answer)
            if self._is_complete and not isinstance(answer, bytes):
                answer = completed(answer, endpoint.response)
        except RafikiError as e:
            return e.http_status, json.dumps({"error": e.code, "message": e.message}).encode()
        return 200, answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    def _completed_events(self, endpoint: AnyEndpoint, events: Iterable[Any]) -> Iterator[Any]:
        return (completed(e, endpoint.response) if self._is_complete else e for e in events)

    def _answer(self, name: str, request: Any) -> Any:
        answer = self.answers.get(name, {})
        answer = answer(request) if callable(answer) else answer
        if isinstance(answer, RafikiError):
            raise answer
        return answer

    def _train_job_events(self, request: Any) -> Iterator[dict[str, Any]]:
        """As the admin tells them, of a job that answers to its other calls describe."""

        def look() -> tuple[dict[str, Any], list[dict[str, Any]]]:
            # The job before its trials, as the admin does.
            return self._answer("get_train_job", request), self._answer("get_trials_of_train_job", request)

        def events() -> Iterator[dict[str, Any]]:
            job, trials = first
            yield {"type": "snapshot", "job": job, "trials": trials}
            while job["status"] not in ("STOPPED", "ERRORED"):
                if self.is_closed.wait(0.02):
                    return
                told = {t["id"]: t for t in trials}
                job, trials = look()
                yield from ({"type": "trial", "trial": t} for t in trials if told.get(t["id"]) != t)
                yield {"type": "job", "job": job}
            yield {"type": "end", "job": job}

        first = look()
        return events()


def _route(method: str, path: str) -> tuple[AnyEndpoint, dict[str, str]]:
    for e in sorted(ENDPOINTS.values(), key=lambda e: e.path.count("{")):
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", e.path)
        if e.method == method and (m := re.fullmatch(pattern, path)):
            return e, {name: unquote(text) for name, text in m.groupdict().items()}
    raise AssertionError(f"The contract has no {method} {path}")


def _form(kind: str, body: bytes) -> dict[str, tuple[str | None, bytes]]:
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    found = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = (part.get_filename(), part.get_payload(decode=True))
    return found
