"""Streams of events: how changes reach whoever watches.

A stream is an async generator on the server's event loop; it holds no thread while it waits. Whoever changes something
leaves a note: the supervisor here (:meth:`EventHub.note`), advisors and predictors on a channel of the cache, to which
the hub listens while anybody watches. A note wakes the streams of its job, and each reads what has changed. No queue
grows for a slow client: what it is sent next is how things stand then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack, cast

import anyio
import msgspec

from rafiki.cache.changes import Change, RedisChanges
from rafiki.contract.endpoint import ErrorBody
from rafiki.entities import User
from rafiki.errors import AdminStoppedError, CacheUnavailableError, RafikiError, TooManyStreamsError
from rafiki.messages import CacheAddress, PredictorReport
from rafiki.utils.logs import log_unexpected
from rafiki.utils.process import Backoff

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_logger = logging.getLogger(__name__)

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
F = TypeVar("F")

PAUSE_S = 0.1
"""Between two looks of one stream: what happens meanwhile is told together."""
RELOOK_S = 5.0
"""Without a note, a stream looks again after this time: a note may be lost."""
KEEP_ALIVE_S = 15.0
"""A stream with nothing to tell says so, that neither side takes the other for gone. Then it also looks whether the
user may still see what is told."""
SERVICES = "services"
"""The topic of all services."""

_ALL = frozenset(Change)
_READERS = 4
"""Threads that read for all streams together: calls that are no streams keep theirs."""
_MOST_STREAMS = 500
_MOST_OF_A_USER = 100
_CHUNK_BYTES = 64 * 1024


class Listener:
    """One stream's ear, on the event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._changes: set[Change] = set()

    def tell(self, change: Change) -> None:
        self._changes.add(change)
        self._event.set()

    async def wait(self, timeout_s: float) -> frozenset[Change]:
        """What has changed since the last call, waiting for something; empty when the timeout passes first."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout_s)
        return self.take()

    def take(self) -> frozenset[Change]:
        """What has changed since the last call."""
        self._event.clear()
        found, self._changes = frozenset(self._changes), set()
        return found


class EventHub:
    """Who watches what. Everything but :meth:`note` and :meth:`note_all` belongs to the server's event loop."""

    def __init__(self, address: CacheAddress) -> None:
        self._address = address
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: dict[str, set[Listener]] = defaultdict(set)
        self._by_user: dict[str, int] = defaultdict(int)
        self._noted_at: dict[tuple[str, Change], float] = {}
        self._feeds: dict[str, tuple[object, int]] = {}
        self._cache: RedisChanges | None = None
        self._listening: asyncio.Task[None] | None = None
        self._readers: anyio.CapacityLimiter | None = None
        self.closing = asyncio.Event()
        """Set when the server shuts down: every stream ends."""
        self.last_word: RafikiError = AdminStoppedError()
        """What each stream then says."""

    # ---- from any thread

    def note(self, topic: str, change: Change) -> None:
        """Something of ``topic`` has changed: the id of a job, the key of an environment, or all services."""
        self._on_loop(self._tell, topic, change)

    def note_job(self, job_id: str) -> None:
        """Something of a job or of its services has changed in the meta store."""
        self.note(job_id, Change.JOB)
        self.note(SERVICES, Change.JOB)

    def note_all(self, change: Change) -> None:
        """Something has changed that may concern everybody."""
        self._on_loop(self._tell_all, change)

    def _on_loop(self, f: Callable[[Unpack[Arguments]], None], *arguments: *Arguments) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(f, *arguments)

    # ---- on the event loop

    def _tell(self, topic: str, change: Change) -> None:
        if topic in self._listeners:
            self._noted_at[topic, change] = time.monotonic()
            for listener in self._listeners[topic]:
                listener.tell(change)

    def noted_at(self, topic: str, change: Change) -> float:
        """When that was noted last, in monotonic time; 0 = not since anybody listens."""
        return self._noted_at.get((topic, change), 0.0)

    def _tell_all(self, change: Change) -> None:
        for topic in list(self._listeners):
            self._tell(topic, change)

    @contextlib.contextmanager
    def listen(self, topic: str, user_id: str) -> Iterator[Listener]:
        """Hear what is noted about ``topic``.

        Raises:
            TooManyStreamsError: when too many listen already.
        """
        if self._by_user.get(user_id, 0) >= _MOST_OF_A_USER or self.n_streams >= _MOST_STREAMS:
            raise TooManyStreamsError
        self._loop = asyncio.get_running_loop()
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen_to_cache())
        listener = Listener()
        self._listeners[topic].add(listener)
        self._by_user[user_id] += 1
        try:
            yield listener
        finally:
            self._by_user[user_id] -= 1
            if not self._by_user[user_id]:
                del self._by_user[user_id]
            self._listeners[topic].discard(listener)
            if not self._listeners[topic]:
                del self._listeners[topic]
                for change in Change:
                    self._noted_at.pop((topic, change), None)

    @contextlib.contextmanager
    def share(self, key: str, make: Callable[[], F]) -> Iterator[F]:
        """What the streams of one thing keep together: made for the first of them, dropped with the last."""
        held, users = self._feeds.get(key) or (make(), 0)
        self._feeds[key] = (held, users + 1)
        try:
            yield cast(F, held)  # A key names things of one kind.
        finally:
            held, users = self._feeds[key]
            if users == 1:
                del self._feeds[key]
            else:
                self._feeds[key] = (held, users - 1)

    @property
    def n_streams(self) -> int:
        return sum(self._by_user.values())

    async def in_thread(self, f: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
        """Call what blocks, such as a read of the meta store."""
        if self._readers is None:
            self._readers = anyio.CapacityLimiter(_READERS)
        return await anyio.to_thread.run_sync(f, *arguments, limiter=self._readers)

    async def read_predictor_reports(self, job_id: str, service_ids: Sequence[str]) -> list[PredictorReport]:
        """What the predictors of a job told last; nothing while the cache cannot be reached."""
        try:
            return await self._changes().read_predictor_reports(job_id, service_ids)
        except CacheUnavailableError:
            return []

    def _changes(self) -> RedisChanges:
        if self._cache is None:
            self._cache = RedisChanges(self._address)
        return self._cache

    async def _listen_to_cache(self) -> None:
        """Pass on what is noted in the cache, as long as anybody listens."""
        backoff, cache = Backoff(), self._changes()
        try:
            while not self.closing.is_set():
                try:
                    await cache.open()
                    backoff.reset()
                    # What was noted before we listened.
                    for change in Change:
                        self._tell_all(change)
                    while self._listeners:
                        if (note := await cache.take(RELOOK_S)) is not None:
                            self._tell(*note)
                    return
                except CacheUnavailableError:
                    # The streams look by themselves now and then.
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.closing.wait(), backoff.next_s())
        except Exception as e:  # noqa: BLE001 - a task has nobody above it to tell; the next stream begins another
            log_unexpected(_logger, e)
        finally:
            await cache.close_channel()

    async def close(self, last_word: RafikiError | None = None) -> None:
        """End all streams. The event loop's last act here.

        Args:
            last_word: why, for whoever watches; None = another admin takes this one's place.
        """
        self.last_word = last_word or self.last_word
        self.closing.set()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening], timeout=1.0)
        if self._cache is not None:
            await self._cache.close()


