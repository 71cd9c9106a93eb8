"""Rafiki: one stack of real processes for the whole run, with its default settings; each server is a deployment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil

import rafiki
from benchmarks.serving.peer import Peer, Running, Setting
from benchmarks.serving.rows import ENSEMBLE
from benchmarks.session import QUICK, Session
from rafiki.utils.process import find_stack_processes

_DEFAULT = Setting("default")
_MODELS = {"tree": "tree64", "images": "tree_images", "forest": "forest64", ENSEMBLE: "tree64"}


class Deployment(Running):
    path = "/predict"

    def __init__(self, session: Session, address: str) -> None:
        self._stack = session.stack
        self.host, _, port = address.rpartition(":")
        self.port = int(port)

    def _of(self, module: str) -> list[psutil.Process]:
        found = []
        for process in find_stack_processes(self._stack.root):
            with contextlib.suppress(psutil.Error):
                arguments = process.cmdline()
                # The box around it has the same arguments, after its own.
                if module in arguments and Path(arguments[0]).name != "bwrap":
                    found.append(process)
        return found

    def front(self) -> list[psutil.Process]:
        return self._of("rafiki.predictor")

    def models(self) -> list[psutil.Process]:
        return self._of("rafiki.worker.inference")

    def others(self) -> list[psutil.Process]:
        """The cache, the admin, and the boxes around model code."""
        named = {process.pid for process in (*self.front(), *self.models())}
        return [p for p in find_stack_processes(self._stack.root) if p.pid not in named]


class Rafiki(Peer):
    name = "rafiki"
    settings = (_DEFAULT,)
    common = _DEFAULT

    def __init__(self) -> None:
        self._session = Session(QUICK)

    def find_missing(self) -> str | None:
        return None

    def version(self) -> str:
        return rafiki.__version__

    @contextlib.contextmanager
    def serve(self, model: str, setting: Setting) -> Iterator[Running]:
        app = self._session.trained(_MODELS[model])
        ensemble = {"method": "mean", "size": 2} if model == ENSEMBLE else None
        client = self._session.stack.client
        job = client.create_inference_job(app, ensemble=ensemble)
        try:
            yield Deployment(self._session, job["predictor_host"])
        finally:
            client.stop_inference_job(app)

    def close(self) -> None:
        self._session.__exit__(None, None, None)
