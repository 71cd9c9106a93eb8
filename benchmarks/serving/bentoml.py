"""BentoML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.serving.packaged import SERVERS, PackagedPeer, PackagedServer
from benchmarks.serving.peer import Setting
from benchmarks.serving.settings import SINGLE

_ADAPTIVE = Setting("batches of 32, adaptive", 32)


class _OfBatches(PackagedServer):
    """What it joins are batches: each request is a batch of one."""

    def body_of(self, query: Any) -> bytes:
        return super().body_of([query])

    def prediction_in(self, answer: Any) -> list[float]:
        return list(answer[0])


class _Plain(PackagedServer):
    def prediction_in(self, answer: Any) -> list[float]:
        return list(answer)


class BentoML(PackagedPeer):
    name = "bentoml"
    requirement = "bentoml"
    # Its server takes both where they are there, and is slower without.
    more = ("uvloop", "httptools")
    settings = (SINGLE, _ADAPTIVE)
    common = _ADAPTIVE

    def command(self, port: int) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(SERVERS)]
        return ["-m", "bentoml", "serve", "bentoml_app:Predict", *where, "--quiet"]

    def variables(self, folder: Path) -> Mapping[str, str]:
        return {"BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}

    def running(self, port: int, setting: Setting, run: str, pids: Path) -> PackagedServer:
        made = _Plain if setting.batch == 1 else _OfBatches
        return made(port, self.path, run, pids)
