"""``serve.py`` of an export: ``POST /predict`` and ``GET /``, as a predictor of Rafiki answers them."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import msgspec

from rafiki.constants import ExitCode
from rafiki.contract.body_encoding import decode_body
from rafiki.contract.refusal import refusal_body
from rafiki.errors import (
    InternalError,
    InvalidRequestError,
    RafikiError,
    RequestTooLargeError,
)
from rafiki.exported.batches import Batches
from rafiki.exported.ensemble import Answer, Ensemble, Manifest
from rafiki.predictor.bodies import BodyForm, read_body
from rafiki.predictor.openapi import ServedApp
from rafiki.predictor.protocol import which_query, write_answer
from rafiki.predictor.routes import Content, Routes, refusal_of
from rafiki.tasks.registry import get_task
from rafiki.utils.logs import log_unexpected, set_up_logging

_logger = logging.getLogger(__name__)

_NULL = b"null"
_IDLE_S = 75.0
_LATIN = ("latin-1", "replace")
_MOST_QUERIES = 4096
"""In one request."""


class ExportServer(ThreadingHTTPServer):
    """Threads that speak HTTP; another one predicts."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, address: tuple[str, int], manifest: Manifest, batches: Batches, *, deadline_s: float, max_body_bytes: int
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.manifest, self.batches = manifest, batches
        self.deadline_s, self.max_body_bytes = deadline_s, max_body_bytes
        self.version = str(manifest.app_version)
        self.routes = routes = Routes("server")
        routes.add("/", self.health)
        routes.serve_model(manifest.app, lambda: self.version, get_task(manifest.task), lambda: None)
        described = ServedApp(manifest.app, self.version, get_task(manifest.task), {}, False, deadline_s)
        routes.describe_app(lambda: described)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # As the base class of ours does, without its look-up of this machine's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def health(self) -> Content:
        """``GET /``."""
        m = self.manifest
        told = msgspec.json.encode(
            {
                "name": "rafiki export", "version": m.rafiki_version, "app": m.app, "app_version": m.app_version,
                "task": m.task, "members": [member.trial_id for member in m.members], "absent": [],
            }
        )  # fmt: skip
        return Content(told)

    def predict(self, form: BodyForm, body: bytes) -> bytes:
        """The body that answers a request for predictions.

        Raises:
            RafikiError: the refusal.
        """
        asked = read_body(body, form, self.deadline_s, most_queries=_MOST_QUERIES, most_bytes=self.max_body_bytes)
        answers = self.batches.ask(asked.queries, asked.timeout_s) if asked.queries else []
        predictions = [_prediction(answer, which_query(asked, i)) for i, answer in enumerate(answers)]
        left_out = dict.fromkeys((trial_id for answer in answers for trial_id in answer.left_out), "failed")
        return write_answer(asked, predictions, left_out, self.version)


def _prediction(answer: Answer, which: str) -> bytes:
    if answer.error is not None:
        raise type(answer.error)(which + answer.error.message)
    return answer.prediction or _NULL


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "rafiki-export"
    timeout: ClassVar[float] = _IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1
    server: ExportServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        path = unquote(path)
        page = Content(b"")
        try:
            # Read in any case: what is left unread would be taken for the next request.
            body = self._body()
            found = self.server.routes.find(self.command, path)
            if isinstance(found, BodyForm):
                encoding = self.headers.get("content-encoding", "").strip().lower()

                body = decode_body(body, encoding, self.server.max_body_bytes)
                page = Content(self.server.predict(found.told(query.encode(*_LATIN), self._raw_headers()), body))
            else:
                page = found()
            status = 200
        except RafikiError as e:
            status, page = e.http_status, Content(refusal_of(path, e))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as e:  # noqa: BLE001 - the edge of the server: one request's failure must not end it
            log_unexpected(_logger, e)
            error = InternalError("The server itself failed. What it wrote tells why.")
            status, page = 500, Content(refusal_of(path, error))
        self.send_response(status)
        self.send_header("content-type", page.content_type.decode())
        self.send_header("content-length", str(len(page.body)))
        for name, value in page.headers:
            self.send_header(name.decode(), value.decode())
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(page.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no request that this server knows, in the form of all other refusals."""
        self.close_connection = True
        body = refusal_body(InvalidRequestError(f"This is no valid HTTP request: {message or explain or code}."))
        self.send_response(code, message)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _raw_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.lower().encode(*_LATIN), value.encode(*_LATIN)) for name, value in self.headers.items()]

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "0")
        if self.headers.get("transfer-encoding") or not length.isdecimal():
            self.close_connection = True
            raise InvalidRequestError("The body must come with its content-length, and not in chunks.")
        if int(length) > self.server.max_body_bytes:
            self.close_connection = True
            raise RequestTooLargeError(
                f"The request is larger than {self.server.max_body_bytes:,} bytes (--max-body-mb)."
            )
        return self.rfile.read(int(length))


def main(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(prog="serve.py", description=f"Serve the models in {folder.name} over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port; 0 = any free one (default: %(default)s)")
    parser.add_argument("--deadline-s", type=float, default=10.0, help="longest wait for a prediction (%(default)s)")
    parser.add_argument("--max-body-mb", type=int, default=64, help="largest request (default: %(default)s)")
    options = parser.parse_args(arguments)
    set_up_logging(runs_model_code=True)
    try:
        ensemble = Ensemble(folder)
        batches = Batches(ensemble.answer)
        server = ExportServer(
            (options.host, options.port), ensemble.manifest, batches,
            deadline_s=options.deadline_s, max_body_bytes=options.max_body_mb << 20,
        )  # fmt: skip
    except RafikiError as e:
        sys.stderr.write(f"error: {e.message}\n")
        return e.exit_code
    except (OSError, OverflowError) as e:
        sys.stderr.write(f"error: cannot listen on {options.host}:{options.port}: {e}.\n")
        return ExitCode.FAILURE
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: batches.stop())
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    host = f"[{options.host}]" if ":" in options.host else options.host
    m = ensemble.manifest
    sys.stderr.write(f"{m.app} v{m.app_version}: http://{host}:{server.server_port}/predict\n")
    sys.stderr.flush()
    # Models predict in the thread that loaded them, as in an inference worker.
    batches.run()
    server.shutdown()
    server.server_close()
    ensemble.close()
    return ExitCode.OK
