"""The direct way, seen from the predictor: a queue for each member, which its workers of this host are served from.

A worker is given queries when it says that it takes some, so the one that is free gets them, as with the queue in the
cache. A member's only worker is given them at once, up to two batches ahead: it never waits for the predictor's turn.
What a worker was given and has not dealt with goes to another when its connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import cast

from rafiki.direct_way import (
    MOST_PAYLOAD_BYTES,
    BrokenFrameError,
    FrameReader,
    Turn,
    decode_hello,
    decode_turn,
    pieces_of,
    socket_of,
    sockets_in,
)
from rafiki.messages import Query, Reply
from rafiki.predictor.waiting import Waiting
from rafiki.utils.sockets import connect_at, listen_at

_logger = logging.getLogger(__name__)
_MOST_CONNECTIONS = 1024
_PROBE_S = 0.5
_LOST_S = 5.0
"""For so long a worker whose connection has ended counts as gone, whatever the cache says."""
_ANNOUNCED_WITHIN_S = 10.0
"""A worker may be connected before the cache knows it, but not for longer."""
_BATCHES_AHEAD = 2
_MOST_REASONS = 20
_SETTLED_S = 10.0


class DirectWorker(asyncio.Protocol):
    """The connection of one worker."""

    def __init__(self, door: DirectDoor) -> None:
        self._door = door
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._member: DirectMember | None = None
        self.id = ""
        self.held: dict[int, Waiting] = {}
        """What it was given and has not answered, by the queries' ids."""
        self.wants = 0
        self._n_given = 0
        """Frames of queries."""
        self.was_announced = False
        self._joined_s = monotonic()
        self.is_writable = True

    @property
    def is_overdue(self) -> bool:
        """Whether the cache ought to know it by now."""
        return not self.was_announced and monotonic() - self._joined_s > _ANNOUNCED_WITHIN_S

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._door.admit(self):
            transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            for content in self._reader.feed(data):
                if self._member is None:
                    self._greet(content)
                else:
                    self._take_turn(decode_turn(content), self._member)
        except BrokenFrameError as e:
            self._door.note_refused(str(e))
            self.end()

    def _greet(self, content: memoryview) -> None:
        hello = decode_hello(content)
        member = self._door.member_of(hello.trial_id)
        if member is None:
            raise BrokenFrameError("it serves no member")
        self.id, self._member = hello.worker_id, member
        member.join(self)

    def _take_turn(self, turn: Turn, member: DirectMember) -> None:
        for reply in turn.replies:
            self.held.pop(reply.query_id, None)
        self.wants = turn.wants if turn.seen == self._n_given and turn.wants > 0 else 0
        # First what it waits for, then what it has brought.
        member.pump()
        if turn.replies:
            self._door.receive(turn.replies)

    def give(self, waiting: Sequence[Waiting]) -> None:
        """Queries for it to deal with."""
        self.wants = 0
        self._n_given += 1
        self.held.update((w.query_id, w) for w in waiting)
        reply_to = self._door.reply_to
        assert self._transport is not None
        queries = [Query(reply_to, w.query_id, w.answers.until_ms, w.raw, w.trace) for w in waiting]
        for piece in pieces_of(queries):
            self._transport.write(piece)

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._member is not None:
            self._member.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self)
        if self._member is not None:
            self._member.part(self)

    def end(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class DirectMember:
    """One member's queries on the direct way, and the workers that take them."""

    def __init__(
        self, most: int, is_waited_for: Container[int], hand_back: Callable[[Sequence[Waiting]], None]
    ) -> None:
        """
        Args:
            most: the largest batch of a worker.
            is_waited_for: ids of queries; the others are forgotten.
            hand_back: takes what no worker of this way will deal with.
        """
        self._most = most
        self._is_waited_for = is_waited_for
        self._hand_back = hand_back
        self._queue: deque[Waiting] = deque()
        self._is_due = False
        self._purge_at = 4 * most
        self._workers: list[DirectWorker] = []
        """Those that may be given something next first."""
        self._serving: set[str] = set()
        self._lost: dict[str, float] = {}
        self.is_open = False
        """Whether all of the member's workers are reached by this way, so that it does for all queries."""

    # ---- workers

    def join(self, worker: DirectWorker) -> None:
        self._workers.append(worker)
        self._lost.pop(worker.id, None)
        self._look_whether_open()

    def part(self, worker: DirectWorker) -> None:
        """Its connection has ended: another takes what it had in hand."""
        self._workers.remove(worker)
        self._lost[worker.id] = monotonic() + _LOST_S
        self._look_whether_open()
        lost = self._take_back(worker)
        if self._workers:
            self._queue.extendleft(reversed(lost))
            self.pump()
        else:
            lost += [w for w in self._queue if w.query_id in self._is_waited_for]
            self._queue.clear()
            if lost:
                self._hand_back(lost)

    def note_serving(self, worker_ids: set[str]) -> None:
        """Who serves the member now, as the cache knows."""
        self._serving = worker_ids
        for worker in list(self._workers):
            if worker.id in worker_ids:
                worker.was_announced = True
            elif worker.is_overdue:
                worker.end()
            elif worker.was_announced and any(w.id in worker_ids for w in self._workers):
                # Silent for too long, and others are there: they take what it has in hand.
                self._queue.extendleft(reversed(self._take_back(worker)))
                self._pump_soon()
        now_s = monotonic()
        self._lost = {w: until_s for w, until_s in self._lost.items() if until_s > now_s and w in worker_ids}
        self._look_whether_open()

    def _take_back(self, worker: DirectWorker) -> list[Waiting]:
        held, worker.held = worker.held, {}
        return [w for w in held.values() if w.query_id in self._is_waited_for]

    def _look_whether_open(self) -> None:
        self.is_open = bool(self._workers) and self._serving <= {w.id for w in self._workers} | self._lost.keys()

    # ---- queries

    def put(self, waiting: Waiting) -> None:
        """A query for the next worker that takes one. All that come up within one turn of the event loop travel
        together."""
        if len(waiting.raw) > MOST_PAYLOAD_BYTES:
            self._hand_back([waiting])
            return
        self._queue.append(waiting)
        self._pump_soon()
        if len(self._queue) > self._purge_at:
            self._queue = deque(w for w in self._queue if w.query_id in self._is_waited_for)
            self._purge_at = max(4 * self._most, 2 * len(self._queue))

    def cares_for(self) -> set[int]:
        """Ids of the queries that are here: in the queue, or with a worker that has not fallen silent in the cache."""
        found = {w.query_id for w in self._queue}
        for worker in self._workers:
            if worker.id in self._serving or not worker.was_announced:
                found |= worker.held.keys()
        return found

    def _pump_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._pump_later)

    def _pump_later(self) -> None:
        self._is_due = False
        self.pump()

    def pump(self) -> None:
        """Give the workers what waits, as far as they take it."""
        queue, workers = self._queue, self._workers
        if not queue:
            return
        if len(workers) == 1:
            worker = workers[0]
            if worker.is_writable:
                self._give(worker, self._room_of(worker))
            return
        ready = [w for w in workers if w.wants and w.is_writable]
        for i, worker in enumerate(ready):
            # Those that wait share what there is, and are last the next time.
            share = -(-len(queue) // (len(ready) - i))
            self._give(worker, min(worker.wants, share))
            workers.remove(worker)
            workers.append(worker)
            if not queue:
                return

    def _room_of(self, worker: DirectWorker) -> int:
        most = _BATCHES_AHEAD * self._most
        if len(worker.held) >= most:
            # It does not answer what came too late for it.
            worker.held = {i: w for i, w in worker.held.items() if i in self._is_waited_for}
        return max(most - len(worker.held), 0)

    def _give(self, worker: DirectWorker, most: int) -> None:
        """Up to ``most`` queries; those that nobody waits for any more do not count."""
        queue, is_waited_for, given = self._queue, self._is_waited_for, list[Waiting]()
        size = 0
        while queue and len(given) < most:
            waiting = queue[0]
            if waiting.query_id in is_waited_for:
                size += len(waiting.raw)
                if size > MOST_PAYLOAD_BYTES:
                    break
                given.append(waiting)
            queue.popleft()
        if given:
            worker.give(given)


class DirectDoor:
    """Where the workers of a job find one predictor."""

    def __init__(
        self, members: Mapping[str, DirectMember], reply_to: str, receive: Callable[[Sequence[Reply]], None]
    ) -> None:
        """
        Args:
            members: by their trials' ids.
            reply_to: the predictor's queue in the cache, where a reply may come as well.
            receive: takes replies.
        """
        self._members = members
        self._connections: set[DirectWorker] = set()
        self._refused: set[str] = set()
        self._server: asyncio.Server | None = None
        self._socket: Path | None = None
        self.reply_to = reply_to
        self.receive = receive

    def member_of(self, trial_id: str) -> DirectMember | None:
        return self._members.get(trial_id)

    async def open(self, folder: Path, predictor_id: str) -> None:
        """Listen, and take away what earlier predictors left. Where that fails, queries go through the cache."""
        loop = asyncio.get_running_loop()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(folder)
            self._socket = socket_of(folder, predictor_id)
            self._server = await loop.create_unix_server(lambda: DirectWorker(self), sock=listen_at(self._socket))
        except OSError as e:
            _logger.warning("no direct way for workers: %s cannot be listened at: %s", folder, e.strerror or e)

    def admit(self, connection: DirectWorker) -> bool:
        if len(self._connections) >= _MOST_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def note_refused(self, reason: str) -> None:
        """Said once: who is refused may come again and again."""
        if reason not in self._refused and len(self._refused) < _MOST_REASONS:
            self._refused.add(reason)
            _logger.warning("a worker is refused on the direct way, and is asked through the cache: %s", reason)

    def leave(self, connection: DirectWorker) -> None:
        self._connections.discard(connection)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.unlink(missing_ok=True)
        for connection in list(self._connections):
            connection.end()


def _sweep(folder: Path) -> None:
    """Remove the sockets that nobody listens at: a predictor that was killed leaves its own."""
    for socket in sockets_in(folder):
        try:
            # One that is made just now is not listened at yet.
            if time.time() - socket.stat().st_mtime < _SETTLED_S:
                continue
            connect_at(socket, _PROBE_S).close()
        except ConnectionRefusedError:
            socket.unlink(missing_ok=True)
        except OSError:
            continue
