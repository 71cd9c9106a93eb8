"""Logs of a Swarm's services, written into files of this machine while they run."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from rafiki.container.swarm_engine import Engine
from rafiki.errors import ContainerError
from rafiki.utils.clock import Deadline
from rafiki.utils.process import Backoff

_HEADER_SIZE = 8
_JOIN_TIMEOUT_S = 5.0
_LAST_TIMEOUT_S = 10.0


def payloads(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What was written, of the engine's frames: 8 bytes, of which the last four are a length, and so many bytes."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        while len(rest) >= _HEADER_SIZE:
            end = _HEADER_SIZE + int.from_bytes(rest[4:_HEADER_SIZE], "big")
            if len(rest) < end:
                break
            yield rest[_HEADER_SIZE:end]
            rest = rest[end:]


def append_missing(chunks: Iterable[bytes], file: Path) -> None:
    """Write what the file lacks of a log that is told from its beginning."""
    with file.open("ab") as out:
        known = out.tell()
        for payload in payloads(chunks):
            new = payload[known:]
            known = max(0, known - len(payload))
            if new:
                out.write(new)
                out.flush()


class _Follower:
    """One service's log, followed by a thread."""

    def __init__(self, engine: Engine, swarm_id: str, file: Path) -> None:
        self._engine = engine
        self._swarm_id = swarm_id
        self._file = file
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._close_stream = self._nothing
        self._thread = threading.Thread(target=self._follow, name=f"log of {file.name}", daemon=True)
        self._thread.start()

    @staticmethod
    def _nothing() -> None: ...

    def _follow(self) -> None:
        backoff = Backoff()
        while not self._is_over.is_set():
            try:
                stream = self._engine.stream(
                    f"/services/{self._swarm_id}/logs", follow="1", stdout="1", stderr="1", tail="all"
                )
                with self._lock:
                    self._close_stream = stream.close
                if self._is_over.is_set():
                    stream.close()
                    return
                append_missing(stream, self._file)
            except (ContainerError, OSError, ValueError):
                # Asked again: the engine may be restarting. Whether the service runs is others' concern.
                pass
            self._is_over.wait(backoff.next_s())

    def close(self) -> None:
        self._is_over.set()
        with self._lock:
            self._close_stream()
        self._thread.join(_JOIN_TIMEOUT_S)


class SwarmLogs:
    """The logs of a stack's services. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._followers: dict[str, _Follower] = {}
        self._lock = threading.Lock()

    def follow(self, swarm_id: str, file: Path) -> None:
        """Write a service's log into a file from now on; what the file has of it already stays as it is."""
        with self._lock:
            if swarm_id not in self._followers:
                self._followers[swarm_id] = _Follower(self._engine, swarm_id, file)

    def finish(self, swarm_id: str, file: Path, *, can_ask: bool) -> None:
        """The service has ended: follow it no more, and fetch what is missing where its host can be asked."""
        with self._lock:
            follower = self._followers.pop(swarm_id, None)
        if follower is not None:
            follower.close()
        if can_ask:
            self._fetch_rest(swarm_id, file)

    def _fetch_rest(self, swarm_id: str, file: Path) -> None:
        try:
            stream = self._engine.stream(f"/services/{swarm_id}/logs", stdout="1", stderr="1", tail="all")
        except ContainerError:
            return
        # A host that was lost just now does not answer, and its log would have no end.
        timer = threading.Timer(Deadline(_LAST_TIMEOUT_S).left_s(), stream.close)
        timer.start()
        try:
            append_missing(stream, file)
        finally:
            timer.cancel()

    def close(self) -> None:
        with self._lock:
            followers = list(self._followers.values())
            self._followers.clear()
        for follower in followers:
            follower.close()
