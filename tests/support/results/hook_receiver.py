"""A real HTTP receiver of webhooks, which checks signatures as the how-to page says, and may misbehave."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def is_genuine(secret: str, headers: Any, body: bytes) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    is_new = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return is_new and any(hmac.compare_digest(wanted, given) for given in headers["webhook-signature"].split())


class HookReceiver:
    """``answer`` gives the status of an answer, or None for none at all: the connection is closed."""

    def __init__(self, secret: str = "") -> None:
        self.secret = secret
        self.got: list[dict[str, Any]] = []
        """Bodies of messages that were answered with 2xx, in their order."""
        self.refused: list[dict[str, Any]] = []
        self.is_genuine: list[bool] = []
        self.answer: Callable[[dict[str, Any]], int | None] = lambda body: 204
        self.location: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(raw)
                outer.is_genuine.append(is_genuine(outer.secret, self.headers, raw))
                assert self.headers["webhook-id"] == body["id"]
                status = outer.answer(body)
                if status is None:
                    outer.refused.append(body)
                    self.close_connection = True
                    return
                (outer.got if 200 <= status < 300 else outer.refused).append(body)
                self.send_response(status)
                if outer.location is not None:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def types(self) -> list[str]:
        return [body["type"] for body in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
