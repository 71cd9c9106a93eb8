"""One inference job inside a predictor: its members, and how a request becomes their common prediction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from rafiki.errors import InvalidQueryError, ModelPredictError, NoPredictionError
from rafiki.messages import EnsembleMember
from rafiki.predictor.ensemble import combine
from rafiki.predictor.gather import Gather
from rafiki.predictor.meter import Meter
from rafiki.predictor.protocol import Asked, which_query, write_answer
from rafiki.predictor.waiting import Answers
from rafiki.tasks.base import TaskSpec

_ROWS_AT_ONCE = 256


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
    ) -> None:
        """
        Args:
            job_id: of the inference job.
            members: in the order of the columns of ``gather``.
            deadline_s: the longest that it takes to answer.
            app_version: None = it is not named in answers.
            meter: counts its requests.
        """
        self.job_id = job_id
        self.members = list(members)
        self.gather = gather
        self.task = task
        self.deadline_s = deadline_s
        self.app_version = app_version
        self.name = "" if app_version is None else str(app_version)
        """In answers of the Open Inference Protocol."""
        self.meter = meter or Meter()
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
            answers = await self.gather.ask(asked.queries, left_s)
        finally:
            self.in_hand -= 1
        predictions = []
        for row in range(len(answers.rows)):
            # Whoever asks much does not hold up whoever asks little.
            if row and row % _ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
            predictions.append(self._combine(asked, answers, row))
        return write_answer(asked, predictions, self._left_out(answers), self.name)

    def _combine(self, asked: Asked, answers: Answers, row: int) -> bytes:
        try:
            return combine(self.task, answers.rows[row], self._weights)
        except NoPredictionError as e:
            if self.gather.is_ending:
                raise NoPredictionError(
                    f"{which_query(asked, row)}The predictor was stopped before a member answered."
                ) from e
            reason = self.gather.cache_error or "its inference workers may be starting, busy or gone"
            raise NoPredictionError(
                f"{which_query(asked, row)}No member of the ensemble answered in time ({reason})."
            ) from e
        except (InvalidQueryError, ModelPredictError) as e:
            raise type(e)(which_query(asked, row) + e.message) from e

    def _left_out(self, answers: Answers) -> dict[str, str]:
        """The members that did not take part, and why."""
        return {
            m.trial_id: self.gather.why_left_out(answers, column)
            for column, m in enumerate(self.members)
            if any(row[column] is None or row[column].status != "ok" for row in answers.rows)  # type: ignore[union-attr]
        }
