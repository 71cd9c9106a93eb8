"""What people call a service: ``train demo/1 SkDt#2``. And the list of these names beside the logs.

A name follows from the slot that a service has in its job, so a restart keeps it. The list is what `rafiki logs` reads
where no admin runs: each line of it is a service that was started.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from rafiki.constants import ServiceType
from rafiki.utils.files import write_atomic

_FILE = "services.jsonl"
_MOST_BYTES = 256 * 1024
"""A list that is longer, and twice as long as when it was last shortened, loses those whose logs are gone."""


def service_name(
    kind: ServiceType, app: str, version: int, *, model: str | None = None, trial_no: int | None = None, slot: int = 0
) -> str:
    """``train demo/1 SkDt#2``: the second train worker of the model. ``inference demo/1 SkDt#10``: who serves trial 10
    (``SkDt#10.2``: the second who does). ``advisor demo/1 SkDt``, ``predict demo/1``.
    """
    name = f"{kind.lower()} {app}/{version}"
    if kind is ServiceType.TRAIN:
        return f"{name} {model}#{slot + 1}"
    if kind is ServiceType.INFERENCE:
        return f"{name} {model}#{trial_no}" + (f".{slot + 1}" if slot else "")
    return f"{name} {model}" if kind is ServiceType.ADVISOR else name


class NamedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service that was started."""

    id: str
    name: str
    job_id: str
    attempt: int
    """1, and one more for each restart in its slot."""


class ServiceNames:
    """The list in a folder of logs. One process writes it; a line that was cut short is left out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / _FILE
        self._most_bytes = _MOST_BYTES

    def log_file(self, kind: ServiceType, service_id: str) -> Path:
        """Where the log of a service is read."""
        return self._folder / f"{kind.lower()}-{service_id}.log"

    def add(self, service: NamedService) -> None:
        """Note a service. A disk that takes no line costs the name, not the service."""
        with contextlib.suppress(OSError):
            self._shorten()
            with self._file.open("ab") as f:
                f.write(msgspec.json.encode(service) + b"\n")

    def read(self) -> dict[str, NamedService]:
        """The services by id, oldest first."""
        try:
            lines = self._file.read_bytes().splitlines()
        except OSError:
            return {}
        found = {}
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                service = msgspec.json.decode(line, type=NamedService)
                found[service.id] = service
        return found

    def _shorten(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._file.stat().st_size < self._most_bytes:
                return
            logs = [name for name in os.listdir(self._folder) if name.endswith(".log")]
            kept = [s for s in self.read().values() if any(s.id in name for name in logs)]
            lines = b"".join(msgspec.json.encode(s) + b"\n" for s in kept)
            write_atomic(self._file, lines)
            self._most_bytes = max(_MOST_BYTES, 2 * len(lines))
