"""One inference job inside a predictor: its members, and how a request becomes their common prediction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from rafiki.errors import InvalidQueryError, ModelPredictError, NoPredictionError
from rafiki.messages import EnsembleMember
from rafiki.predictor.current_trace import CURRENT_TRACE
from rafiki.predictor.ensemble import combine
from rafiki.predictor.gather import Gather
from rafiki.predictor.meter import Meter
from rafiki.predictor.prediction_cache import Kept, PredictionCache, key_of
from rafiki.predictor.protocol import Asked, which_query, write_answer
from rafiki.predictor.waiting import Answers
from rafiki.tasks.base import TaskSpec

_ROWS_AT_ONCE = 256
_BYTES_AT_ONCE = 1 << 20
_FIRST = (0,)


class Version:
    """What a predictor asks for predictions."""

    def __init__(
        self,
        job_id: str,
        members: Sequence[EnsembleMember],
        task: TaskSpec,
        gather: Gather,
        *,
        deadline_s: float,
        app_version: int | None = None,
        meter: Meter | None = None,
        cache: PredictionCache | None = None,
    ) -> None:
        """
        Args:
            job_id: of the inference job.
            members: in the order of the columns of ``gather``.
            deadline_s: the longest that it takes to answer.
            app_version: None = it is not named in answers.
            meter: counts its requests.
            cache: of its predictions alone; None = none are kept.
        """
        self.job_id = job_id
        self.members = list(members)
        self._all = (1 << len(self.members)) - 1
        self.gather = gather
        self.task = task
        self.deadline_s = deadline_s
        self.app_version = app_version
        self.name = "" if app_version is None else str(app_version)
        """In answers of the Open Inference Protocol."""
        self.meter = meter or Meter()
        self.cache = cache
        self.in_hand = 0
        """Requests that it is asked and has not answered."""
        self.headers = [(b"x-rafiki-job", job_id.encode())]
        """By which answers name it."""
        if app_version is not None:
            self.headers.insert(0, (b"x-rafiki-version", b"%d" % app_version))
        weights = [m.weight for m in members]
        # Equal ones take the shorter way.
        self._weights = weights if len(set(weights)) > 1 else None

    @property
    def has_workers(self) -> bool:
        """Whether somebody serves one of its members."""
        return len(self.gather.absent) < len(self.members)

    async def predict(self, asked: Asked, started: float) -> bytes:
        """The answer's body.

        Args:
            started: when the request began, by ``perf_counter``: the deadline counts from then, as a body that came
                slowly has used some of it.

        Raises:
            NoPredictionError: no member answered a query in time.
            PredictorBusyError: too many queries wait already, or not even the best member can answer in time.
            InvalidQueryError, ModelPredictError: the members refused a query, or failed at it.
        """
        if not asked.queries:
            return write_answer(asked, [], {}, self.name)
        left_s = asked.timeout_s - (perf_counter() - started)
        if left_s <= 0:
            raise NoPredictionError(f"The request alone took longer to come than its {asked.timeout_s:g} s.")
        self.in_hand += 1
        try:
            if self.cache is None:
                predictions, left_out, _ = await self._ask(asked, range(len(asked.queries)), left_s)
            else:
                predictions, left_out = await self._ask_where_needed(self.cache, asked, started)
        finally:
            self.in_hand -= 1
        return write_answer(asked, predictions, left_out, self.name)

    async def _ask(
        self, asked: Asked, rows: Sequence[int], left_s: float
    ) -> tuple[list[bytes], dict[str, str], list[int]]:
        """What the members say to some of the queries: the predictions, who took no part in every one, and who gave
        each (as masks)."""
        queries = asked.queries if len(rows) == len(asked.queries) else [asked.queries[row] for row in rows]
        if (trace := CURRENT_TRACE.get()) is not None:
            trace.choose(self.members, self.job_id, self.app_version)
        answers = await self.gather.ask(queries, left_s, trace)
        predictions = []
        for i, row in enumerate(rows):
            # Whoever asks much does not hold up whoever asks little.
            if i and i % _ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
            predictions.append(self._combine(asked, answers, i, row))
        return predictions, self._left_out(answers), [] if self.cache is None else _masks_of(answers)

    async def _ask_where_needed(
        self, cache: PredictionCache, asked: Asked, started: float
    ) -> tuple[list[bytes], dict[str, str]]:
        """The predictions, and who took no part in every one: those that are kept, those that somebody else asks for,
        and the rest from the members."""
        if len(asked.queries) == 1:
            keys = [key_of(asked.queries[0])]
            # The shortest way for what is asked the most.
            if not asked.is_fresh and (hit := cache.find(keys[0], self.gather.present)) is not None:
                cache.hits += 1
                return [hit.prediction], self._absent_of(hit.members)
            if not asked.is_fresh and keys[0] not in cache.under_way:
                cache.under_way[keys[0]] = None
                left_s = asked.timeout_s - (perf_counter() - started)
                return await self._ask_and_keep(cache, asked, _FIRST, keys, {}, left_s)
        else:
            keys = await _keys_of(asked.queries)
        found: dict[int, Kept] = {}
        left_out: dict[str, str] = {}
        left = list(range(len(keys)))
        while left:
            left_s = asked.timeout_s - (perf_counter() - started)
            if left_s <= 0:
                raise NoPredictionError(f"No prediction was there within {asked.timeout_s:g} s.")
            present = self.gather.present
            own: list[int] = []
            joined: dict[int, asyncio.Future[Kept | None]] = {}
            for row in left:
                key = keys[row]
                if asked.is_fresh:
                    own.append(row)
                elif (kept := cache.find(key, present)) is not None:
                    found[row] = kept
                    cache.hits += 1
                elif key in cache.under_way:
                    joined[row] = cache.join(key)
                else:
                    cache.under_way[key] = None
                    own.append(row)
            if own:
                left_out |= (await self._ask_and_keep(cache, asked, own, keys, found, left_s))[1]
            if not joined:
                break
            left = await _join(cache, joined, found, asked.timeout_s - (perf_counter() - started))
        everywhere = self._all
        for kept in found.values():
            everywhere &= kept.members
        return [found[row].prediction for row in range(len(keys))], self._absent_of(everywhere) | left_out

    def _absent_of(self, members: int) -> dict[str, str]:
        """Why those took no part that did not give a prediction of before."""
        if members == self._all:
            return {}
        return {m.trial_id: "absent" for column, m in enumerate(self.members) if not members >> column & 1}

    async def _ask_and_keep(
        self,
        cache: PredictionCache,
        asked: Asked,
        rows: Sequence[int],
        keys: Sequence[bytes],
        found: dict[int, Kept],
        left_s: float,
    ) -> tuple[list[bytes], dict[str, str]]:
        """What the members say to some of the queries; who else waits for it is told."""
        cache.misses += len(rows)
        complete: dict[bytes, Kept] = {}
        try:
            predictions, left_out, masks = await self._ask(asked, rows, left_s)
            present = self.gather.present
            for row, prediction, mask in zip(rows, predictions, masks, strict=True):
                found[row] = Kept(prediction, mask)
                if not present & ~mask:
                    complete[keys[row]] = found[row]
            if asked.is_kept:
                for key, kept in complete.items():
                    cache.keep(key, kept)
        finally:
            if not asked.is_fresh:
                for row in rows:
                    cache.tell(keys[row], complete.get(keys[row]))
        return predictions, left_out

    def _combine(self, asked: Asked, answers: Answers, index: int, row: int) -> bytes:
        try:
            return combine(self.task, answers.rows[index], self._weights)
        except NoPredictionError as e:
            if self.gather.is_ending:
                raise NoPredictionError(
                    f"{which_query(asked, row)}The predictor was stopped before a member answered."
                ) from e
            if not self.gather.present and self.gather.cache_error is None:
                raise self._without_workers(which_query(asked, row)) from e
            reason = self.gather.cache_error or "its inference workers may be starting, busy or gone"
            raise NoPredictionError(
                f"{which_query(asked, row)}No member of the ensemble answered in time ({reason})."
            ) from e
        except (InvalidQueryError, ModelPredictError) as e:
            raise type(e)(which_query(asked, row) + e.message) from e

    def _without_workers(self, which: str) -> NoPredictionError:
        """The refusal of a query that came while nobody could answer it."""
        after_s = self.gather.demand.retry_after_s
        error = NoPredictionError(
            f"{which}No inference worker runs, as nobody has asked for a while or as they have ended. They are being "
            f"started: ask again in {after_s} s."
        )
        error.retry_after_s = after_s
        return error

    def _left_out(self, answers: Answers) -> dict[str, str]:
        """The members that did not take part, and why."""
        return {
            m.trial_id: self.gather.why_left_out(answers, column)
            for column, m in enumerate(self.members)
            if any(row[column] is None or row[column].status != "ok" for row in answers.rows)  # type: ignore[union-attr]
        }


async def _keys_of(queries: Sequence[bytes]) -> list[bytes]:
    """By which predictions are kept."""
    keys, n_bytes = [], 0
    for query in queries:
        keys.append(key_of(query))
        n_bytes += len(query)
        if n_bytes > _BYTES_AT_ONCE:
            n_bytes = 0
            await asyncio.sleep(0)
    return keys


async def _join(
    cache: PredictionCache, joined: dict[int, asyncio.Future[Kept | None]], found: dict[int, Kept], left_s: float
) -> list[int]:
    """Wait for what others ask; the rows of which nothing complete has come."""
    await asyncio.wait(set(joined.values()), timeout=max(0.0, left_s))
    left = []
    for row, under_way in joined.items():
        kept = under_way.result() if under_way.done() else None
        if kept is None:
            left.append(row)
        else:
            found[row] = kept
            cache.hits += 1
    return left


def _masks_of(answers: Answers) -> list[int]:
    """Who gave the prediction for each query."""
    masks = []
    for row in answers.rows:
        mask = 0
        for column, reply in enumerate(row):
            if reply is not None and reply.status == "ok":
                mask |= 1 << column
        masks.append(mask)
    return masks
