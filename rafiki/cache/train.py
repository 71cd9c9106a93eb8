"""The train cache: the event stream of one sub train job, and one queue of orders for each of its workers.

Workers and the admin put events on the stream. The advisor reads them in order, acts, and only then acknowledges: an
advisor that died in between gets the same event again. Orders are lists: a worker that lost one sends its last event
again.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
import redis

from rafiki.cache.changes import Change, changes_channel
from rafiki.cache.connection import SOCKET_TIMEOUT_S, cache_errors, connect
from rafiki.errors import CacheUnavailableError
from rafiki.messages import CacheAddress, EndTrialOrder, Order, TrainEvent

_GROUP = "advisor"
_READER = "advisor"
"""A fixed reader name, so that a restarted advisor finds what its predecessor had not acknowledged."""
_STREAM_IS_GONE = ("NOGROUP", "UNBLOCKED")
"""How servers answer a read of a stream that was lost: the second is Redis 7.0's to who waits meanwhile."""
_STREAM_MAX_LENGTH = 100_000

_event_decoder = msgspec.msgpack.Decoder(cast(Any, TrainEvent))
_order_decoder = msgspec.msgpack.Decoder(cast(Any, Order))


class ReceivedEvent(msgspec.Struct, frozen=True):
    """An event with the id under which it is acknowledged."""

    entry_id: str
    event: TrainEvent


class RedisTrainCache:
    """One sub train job's messages. Not thread-safe: one object a thread.

    Every method raises CacheUnavailableError when the cache cannot be reached; the caller waits and calls again.
    """

    def __init__(self, address: CacheAddress, sub_train_job_id: str, *, most_wait_s: float = 30.0) -> None:
        self._address = address
        self._client = connect(address, socket_timeout_s=most_wait_s + SOCKET_TIMEOUT_S)
        self._most_wait_s = most_wait_s
        base = f"{address.prefix}{sub_train_job_id}"
        self._events = f"{base}:events"
        self._orders = f"{base}:orders:"
        self._ends = f"{base}:ends:"
        self._changes = changes_channel(address.prefix)
        self._replay = True

    # ---- worker (and admin) side

    def send_event(self, event: TrainEvent) -> None:
        """Put an event on the stream."""
        with cache_errors(self._address):
            self._client.xadd(
                self._events,
                {b"e": msgspec.msgpack.encode(event)},
                maxlen=_STREAM_MAX_LENGTH,
                approximate=True,
            )

    def take_order(self, worker_id: str, timeout_s: float) -> Order | None:
        """Wait for the next order to ``worker_id``; None when the timeout passes first."""
        with cache_errors(self._address):
            found = cast(
                "tuple[bytes, bytes] | None",
                self._client.blpop([self._orders + worker_id], timeout=min(timeout_s, self._most_wait_s)),
            )
        return cast(Order, _order_decoder.decode(found[1])) if found else None

    def look_for_end(self, worker_id: str) -> EndTrialOrder | None:
        """The latest order to ``worker_id`` to end a trial, which may be one that it has ended since."""
        with cache_errors(self._address):
            found = cast("bytes | None", self._client.get(self._ends + worker_id))
        order = _order_decoder.decode(found) if found else None
        return order if isinstance(order, EndTrialOrder) else None

    # ---- advisor side

    def open_as_advisor(self) -> None:
        """Make the stream and its reader group; needed again after the cache lost its data."""
        with cache_errors(self._address):
            try:
                self._client.xgroup_create(self._events, _GROUP, id="0", mkstream=True)
            except redis.ResponseError as e:
                if "BUSYGROUP" not in str(e):
                    raise
        self._replay = True

    def take_events(self, timeout_s: float, *, most: int = 64) -> list[ReceivedEvent]:
        """The next events, oldest first: those not acknowledged by an earlier advisor, then new ones.

        Waits for the first one; an empty list when the timeout passes. Makes the stream again if the cache lost it.
        """
        block_ms = max(1, int(min(timeout_s, self._most_wait_s) * 1000))
        while True:
            cursor, block = ("0", None) if self._replay else (">", block_ms)
            try:
                with cache_errors(self._address):
                    found = cast(
                        "list[Any] | None",
                        self._client.xreadgroup(_GROUP, _READER, {self._events: cursor}, count=most, block=block),
                    )
            except CacheUnavailableError as e:
                if not any(code in str(e) for code in _STREAM_IS_GONE):
                    raise
                self.open_as_advisor()
                continue
            entries = found[0][1] if found else []
            events = self._decode(entries)
            if events or not self._replay:
                return events
            self._replay = False

    def _decode(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> list[ReceivedEvent]:
        events: list[ReceivedEvent] = []
        for entry_id, fields in entries:
            # An entry that was deleted before it was acknowledged reads back without fields.
            if not fields:
                continue
            try:
                events.append(ReceivedEvent(entry_id.decode(), _event_decoder.decode(fields.get(b"e", b""))))
            except (msgspec.DecodeError, UnicodeDecodeError):
                # Model code can write here. An event that cannot be read must not come again for ever.
                with cache_errors(self._address):
                    self._client.xack(self._events, _GROUP, entry_id)
                    self._client.xdel(self._events, entry_id)
        return events

    def acknowledge(
        self, received: list[ReceivedEvent], orders: list[tuple[str, Order]], change: Change | None = None
    ) -> None:
        """Send ``orders`` (worker id, order) and acknowledge the events that led to them, in one step.

        Args:
            change: what they changed in the meta store, for those who watch the job. It costs no round trip here.
        """
        if not received and not orders and change is None:
            return
        with cache_errors(self._address), self._client.pipeline(transaction=True) as pipe:
            for worker_id, order in orders:
                if isinstance(order, EndTrialOrder):
                    pipe.set(self._ends + worker_id, msgspec.msgpack.encode(order))
                else:
                    pipe.rpush(self._orders + worker_id, msgspec.msgpack.encode(order))
            if received:
                ids = [r.entry_id for r in received]
                pipe.xack(self._events, _GROUP, *ids)
                pipe.xdel(self._events, *ids)
            if change is not None:
                pipe.publish(self._changes, change.value)
            pipe.execute()

    def drop_worker(self, worker_id: str) -> None:
        """Forget the orders of a worker that is gone."""
        with cache_errors(self._address):
            self._client.delete(self._orders + worker_id, self._ends + worker_id)

    def close(self) -> None:
        self._client.close()
