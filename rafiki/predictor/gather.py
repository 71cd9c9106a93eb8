"""Sends queries to the members of the ensemble, and gathers their replies until all are there or the deadline passes.

One event loop, no locks. The cost of a request here is the limit of the whole system: queries are passed on as bytes,
and all that comes up within one turn of the loop travels in one push. A member whose workers are all of this host is
asked directly (:mod:`rafiki.predictor.direct`), any other through the cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from rafiki.cache.inference import RedisPredictorQueues, monotonic_ms
from rafiki.deployment import LATE_TARGET
from rafiki.errors import CacheUnavailableError, PredictorBusyError
from rafiki.messages import MemberReport, Query, Reply
from rafiki.predictor.demand import Demand
from rafiki.predictor.direct import DirectDoor, DirectMember
from rafiki.predictor.member_counts import MemberCounts
from rafiki.predictor.protocol import too_many_queries
from rafiki.predictor.waiting import Answers, Waiting
from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.member_planner import MemberPlanner
from rafiki.scheduling.quantile_tracker import QuantileTracker
from rafiki.scheduling.subset_scores import SubsetScores
from rafiki.utils.clock import Deadline
from rafiki.utils.process import Backoff

if TYPE_CHECKING:
    from rafiki.predictor.tracing import RequestTrace

_WAIT_S = 20.0
_PART_BYTES = 4 << 20
_WRITE_S = 0.01
"""What it takes to write an answer, until answers have shown it."""
_LEAST_WRITE_S = 0.001
_MOST_WRITE_S = 0.25
_MOST_WRITE_SHARE = 0.25
"""Of the time that a query has: more is not kept for writing."""
_WRITE_LATE_SHARE = 0.25
"""Of the answers that may be late. A busy event loop comes late to the reading of a request, too, which nobody here
sees and which takes as much, and there are others on the way."""
_WATCH_S = 2.0
"""How long the end of a worker's time may go unnoticed; a new worker announces itself."""


