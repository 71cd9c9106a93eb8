"""The inference cache: one queue of queries for each served trial, one queue of replies for each predictor.

The replicas of a trial compete for its queue. A worker sends the replies of one batch and waits for the next batch in
one round trip; a predictor sends all queries of one event-loop turn in one.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from rafiki.cache.changes import Change, changes_channel, predictor_report_key
from rafiki.cache.connection import SOCKET_TIMEOUT_S, cache_errors, connect, connect_async, in_ms
from rafiki.cache.reports import reports_channel, serving_key
from rafiki.errors import CacheUnavailableError
from rafiki.messages import CacheAddress, PredictorReport, Query, Reply

if TYPE_CHECKING:
    import redis

_MOST_WAIT_S = 30.0
_REPORT_LIVES_MS = 5000
_MOST_REPLIES = 256
_TIME_EVERY_S = 1.0
"""How often a worker asks for the cache's time: clocks of two hosts do not drift apart by a millisecond meanwhile."""
_REPLIES_LIVE_S = 120
"""A reply queue that nobody reads any more is forgotten after this time."""

_SLICE_BYTES = 4 << 20
# Of MessagePack.
_NO_BYTES, _BIN32 = b"\xc4\x00", b"\xc6"

_query_decoder = msgspec.msgpack.Decoder(Query)
_replies_decoder = msgspec.msgpack.Decoder(list[Reply])
_encoder = msgspec.msgpack.Encoder()


async def _encoded(queries: Sequence[Query]) -> list[bytes | memoryview]:
    return [_encoder.encode(q) if len(q.query) <= _SLICE_BYTES else await _encoded_in_slices(q) for q in queries]


async def _encoded_in_slices(query: Query) -> memoryview:
    """As the encoder does it; the event loop is not held while tens of megabytes are copied."""
    tail = query.tail
    empty = _encoder.encode(msgspec.structs.replace(query, query=b"")).removesuffix(_NO_BYTES + tail)
    head = empty + _BIN32 + len(query.query).to_bytes(4, "big")
    encoded, content = memoryview(bytearray(len(head) + len(query.query) + len(tail))), memoryview(query.query)
    encoded[: len(head)], encoded[len(encoded) - len(tail) :] = head, tail
    for start in range(0, len(content), _SLICE_BYTES):
        piece = content[start : start + _SLICE_BYTES]
        encoded[len(head) + start :][: len(piece)] = piece
        await asyncio.sleep(0)
    return encoded


def _decode_replies(item: bytes) -> list[Reply]:
    try:
        return _replies_decoder.decode(item)
    except msgspec.DecodeError:
        # Model code can write here. What it spoils is its own answer.
        return []


def query_queue(prefix: str, trial_id: str) -> str:
    """Where the queries to a served trial wait."""
    return f"{prefix}queries:{trial_id}"


def _lacks_blmpop(error: redis.ResponseError) -> bool:
    """Whether a server does not know the command, which came with Redis 7, or does not let us use it."""
    import redis

    told = str(error).lower()
    return "blmpop" in told and (isinstance(error, redis.exceptions.NoPermissionError) or "unknown command" in told)


def _take_in_two(pipe: Any, queue: str, *, most: int, timeout_s: float) -> None:
    """Take what waits in a queue, up to ``most`` elements, waiting for the first: the last commands of a pipeline.

    The server comes to the second when the first has its element: together they are what BLMPOP does.
    """
    pipe.blpop([queue], timeout=min(timeout_s, _MOST_WAIT_S))
    if most > 1:
        pipe.lpop(queue, most - 1)


def _taken_in_two(answers: Sequence[Any], *, most: int) -> list[bytes]:
    """What :func:`_take_in_two` took, from the answers to its pipeline."""
    first, others = answers[-2:] if most > 1 else (answers[-1], None)
    return [*([first[1]] if first else []), *(others or [])]


def monotonic_ms() -> int:
    """A clock of this host that nobody sets."""
    return time.monotonic_ns() // 1_000_000


