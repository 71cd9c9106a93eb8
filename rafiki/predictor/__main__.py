"""The predictor's process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterator
from math import ceil
from socket import socket
from typing import TYPE_CHECKING

import uvicorn

from rafiki.contract.cors import with_cors
from rafiki.contract.http_guard import allow_many_connections
from rafiki.contract.http_protocol import serve_guarded
from rafiki.contract.http_tls import renew
from rafiki.errors import ContainerError
from rafiki.messages import PredictorSpec, drain_s
from rafiki.predictor.app import PredictorApp
from rafiki.predictor.meter import report_every_second
from rafiki.predictor.page_table import make_pages
from rafiki.predictor.versions import Versions
from rafiki.service import ServiceContext, run_service
from rafiki.utils.logs import log_unexpected
from rafiki.utils.sockets import listen

if TYPE_CHECKING:
    from rafiki.predictor.tracing import Tracing

_ANSWER_S = 1.0
"""What answers take that are written at the last moment."""
_FILES_S = 0.25
"""Between two looks at the files of keys and of versions."""
_logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Leaves the signals to the frame: uvicorn would install handlers of its own for as long as it serves, lose what
    comes before, and raise the signal once more when it has shut down."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_ending = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def request_exit(self) -> None:
        """May be called from a signal handler."""
        self.should_exit = True
        self._loop.call_soon_threadsafe(self.is_ending.set)


def _listen(spec: PredictorSpec) -> socket:
    try:
        return listen(spec.host, spec.port)
    except OSError as e:
        raise ContainerError(f"The predictor cannot listen on {spec.host}:{spec.port}: {e.strerror or e}.") from e


def _open_tracing(spec: PredictorSpec) -> Tracing | None:
    """Which requests are traced. A predictor serves, whatever keeps it from that."""
    if spec.tracing is None:
        return None
    try:
        from rafiki.predictor.tracing import open_tracing  # It loads a library of 6 MB.

        return open_tracing(spec)
    except (ImportError, OSError, ValueError) as e:
        _logger.error("no request is traced: %s", e)
        return None


async def _renew(server: _Server, spec: PredictorSpec, stopped: asyncio.Event) -> None:
    if spec.tls is not None:
        server.config.load()
        if server.config.ssl is not None:
            await renew(spec.tls, server.config.ssl, stopped)


async def _drain(server: _Server, versions: Versions) -> None:
    """When the predictor is to end, what it has in hand is answered: by the members, or at last that it ends."""
    await server.is_ending.wait()
    asyncio.get_running_loop().call_later(drain_s(versions.longest_deadline_s), versions.give_up)


async def _watch_files(versions: Versions, stopped: asyncio.Event) -> None:
    """A key that is revoked is refused within a second; a version that is to answer does."""
    while not stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), _FILES_S)
        try:
            await versions.look()
        except Exception as e:  # noqa: BLE001 - the versions of before go on serving
            log_unexpected(_logger, e)


async def _serve(service: ServiceContext[PredictorSpec]) -> None:
    spec = service.spec
    versions, stopped = Versions(spec), asyncio.Event()
    tracing = _open_tracing(spec)
    app = PredictorApp(spec, versions, make_pages(spec, versions, service.stop.is_set), tracing)
    allow_many_connections()
    server = _Server(
        uvicorn.Config(
            with_cors(app, spec.http.cors_origins), http=serve_guarded(spec.http, sends_files=False), ws="none",
            lifespan="off", access_log=False, log_level="warning", log_config=None, timeout_keep_alive=75,
            server_header=False, date_header=False, proxy_headers=False,
            timeout_graceful_shutdown=ceil(drain_s(versions.longest_deadline_s) + _ANSWER_S),
            ssl_certfile=spec.tls.certificate if spec.tls else None, ssl_keyfile=spec.tls.key if spec.tls else None,
        )
    )  # fmt: skip
    sock = _listen(spec)
    service.report_running()
    reporting = asyncio.create_task(report_every_second(versions.report, stopped, versions.called))
    service.end_loading()
    service.stop.on_stop(server.request_exit)
    renewing = asyncio.create_task(_renew(server, spec, stopped))
    watching = asyncio.create_task(_watch_files(versions, stopped))
    draining = asyncio.create_task(_drain(server, versions))
    await server.serve(sockets=[sock])
    stopped.set()
    draining.cancel()
    await watching
    await renewing
    # A cache that is away must not keep a predictor from ending.
    await asyncio.wait([reporting], timeout=0.5)
    await app.close()
    if tracing is not None:
        await asyncio.to_thread(tracing.export.close)
    await versions.close()


def serve(service: ServiceContext[PredictorSpec]) -> None:
    """Answer requests until the process is asked to stop."""
    import uvloop

    uvloop.run(_serve(service))


if __name__ == "__main__":
    sys.exit(run_service(PredictorSpec, serve))
