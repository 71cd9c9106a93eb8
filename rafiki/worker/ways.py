"""Both ways by which queries reach an inference worker: from predictors of this host directly, and through the cache.

The main thread waits for all of them at once. A thread of its own takes from the cache, a batch whenever the last one
was fetched from it: so nothing is taken that another worker could have. The cache tells where predictors are: a query
names the one that asks, which then listens in the job's folder if it is of this host.
"""

from __future__ import annotations

import contextlib
import logging
import re
import selectors
import socket
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol

import msgspec

from rafiki.cache.inference import RedisWorkerQueue, monotonic_ms
from rafiki.direct_way import (
    MOST_PAYLOAD_BYTES,
    BrokenFrameError,
    FrameReader,
    Hello,
    decode_queries,
    frame,
    frames_of_turn,
    socket_of,
    sockets_in,
)
from rafiki.errors import CacheUnavailableError
from rafiki.messages import InferenceWorkerSpec, Query, Reply
from rafiki.utils.process import Backoff
from rafiki.utils.sockets import connect_at

_logger = logging.getLogger(__name__)
_CACHE_WAIT_S = 20.0
_CONNECT_S = 1.0
_TRY_AGAIN_S = 0.5
"""Between two tries to reach a predictor."""
_WRITE_S = 10.0
"""A predictor that reads nothing for so long has hung: its connection ends."""
_READ_BYTES = 256 << 10
_NAME = re.compile(r"[0-9A-Za-z:-]{1,64}")


class QueryQueue(Protocol):
    """Where a worker takes queries from: :class:`rafiki.cache.inference.RedisWorkerQueue`, or both ways."""

    @property
    def now_ms(self) -> int: ...

    def exchange(self, replies: Mapping[str, Sequence[Reply]], *, most: int, timeout_s: float) -> list[Query]: ...

    def send(self, replies: Mapping[str, Sequence[Reply]]) -> None: ...


class _Predictor:
    """The connection to one predictor."""

    def __init__(self, connected: socket.socket, hello: Hello) -> None:
        connected.setblocking(False)
        self.socket = connected
        self.reply_to = ""
        """Its queue in the cache, once it has asked."""
        self.wants = 0
        """What it knows that we take."""
        self._reader = FrameReader()
        self._n_frames = 0
        self._unsent = bytearray(frame(hello))

    def tell(self, wants: int, replies: Sequence[Reply]) -> None:
        """
        Raises:
            OSError: the connection is lost.
        """
        for content in frames_of_turn(wants, self._n_frames, replies):
            self._unsent += content
        self.wants = wants
        self.flush()

    def flush(self) -> None:
        """Send what is unsent. A signal may come in between: the rest goes with what follows."""
        began = monotonic()
        while self._unsent:
            try:
                n_sent = self.socket.send(self._unsent)
            except BlockingIOError:
                left_s = began + _WRITE_S - monotonic()
                if left_s <= 0 or not _wait_for(self.socket, selectors.EVENT_WRITE, left_s):
                    raise TimeoutError("a predictor does not read") from None
                continue
            del self._unsent[:n_sent]

    def receive(self) -> list[Query]:
        """What it has sent.

        Raises:
            OSError: the connection is lost.
            BrokenFrameError: it sends what is none of this way.
        """
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionResetError
        contents = self._reader.feed(data)
        self._n_frames += len(contents)
        queries = [q for content in contents for q in decode_queries(content)]
        if queries:
            self.reply_to = queries[0].reply_to
            self.wants = 0
        return queries


def _wait_for(sock: socket.socket, event: int, timeout_s: float) -> bool:
    with selectors.PollSelector() as selector:
        selector.register(sock, event)
        return bool(selector.select(timeout_s))


