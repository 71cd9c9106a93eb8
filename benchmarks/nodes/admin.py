"""The stores of an admin, served as it serves them.

``python -m benchmarks.nodes.admin FOLDER`` prints its port, and at its end the processor time that it took.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rafiki.contract.http_protocol import serve_guarded
from rafiki.settings import HttpConfig
from rafiki.store_location import folder_location
from rafiki.stores import open_data_store, open_param_store
from rafiki.stores.remote.server import StoreServer
from rafiki.utils.sockets import listen

TOKEN = "of-the-benchmark"


class _Rights:
    """Everything."""

    def read_dataset(self, store_id: str) -> None: ...
    def read_params(self, params_id: str) -> None: ...
    def write_params(self, params_id: str) -> None: ...
    def note_written(self, params_id: str) -> None: ...
    def confirm_params(self, params_id: str) -> None: ...
    def write_validation(self, params_id: str) -> None: ...
    def delete_params(self, params_id: str) -> None: ...
    def manage(self) -> None: ...


async def _small(request: Request) -> Response:
    return Response(b"{}", media_type="application/json")


def main(folder: Path) -> None:
    datasets = open_data_store(folder_location(folder / "datasets"))
    params = open_param_store(folder_location(folder / "params"))
    stores = StoreServer(datasets, params, lambda _: _Rights())
    app = Starlette(routes=[Route("/", _small), *stores.routes()])
    server = uvicorn.Server(
        uvicorn.Config(
            app, http=serve_guarded(HttpConfig()), loop="uvloop", ws="none", lifespan="off", access_log=False
        )
    )
    sock = listen("0.0.0.0", 0)
    print(sock.getsockname()[1], flush=True)

    def end_with_stdin() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_stdin, daemon=True).start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[sock]))
    print(time.process_time(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
