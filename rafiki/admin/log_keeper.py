"""Keeps logs within a limit: what is full is kept once more beside it, and begins anew.

Those who write have their files open, each for appending, so a log is copied and cut: what is written in between is
lost, a few lines at most.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

_logger = logging.getLogger(__name__)

EVERY_S = 5.0
OLD_SUFFIX = ".1"
"""Of what a log held before it was cut."""
_PIECE_BYTES = 1 << 20


class LogKeeper:
    """Of one folder; a thread that looks every few seconds.

    Args:
        folder: of the logs.
        max_bytes: of one log; twice as much with what it held before.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def shut_down(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            try:
                self.look()
            except OSError as e:
                _logger.warning("logs are not cut: %s", e)

    def look(self) -> None:
        """Cut what is too large.

        Raises:
            OSError: the folder cannot be read.
        """
        for file in sorted(self._folder.glob("*.log")):
            try:
                if file.stat(follow_symlinks=False).st_size > self._max_bytes and not file.is_symlink():
                    self._cut(file)
            except OSError as e:
                _logger.warning("the log %s is not cut: %s", file.name, e)

    def _cut(self, file: Path) -> None:
        old = file.with_name(file.name + OLD_SUFFIX)
        # The one before goes first: on a full disk that makes space for this one.
        old.unlink(missing_ok=True)
        try:
            _copy_end(file, old, self._max_bytes)
        except OSError:
            # A full disk: the log is what fills it.
            old.unlink(missing_ok=True)
        os.truncate(file, 0)


def _copy_end(file: Path, to: Path, most_bytes: int) -> None:
    """Copy the end of a file, from the beginning of a line."""
    with file.open("rb") as source, to.open("xb") as target:
        os.fchmod(target.fileno(), 0o600)
        start = max(0, os.fstat(source.fileno()).st_size - most_bytes)
        source.seek(start)
        if start:
            source.readline()
        while piece := source.read(_PIECE_BYTES):
            target.write(piece)