class _CacheTaker:
    """A thread that takes from the queue in the cache, one batch ahead of whoever fetches it."""

    def __init__(self, queue: RedisWorkerQueue, most: int) -> None:
        self._queue = queue
        self._most = most
        self._taken: list[Query] = []
        self._is_wanted = threading.Event()
        self._is_wanted.set()
        self._is_closed = threading.Event()
        self.bell, self._rope = socket.socketpair()
        """Readable when there is something to fetch."""
        self.bell.setblocking(False)
        self.error: CacheUnavailableError | None = None
        """Why the last try failed."""
        self._thread = threading.Thread(target=self._run, name="cache-queue", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        backoff = Backoff()
        while not self._is_closed.is_set():
            self._is_wanted.wait()
            if self._is_closed.is_set():
                break
            try:
                queries = self._queue.exchange({}, most=self._most, timeout_s=_CACHE_WAIT_S)
            except CacheUnavailableError as e:
                was_well, self.error = self.error is None, e
                if was_well:
                    self._ring()
                self._is_closed.wait(backoff.next_s())
                continue
            self.error = None
            backoff.reset()
            if queries:
                ahead_ms = self._queue.now_ms - monotonic_ms()
                # Deadlines of both ways are compared by this host's clock.
                self._taken = [msgspec.structs.replace(q, deadline_ms=q.deadline_ms - ahead_ms) for q in queries]
                self._is_wanted.clear()
                self._ring()
        self._queue.close()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._rope.send(b"!")

    def fetch(self) -> list[Query]:
        """What was taken; another batch is taken from now on."""
        with contextlib.suppress(BlockingIOError):
            self.bell.recv(64)
        if self._is_wanted.is_set():
            return []
        queries, self._taken = self._taken, []
        self._is_wanted.set()
        return queries

    def close(self) -> None:
        self._is_closed.set()
        self._is_wanted.set()
        self._rope.close()
        self.bell.close()


class QueryWays:
    """The queries to one served trial, by both ways. For one thread. Times are of this host's monotonic clock."""

    def __init__(self, spec: InferenceWorkerSpec, folder: Path) -> None:
        """
        Args:
            folder: where the job's predictors of this host listen.
        """
        self._folder = folder
        self._hello = Hello(spec.trial_id, spec.service_id)
        self._prefix = f"{spec.cache.prefix}replies:"
        self._sender = RedisWorkerQueue(spec.cache, spec.trial_id)
        self._taker = _CacheTaker(RedisWorkerQueue(spec.cache, spec.trial_id), spec.batch_size)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._taker.bell, selectors.EVENT_READ)
        self._predictors: dict[Path, _Predictor] = {}
        self._tried_at: dict[Path, float] = {}
        self._held: deque[Query] = deque()
        """Came with others, and was more than was wanted."""

    @property
    def now_ms(self) -> int:
        return monotonic_ms()

    def exchange(self, replies: Mapping[str, Sequence[Reply]], *, most: int, timeout_s: float) -> list[Query]:
        """Send ``replies`` (reply queue -> its replies), then take what waits, up to ``most`` queries.

        Waits for the first query; an empty list when the timeout passes, or earlier. A reply that was sent twice does
        no harm.

        Raises:
            CacheUnavailableError: no predictor is connected, and the cache cannot be reached.
        """
        if not replies and not self._held:
            # What has come needs not to be asked for.
            self._wait(0.0)
        if not self._held:
            self._find_way()
        if replies or not self._held:
            self._give(replies, 0 if self._held else most)
        if not self._held:
            self._wait(timeout_s)
        found = [self._held.popleft() for _ in range(min(most, len(self._held)))]
        if not found:
            self._want_nothing()
        return found

    def _find_way(self) -> None:
        if self._predictors:
            return
        # The cache may be away, or the predictor it knew of: whoever listens here is found without it.
        for path in sockets_in(self._folder):
            self._connect(path)
        if self._taker.error is not None and not self._predictors:
            raise self._taker.error

    def send(self, replies: Mapping[str, Sequence[Reply]]) -> None:
        """Send ``replies``, and take nothing."""
        self._give(replies, 0)

    def _give(self, replies: Mapping[str, Sequence[Reply]], wants: int) -> None:
        by_cache = dict(replies)
        for path, predictor in list(self._predictors.items()):
            own = by_cache.get(predictor.reply_to, ())
            if any(len(r.payload) > MOST_PAYLOAD_BYTES for r in own):
                own = ()
            elif own:
                del by_cache[predictor.reply_to]
            if own or predictor.wants != wants:
                try:
                    predictor.tell(wants, own)
                except OSError:
                    # It has ended, or does not read; a queue of its replies that nobody reads is forgotten.
                    self._part(path)
        if by_cache:
            try:
                self._sender.send(by_cache)
            except CacheUnavailableError:
                # Whoever asked by the cache asks again when it is back; whoever asks directly is not to wait for it.
                if not self._predictors:
                    raise

    def _want_nothing(self) -> None:
        for path, predictor in list(self._predictors.items()):
            if predictor.wants:
                try:
                    predictor.tell(0, ())
                except OSError:
                    self._part(path)

    def _wait(self, timeout_s: float) -> None:
        """Until something comes, by whatever way."""
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                queries = self._taker.fetch()
                self._held.extend(queries)
                for reply_to in {q.reply_to for q in queries}:
                    self._look_for(reply_to)
                continue
            path: Path = key.data
            predictor = self._predictors[path]
            try:
                self._held.extend(predictor.receive())
            except (OSError, BrokenFrameError):
                self._part(path)

    def _look_for(self, reply_to: str) -> None:
        """A predictor has asked through the cache: is it of this host?"""
        name = reply_to.removeprefix(self._prefix)
        # Who writes to the job's queues may write any name.
        if not _NAME.fullmatch(name):
            return
        path = socket_of(self._folder, name)
        if path not in self._predictors:
            self._connect(path)

    def _connect(self, path: Path) -> None:
        self._tried_at = {p: at for p, at in self._tried_at.items() if monotonic() - at < _TRY_AGAIN_S}
        if path in self._tried_at:
            return
        self._tried_at[path] = monotonic()
        try:
            connected = connect_at(path, _CONNECT_S)
        except OSError:
            return
        predictor = self._predictors[path] = _Predictor(connected, self._hello)
        self._selector.register(connected, selectors.EVENT_READ, path)
        _logger.debug("queries come from %s directly", path.name)
        try:
            predictor.flush()
        except OSError:
            self._part(path)

    def _part(self, path: Path) -> None:
        predictor = self._predictors.pop(path)
        self._selector.unregister(predictor.socket)
        predictor.socket.close()

    def close(self) -> None:
        for path in list(self._predictors):
            self._part(path)
        self._selector.close()
        self._taker.close()
        self._sender.close()