class Source(ABC):
    """What one stream tells. An operation of a stream's endpoint returns one; it has checked who may watch."""

    topic: str
    """What wakes it; see :meth:`EventHub.note`."""
    relook_s: float = RELOOK_S
    is_over = False
    """Nothing follows what :meth:`read` has returned."""
    has_more = False
    """There is more to read at once."""

    @abstractmethod
    async def read(self, hub: EventHub, changes: frozenset[Change]) -> list[bytes]:
        """What is new since the last call, each encoded by :func:`encode_event`; at the first call how things stand.

        Args:
            changes: where to look; all of it at the first call, and after some time without a note.
        """

    @contextlib.contextmanager
    def attached(self, hub: EventHub) -> Iterator[None]:
        """Held while the stream is open."""
        yield


def encode_event(event: msgspec.Struct) -> bytes:
    """An event as it travels: its kind, and as its data JSON in one line."""
    kind = str(event.__struct_config__.tag)
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(event))


def encode_refusal(error: RafikiError) -> bytes:
    """The last event of a stream that cannot go on."""
    body = msgspec.json.encode(ErrorBody(error.code, error.message))
    return b"event: error\ndata: %s\n\n" % body


class EventStream:
    """The answer to a call that watches: an ASGI application."""

    def __init__(self, hub: EventHub, source: Source, user: User, authorize: Callable[[], object]) -> None:
        """
        Args:
            authorize: raises when the user may no longer make this call.
        """
        self._hub, self._source, self._user, self._authorize = hub, source, user, authorize
        self._stack = contextlib.ExitStack()
        # Before the answer begins: a refusal is an answer like any other.
        self._listener = self._stack.enter_context(hub.listen(source.topic, user.id))
        self._stack.enter_context(source.attached(hub))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._stack:
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
            # A proxy in between must pass each event on as it comes.
            headers.append((b"x-accel-buffering", b"no"))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            pump = asyncio.create_task(self._pump(send))
            others = [asyncio.create_task(_gone(receive)), asyncio.create_task(self._hub.closing.wait())]
            try:
                await asyncio.wait([pump, *others], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (pump, *others):
                    task.cancel()
                await asyncio.gather(pump, *others, return_exceptions=True)
            last = encode_refusal(self._hub.last_word) if self._hub.closing.is_set() else b""
            # To a client that is gone this does nothing; one that does not read must not keep the server up.
            with contextlib.suppress(TimeoutError, OSError):
                await asyncio.wait_for(send({"type": "http.response.body", "body": last, "more_body": False}), 0.5)

    async def _pump(self, send: Send) -> None:
        try:
            await self._tell(send)
        except RafikiError as e:
            if e.http_status >= 500:
                _logger.warning("stream: %s", e.message)
            await _send(send, encode_refusal(e))
        except (OSError, asyncio.CancelledError):
            raise
        except Exception as e:  # noqa: BLE001 - the edge of the server: no stack trace leaves it
            log_unexpected(_logger, e)

    async def _tell(self, send: Send) -> None:
        source, hub = self._source, self._hub
        changes, checked_at, told_at, all_at = _ALL, time.monotonic(), time.monotonic(), time.monotonic()
        while True:
            looked_at = time.monotonic()
            if looked_at - all_at >= source.relook_s:
                # Also while other notes keep coming: one may have been lost, and some things are noted by nobody.
                changes = _ALL
            if changes == _ALL:
                all_at = looked_at
            events = await source.read(hub, changes)
            if events:
                await _send(send, b"".join(events))
                told_at = time.monotonic()
            elif time.monotonic() - told_at >= KEEP_ALIVE_S:
                await _send(send, b": nothing new\n\n")
                told_at = time.monotonic()
            if source.is_over:
                return
            if time.monotonic() - checked_at >= KEEP_ALIVE_S:
                await hub.in_thread(self._authorize)
                checked_at = time.monotonic()
            if source.has_more:
                changes = frozenset()
                continue
            changes = await self._listener.wait(source.relook_s) or _ALL
            if (pause_s := looked_at + PAUSE_S - time.monotonic()) > 0:
                # What comes in a burst is told together.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(hub.closing.wait(), pause_s)
                changes |= self._listener.take()


async def _gone(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, data: bytes) -> None:
    """In pieces, each after the last has left: a client that does not read holds one of them, not all."""
    for start in range(0, len(data), _CHUNK_BYTES):
        await send({"type": "http.response.body", "body": data[start : start + _CHUNK_BYTES], "more_body": True})