class Gather:
    """Queries on their way. Start it with :meth:`start` in the running loop."""

    def __init__(
        self,
        queues: RedisPredictorQueues,
        trial_ids: Sequence[str],
        *,
        max_waiting: int,
        start_time_s: float,
        scores: SubsetScores | None = None,
        batch_size: int = 64,
        late_target: float = LATE_TARGET,
        called: asyncio.Event | None = None,
    ) -> None:
        """
        Args:
            scores: of the subsets of its members; None = unknown.
            late_target: the share of answers that may be late, or lack a member that was asked.
            batch_size: the most that a worker takes at once.
            called: set when a query comes while no member has a worker.
        """
        self._queues = queues
        self._trial_ids = list(trial_ids)
        self._max_waiting = max_waiting
        self._ids = itertools.count(1)
        self._waiting: dict[int, Waiting] = {}
        self._outbox: dict[str, list[Waiting]] = defaultdict(list)
        self._has_mail = asyncio.Event()
        self._workers: dict[str, set[str]] = {trial_id: set() for trial_id in self._trial_ids}
        self.present = 0
        """The members that have a worker now, as a mask of their columns."""
        self._seen: set[str] = set()
        self._starting = Deadline(start_time_s)
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = asyncio.Event()
        self._planner = MemberPlanner(scores or SubsetScores.unknown(len(self._trial_ids)), late_target=late_target)
        for member in self._planner.members:
            member.most = batch_size
        self._costs = [BatchCost() for _ in self._trial_ids]
        self._writing = QuantileTracker(_WRITE_LATE_SHARE * late_target, _WRITE_S, least=0.0, most=_MOST_WRITE_S)
        self._alive = [0] * len(self._trial_ids)
        """Queries of each member that are waited for."""
        self._direct = [DirectMember(batch_size, self._waiting, self._send_by_cache) for _ in self._trial_ids]
        self._door = DirectDoor(dict(zip(self._trial_ids, self._direct, strict=True)), queues.reply_to, self._take)
        self.counts = [MemberCounts() for _ in self._trial_ids]
        """What became of the queries at each member."""
        self.n_queries = 0
        """Queries that were taken."""
        self.demand = Demand(len(self._trial_ids), called)
        self.cache_error: str | None = None
        self._is_held_up = False
        """Whether queries could not be sent."""
        self.is_ending = False
        """Whether nobody will answer any more."""

    def start(self, direct_folder: Path | None = None) -> None:
        """Begin sending and receiving.

        Args:
            direct_folder: where workers of this host come in by a socket.
        """
        self._tasks = [asyncio.create_task(t) for t in (self._send(), self._receive(), self._watch())]
        if direct_folder is not None:
            self._tasks.append(asyncio.create_task(self._door.open(direct_folder, self._queues.name)))

    def give_up(self) -> None:
        """Answer every query that waits with the replies that are there."""
        self.is_ending = True
        for answers in {w.answers for w in self._waiting.values()}:
            answers.finish()

    async def close(self) -> None:
        self._closed.set()
        left = set(self._tasks)
        while left:
            # The driver swallows a cancellation that comes while it connects: asked again until all have ended.
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.1)
        self._door.close()
        await self._queues.close()

    @property
    def most_queries(self) -> int:
        """What one request may hold at most."""
        return self._max_waiting

    def why_left_out(self, answers: Answers, column: int) -> str:
        """Why a member took no part in every prediction of an answer: ``shed``, ``absent``, ``failed`` or ``late``."""
        if answers.shed >> column & 1:
            return "shed"
        if any((reply := row[column]) is not None and reply.status != "ok" for row in answers.rows):
            return "failed"
        return "late" if self._workers[self._trial_ids[column]] else "absent"

    @property
    def absent(self) -> list[str]:
        """Members that no worker serves now."""
        return [trial_id for trial_id, workers in self._workers.items() if not workers]

    @property
    def has_direct_way(self) -> bool:
        """Whether queries reach a member without the cache."""
        return any(direct.is_open for direct in self._direct)

    def members(self) -> list[MemberReport]:
        """Each member's workers, and its queries that are not answered yet."""
        waiting = Counter(w.column for w in self._waiting.values())
        return [
            MemberReport(
                t, len(self._workers[t]), waiting[i], self.counts[i].shed, self.demand.asked, self.demand.missed[i],
                m.fixed_s, m.each_s, self._costs[i].tail_ratio, m.most,
            )
            for i, (t, m) in enumerate(zip(self._trial_ids, self._planner.members, strict=True))
        ]  # fmt: skip

    def answered(self, column: int) -> int:
        """How many queries a member has answered."""
        return self.counts[column].asked - self.counts[column].unanswered - self._alive[column]

    def _count_left_out(self, n_queries: int, present: int, chosen: int) -> None:
        for column, counts in enumerate(self.counts):
            if not present >> column & 1:
                counts.asked += n_queries
                counts.absent += n_queries
            elif not chosen >> column & 1:
                counts.shed += n_queries
                self.demand.miss(column, n_queries)

    def _count_unanswered(self, column: int) -> None:
        if self._workers[self._trial_ids[column]]:
            self.counts[column].late += 1
        else:
            self.counts[column].absent += 1

    def _columns(self) -> list[int]:
        """The members to ask. One that never had a worker counts as there while we start: its worker starts too."""
        may_come = set() if self._starting.is_over() else set(self._trial_ids) - self._seen
        columns = [i for i, t in enumerate(self._trial_ids) if self._workers[t] or t in may_come]
        return columns or list(range(len(self._trial_ids)))

    async def _pause(self, wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), wait_s)

    async def ask(self, queries: Sequence[bytes], timeout_s: float, trace: RequestTrace | None = None) -> Answers:
        """The members' replies to ``queries`` (one JSON value each); those that miss the deadline stay None.

        Members without a worker are left out at once while another member has one; when none has, the queries wait
        for a worker to come back. Of the members with a worker those are asked that can answer in time together, as the
        planner chooses (:class:`MemberPlanner`).

        Raises:
            PredictorBusyError: too many queries wait already, or not even the best member can answer in time.
        """
        columns = self._columns()
        now_s = monotonic()
        self.demand.asked += len(queries)
        if not self.present:
            self.demand.call()
        present = sum(1 << column for column in columns)
        due_s = now_s + timeout_s - self._write_s(timeout_s)
        chosen = self._planner.choose(len(queries), now_s, due_s, present)
        if chosen != present:
            if not chosen:
                self._miss(columns, len(queries))
                raise PredictorBusyError(
                    f"No member can answer within {timeout_s:.3g} s: more queries come than are answered in time."
                )
            columns = [column for column in columns if chosen >> column & 1]
        n_new = len(queries) * len(columns)
        if len(self._waiting) + n_new > self._max_waiting and self._waiting:
            self._miss(columns, len(queries))
            raise PredictorBusyError
        if n_new > self._max_waiting:
            raise too_many_queries(len(queries), self._max_waiting // len(columns))
        loop = asyncio.get_running_loop()
        until_ms = monotonic_ms() + int(timeout_s * 1000)
        plans = self._planner.send(chosen, len(queries), now_s)
        answers = Answers(len(queries), len(plans), until_ms, loop.create_future(), present & ~chosen, plans)
        self.n_queries += len(queries)
        if len(columns) < len(self._trial_ids):
            self._count_left_out(len(queries), present, chosen)
        for column in columns:
            self.counts[column].asked += len(queries)
            self._alive[column] += len(queries)
        answers.trace = trace
        carried = {} if trace is None else trace.ask(columns, len(queries))
        ids = []
        for row, raw in enumerate(queries):
            for column in columns:
                query_id = next(self._ids)
                waiting = self._waiting[query_id] = Waiting(answers, row, column, query_id, raw)
                if carried:
                    waiting.trace = carried[column]
                self._route(waiting)
                ids.append(query_id)
        answers.missing = len(ids)
        # What is written at the deadline comes after it.
        timer = loop.call_later(due_s - monotonic(), answers.finish)
        try:
            await answers.done
        finally:
            timer.cancel()
            if trace is not None:
                trace.end_asking()
            if answers.missing:
                for query_id in ids:
                    if (unanswered := self._waiting.pop(query_id, None)) is not None:
                        self._give_up_on(unanswered, now_s, due_s)
                        self._count_unanswered(unanswered.column)
                for column in columns:
                    self._planner.members[column].forget(self._alive[column])
        self._writing.add(monotonic() - min(answers.ended_s, due_s))
        return answers

    def _miss(self, columns: Sequence[int], n: int) -> None:
        for column in columns:
            self.demand.miss(column, n)

    def _write_s(self, timeout_s: float) -> float:
        """How long before its deadline an answer is written at the latest, as the answers before it have shown: others
        are written first."""
        return min(_LEAST_WRITE_S + self._writing.value, _MOST_WRITE_SHARE * timeout_s)

    def _give_up_on(self, unanswered: Waiting, asked_s: float, due_s: float) -> None:
        self._alive[unanswered.column] -= 1
        self.demand.miss(unanswered.column, 1)
        member, plan = self._planner.members[unanswered.column], unanswered.answers.plans[unanswered.column]
        # One that has answered nothing since is gone, which tells nothing of how long its batches take.
        if plan is not None and member.began_s > asked_s:
            member.follow(plan, due_s)

    def _route(self, waiting: Waiting) -> None:
        direct = self._direct[waiting.column]
        if direct.is_open:
            direct.put(waiting)
        else:
            self._outbox[self._trial_ids[waiting.column]].append(waiting)
            self._has_mail.set()

    def _send_by_cache(self, waiting: Sequence[Waiting]) -> None:
        for w in waiting:
            self._outbox[self._trial_ids[w.column]].append(w)
        self._has_mail.set()

    def _take(self, replies: Sequence[Reply]) -> None:
        """Replies have come, by either way. A second one to a query is ignored."""
        now_s, answered = monotonic(), set[int]()
        for reply in replies:
            waiting = self._waiting.pop(reply.query_id, None)
            if waiting is None:
                continue
            answered.add(waiting.column)
            self._alive[waiting.column] -= 1
            if reply.batch:
                self._costs[waiting.column].add(reply.batch, reply.took_s)
                self.counts[waiting.column].add_batch(reply.batch, reply.took_s)
            if reply.status != "ok":
                self.counts[waiting.column].failed += 1
            answers = waiting.answers
            if answers.trace is not None:
                answers.trace.add_reply(waiting.column, reply.status == "ok", reply.spans)
            if (plan := answers.plans[waiting.column]) is not None:
                self._planner.members[waiting.column].follow(plan, now_s)
            answers.rows[waiting.row][waiting.column] = reply
            answers.missing -= 1
            if not answers.missing:
                answers.finish()
        for column in answered:
            self._planner.members[column].learn(self._costs[column])
            self._planner.members[column].end_batch(self._alive[column], now_s)

    # ---- the three loops

    async def _send(self) -> None:
        backoff = Backoff()
        while True:
            await self._has_mail.wait()
            self._has_mail.clear()
            batch, self._outbox = self._outbox, defaultdict(list)
            while batch:
                try:
                    # What travels; its deadline is in the cache's time.
                    ahead_ms, reply_to = await self._queues.ahead_ms(), self._queues.reply_to
                    for part in _parts(batch):
                        queries = {
                            t: [
                                Query(reply_to, w.query_id, w.answers.until_ms + ahead_ms, w.raw, w.trace)
                                for w in waiting
                            ]
                            for t, waiting in part.items()
                        }
                        await self._queues.send(queries, most_waiting=self._max_waiting)
                except CacheUnavailableError as e:
                    # Kept until their deadlines; a query that was sent twice is answered twice, and the second ignored.
                    self.cache_error, self._is_held_up = e.message, True
                    await self._pause(backoff.next_s())
                    now = monotonic_ms()
                    due = {t: [w for w in ws if w.answers.until_ms > now] for t, ws in batch.items()}
                    batch = defaultdict(list, {t: ws for t, ws in due.items() if ws})
                else:
                    self.cache_error = None
                    backoff.reset()
                    break
            self._is_held_up = False

    async def _receive(self) -> None:
        backoff = Backoff()
        is_reached = True
        while True:
            try:
                replies = await self._queues.take_replies(_WAIT_S)
            except CacheUnavailableError as e:
                self.cache_error = e.message
                if is_reached:
                    # A restarted cache has lost its queues, and its workers may be there again before anybody looks.
                    is_reached = False
                    for trial_id in self._trial_ids:
                        self._resend(trial_id)
                await self._pause(backoff.next_s())
                continue
            is_reached = True
            backoff.reset()
            self._take(replies)

    async def _watch(self) -> None:
        """Know which members have workers; send again what a worker took with it when it died."""
        backoff = Backoff()
        while True:
            try:
                seen = await self._queues.workers_of(self._trial_ids)
                found = {trial_id: workers or set() for trial_id, workers in seen.items()}
                hopeless = [t for t, w in seen.items() if w is not None and not w and t not in self._seen]
                for direct, workers in zip(self._direct, found.values(), strict=True):
                    direct.note_serving(workers)
                for trial_id, workers in found.items():
                    # A new one may have taken the place of one that is gone; what that one had taken, others answer.
                    if workers and workers != self._workers[trial_id]:
                        self._resend(trial_id)
                    if seen[trial_id] is not None:
                        self._seen.add(trial_id)
                gone = [t for t in self._trial_ids if self._workers[t] and not found[t]]
                self._workers = found
                self.present = sum(1 << self._trial_ids.index(t) for t, workers in found.items() if workers)
                if self.present:
                    self.demand.note_workers()
                for member, workers in zip(self._planner.members, found.values(), strict=True):
                    member.n_workers = max(1, len(workers))
                if len(self.absent) < len(self._trial_ids):
                    for trial_id in [*gone, *hopeless]:
                        self._leave_out(trial_id)
                await self._queues.wait_for_report(_WATCH_S)
                if not self._is_held_up:
                    # Where no queries come, this is what finds out that the cache is back.
                    self.cache_error = None
                backoff.reset()
            except CacheUnavailableError as e:
                self.cache_error = e.message
                await self._pause(backoff.next_s())

    def _leave_out(self, trial_id: str) -> None:
        """The trial has lost its last worker, or its first one could not begin, while others have theirs: requests do
        not wait for it any more."""
        column = self._trial_ids.index(trial_id)
        for query_id in [i for i, w in self._waiting.items() if w.column == column]:
            answers = self._waiting.pop(query_id).answers
            self._alive[column] -= 1
            self.counts[column].absent += 1
            answers.missing -= 1
            if not answers.missing:
                answers.finish()

    def _resend(self, trial_id: str) -> None:
        """What waits for the trial may have died with its worker, or with the cache. A second reply is ignored."""
        column = self._trial_ids.index(trial_id)
        is_safe = self._direct[column].cares_for()
        lost = [w for w in self._waiting.values() if w.column == column and w.query_id not in is_safe]
        # Whatever a worker had at hand is gone with it.
        self._planner.members[column].end_batch(self._alive[column], monotonic())
        for waiting in lost:
            self._route(waiting)


def _parts(batch: Mapping[str, list[Waiting]]) -> Iterator[Mapping[str, list[Waiting]]]:
    """What is sent at once: the event loop is held while it is encoded."""
    if sum(len(w.raw) for waiting in batch.values() for w in waiting) <= _PART_BYTES:
        yield batch
        return
    for trial_id, waiting in batch.items():
        part: list[Waiting] = []
        size = 0
        for w in waiting:
            if part and size + len(w.raw) > _PART_BYTES:
                yield {trial_id: part}
                part, size = [], 0
            part.append(w)
            size += len(w.raw)
        yield {trial_id: part}
