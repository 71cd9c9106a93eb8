"""A Starlette application that is served by a thread of the test."""

from __future__ import annotations

import threading

import uvicorn
from starlette.types import ASGIApp

from rafiki.contract.http_protocol import serve_guarded
from rafiki.settings import HttpConfig
from rafiki.utils.clock import Deadline
from rafiki.utils.process import wait_until
from rafiki.utils.sockets import listen


class ThreadedServer:
    """Serves on a free port, of the loopback address unless another is told, until :meth:`close`."""

    def __init__(
        self, app: ASGIApp, port: int = 0, host: str = "127.0.0.1", http: HttpConfig | None = None,
        sends_files: bool = True,
    ) -> None:  # fmt: skip
        """
        Args:
            http: serve as our own servers do, with these limits.
            sends_files: as the admin does, or as a predictor.
        """
        self._socket = listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        kind = serve_guarded(http, sends_files=sends_files) if http is not None else "auto"
        config = uvicorn.Config(app, http=kind, lifespan="off", log_level="warning", log_config=None)  # type: ignore[arg-type]
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        assert wait_until(lambda: self._server.started, Deadline(120.0))

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(30.0)
        self._socket.close()