class RedisWorkerQueue:
    """The queue of one served trial, seen from an inference worker. Not thread-safe.

    Methods raise CacheUnavailableError when the cache cannot be reached.
    """

    def __init__(self, address: CacheAddress, trial_id: str) -> None:
        self._address = address
        self._client = connect(address, socket_timeout_s=_MOST_WAIT_S + SOCKET_TIMEOUT_S)
        self._queue = query_queue(address.prefix, trial_id)
        self._has_blmpop = True
        """Until the server says that it does not know it."""
        self._cache_is_ahead_ms, self._asked_time_at = 0, -math.inf

    @property
    def now_ms(self) -> int:
        """The cache's time, from the last exchange that asked. Deadlines are in it; our own clock may be wrong."""
        return monotonic_ms() + self._cache_is_ahead_ms

    def exchange(self, replies: Mapping[str, Sequence[Reply]], *, most: int, timeout_s: float) -> list[Query]:
        """Send ``replies`` (reply queue -> its replies), then take what waits, up to ``most`` queries.

        Waits for the first query; an empty list when the timeout passes. A reply that was sent twice does no harm.
        """
        import redis

        with cache_errors(self._address):
            try:
                taken = self._exchange(replies, most, min(timeout_s, _MOST_WAIT_S))
            except redis.ResponseError as e:
                if not self._has_blmpop or not _lacks_blmpop(e):
                    raise
                self._has_blmpop = False
                # A pipeline tells of its first error: the replies, which go before, are sent.
                taken = self._exchange({}, most, min(timeout_s, _MOST_WAIT_S))
        return [_query_decoder.decode(item) for item in taken]

    def send(self, replies: Mapping[str, Sequence[Reply]]) -> None:
        """Send ``replies``, and take nothing."""
        with cache_errors(self._address), self._client.pipeline(transaction=False) as pipe:
            for reply_to, batch in replies.items():
                pipe.rpush(reply_to, _encoder.encode(batch))
                pipe.expire(reply_to, _REPLIES_LIVE_S)
            pipe.execute()

    def _exchange(self, replies: Mapping[str, Sequence[Reply]], most: int, timeout_s: float) -> Sequence[bytes]:
        # Each command costs the worker as much as a small prediction: the time is asked for now and then.
        asks_time = time.monotonic() - self._asked_time_at > _TIME_EVERY_S
        with self._client.pipeline(transaction=False) as pipe:
            for reply_to, batch in replies.items():
                pipe.rpush(reply_to, _encoder.encode(batch))
                pipe.expire(reply_to, _REPLIES_LIVE_S)
            if self._has_blmpop:
                pipe.blmpop(timeout_s, 1, self._queue, direction="LEFT", count=most)
            else:
                _take_in_two(pipe, self._queue, most=most, timeout_s=timeout_s)
            if asks_time:
                pipe.time()
            answers = pipe.execute()
        if asks_time:
            self._asked_time_at = time.monotonic()
            self._cache_is_ahead_ms = in_ms(answers.pop()) - monotonic_ms()
        if not self._has_blmpop:
            return _taken_in_two(answers, most=most)
        return cast("list[bytes]", answers[-1][1]) if answers[-1] else []

    def close(self) -> None:
        self._client.close()


