"""Specs of services that run elsewhere: they fetch theirs from the admin, with their tokens."""

from __future__ import annotations

import re
from pathlib import Path

from rafiki.errors import InvalidServiceError
from rafiki.utils.files import write_atomic

_SERVICE_ID = re.compile(r"[0-9a-f-]{36}")


class SpecShelf:
    """One file a service, mode 0600, in a folder of the stack: they outlive the admin's process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, service_id: str, spec: bytes) -> None:
        write_atomic(self._file(service_id), spec, mode=0o600)

    def get(self, service_id: str) -> bytes:
        """
        Raises:
            InvalidServiceError: when there is none.
        """
        try:
            return self._file(service_id).read_bytes()
        except FileNotFoundError as e:
            raise InvalidServiceError("There is no spec of this service (any more).") from e

    def remove(self, service_id: str) -> None:
        self._file(service_id).unlink(missing_ok=True)

    def _file(self, service_id: str) -> Path:
        if not _SERVICE_ID.fullmatch(service_id):
            raise InvalidServiceError(f"{service_id[:80]!r} is no id of a service.")
        return self._folder / f"{service_id}.remote-spec"
