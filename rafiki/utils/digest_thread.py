"""A SHA-256 that is computed beside what else is done with the bytes: on another core, where there is one."""

from __future__ import annotations

import hashlib
import queue
import threading

_MOST_WAITING = 16
"""Chunks: so much memory may wait to be hashed."""


class DigestThread:
    """As a hash object, for the use by one thread. Its own thread ends with :meth:`close`."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._waiting: queue.Queue[bytes | memoryview | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (chunk := self._waiting.get()) is not None:
            # Large chunks are hashed without the lock of the interpreter.
            self._digest.update(chunk)
            self._waiting.task_done()

    def update(self, chunk: bytes | memoryview) -> None:
        """Adds a chunk, which nobody may change any more."""
        self._waiting.put(chunk)

    def hexdigest(self) -> str:
        """Of all chunks until now; waits for those that are not hashed yet."""
        self._waiting.join()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Ends the thread. Does nothing the second time."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