class RedisPredictorQueues:
    """The queues of an inference job, seen from one predictor's event loop.

    Sending and taking use a connection each, so that a blocking pop holds nothing up.
    """

    def __init__(self, address: CacheAddress, predictor_id: str, *, box: str = "") -> None:
        """
        Args:
            box: tells several users of one job in one predictor apart: each has replies of its own.
        """
        self._address = address
        self._sender = connect_async(address)
        self._taker = connect_async(address, socket_timeout_s=_MOST_WAIT_S + SOCKET_TIMEOUT_S)
        self._reports: Any = None
        self._predictor_id = predictor_id
        self._report_key = predictor_report_key(address.prefix, predictor_id)
        self.name = f"{predictor_id}{box}"
        """Of whoever is answered, within its job."""
        self.reply_to = f"{address.prefix}replies:{self.name}"
        self._has_blmpop = True
        self._cache_is_ahead_ms: int | None = None
        """Of our monotonic clock; None = the cache has not been asked yet."""

    async def ahead_ms(self) -> int:
        """How far the cache's time, in which deadlines travel, goes before this host's monotonic clock: hosts may
        differ in theirs.

        The cache is asked once, and again by each :meth:`workers_of`.
        """
        if self._cache_is_ahead_ms is None:
            with cache_errors(self._address):
                asked = monotonic_ms()
                self._note_time(in_ms(await self._sender.time()), asked)
        assert self._cache_is_ahead_ms is not None
        return self._cache_is_ahead_ms

    def _note_time(self, cache_ms: int, asked: int) -> None:
        self._cache_is_ahead_ms = cache_ms - (asked + monotonic_ms()) // 2

    async def send(self, queries: Mapping[str, Sequence[Query]], *, most_waiting: int) -> None:
        """Put queries (trial id -> its queries) on their queues.

        A queue that nobody empties keeps its newest ``most_waiting`` queries; the older ones are past their deadline.
        """
        with cache_errors(self._address):
            if len(queries) == 1:
                # An ensemble of one is common, and a pipeline costs the event loop 35 us more than a command.
                ((trial_id, batch),) = queries.items()
                queue = query_queue(self._address.prefix, trial_id)
                lengths = [await cast(Any, self._sender.rpush(queue, *await _encoded(batch)))]
            else:
                async with self._sender.pipeline(transaction=False) as pipe:
                    for trial_id, batch in queries.items():
                        pipe.rpush(query_queue(self._address.prefix, trial_id), *await _encoded(batch))
                    lengths = await pipe.execute()
            for trial_id, length in zip(queries, lengths, strict=True):
                if length > most_waiting:
                    await cast(
                        Any,
                        self._sender.ltrim(query_queue(self._address.prefix, trial_id), -most_waiting, -1),
                    )

    async def take_replies(self, timeout_s: float) -> list[Reply]:
        """Replies to this predictor, waiting for the first; an empty list when the timeout passes."""
        import redis

        timeout_s = min(timeout_s, _MOST_WAIT_S)
        with cache_errors(self._address):
            if self._has_blmpop:
                try:
                    found = await cast(
                        Any,
                        self._taker.blmpop(timeout_s, 1, self.reply_to, direction="LEFT", count=_MOST_REPLIES),
                    )
                    return [reply for item in found[1] for reply in _decode_replies(item)] if found else []
                except redis.ResponseError as e:
                    if not _lacks_blmpop(e):
                        raise
                    self._has_blmpop = False
            async with self._taker.pipeline(transaction=False) as pipe:
                _take_in_two(pipe, self.reply_to, most=_MOST_REPLIES, timeout_s=timeout_s)
                taken = _taken_in_two(await pipe.execute(), most=_MOST_REPLIES)
        return [reply for item in taken for reply in _decode_replies(item)]

    async def workers_of(self, trial_ids: Sequence[str]) -> dict[str, set[str] | None]:
        """Trial id -> the inference workers that answer its queries now; None when there has not been any yet."""
        with cache_errors(self._address):
            async with self._sender.pipeline(transaction=False) as pipe:
                for trial_id in trial_ids:
                    pipe.hgetall(serving_key(self._address.prefix, trial_id))
                pipe.time()
                asked = monotonic_ms()
                *answers, time_of_cache = await pipe.execute()
        found, now = cast("list[dict[bytes, bytes]]", answers), in_ms(time_of_cache)
        self._note_time(now, asked)
        return {
            trial_id: {
                w.decode(errors="replace") for w, until in workers.items() if until.isdigit() and int(until) > now
            }
            if workers
            else None
            for trial_id, workers in zip(trial_ids, found, strict=True)
        }

    async def report(self, report: PredictorReport, *, wakes_admin: bool = False) -> None:
        """Report how much this predictor serves; a report counts for a few seconds.

        Args:
            wakes_admin: its supervisor looks at once, as there are queries and nobody to answer them.
        """
        async with self._sender.pipeline(transaction=False) as pipe:
            pipe.set(self._report_key, msgspec.json.encode(report), px=_REPORT_LIVES_MS)
            pipe.publish(changes_channel(self._address.prefix), Change.FIGURES.value)
            if wakes_admin:
                pipe.publish(reports_channel(self._address.prefix), self._predictor_id)
            with cache_errors(self._address):
                await pipe.execute()

    async def wait_for_report(self, timeout_s: float) -> None:
        """Wait until a service of the job announces itself or fails, or the timeout passes."""
        if self._reports is None:
            self._reports = self._sender.pubsub(ignore_subscribe_messages=True)
        try:
            with cache_errors(self._address):
                if not self._reports.subscribed:
                    await self._reports.subscribe(reports_channel(self._address.prefix))
                await self._reports.get_message(timeout=timeout_s)
        except CacheUnavailableError:
            await self._reports.aclose()
            self._reports = None
            raise

    async def close(self) -> None:
        if self._reports is not None:
            await self._reports.aclose()
        await self._sender.aclose()
        await self._taker.aclose()
