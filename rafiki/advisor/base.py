"""What every search scheme promises, and the book of trials that all of them keep."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import msgspec

from rafiki.constants import SharePolicy
from rafiki.errors import InvalidTrialError
from rafiki.model.knobs import KnobConfig, Knobs, check_knobs


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the search space to try."""

    knobs: dict[str, Any]
    """A value for every knob of the configuration, policies included."""
    meta: dict[str, Any]
    """How the advisor came to it (``scheme``, ``phase``): small JSON for people and logs."""
    start_from: SharePolicy | None = None
    """Parameters of earlier trials that this one starts from; None = afresh."""


class TrialRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What an advisor knows of one trial."""

    no: int
    """1, 2, 3 ... within one model's search."""
    knobs: dict[str, Any]
    score: float | None
    """Higher is better; None unless ``state`` is completed."""
    state: Literal["pending", "completed", "failed"]


class Advisor(ABC):
    """A search over one model's knobs, asked for proposals and told scores.

    *Determinism.* A proposal is a function of the seed and of the calls before it; randomness of trial ``no``
    comes from ``(seed, no)`` alone. An advisor that was restored from records goes on as one that was told
    the same scores in the order of trial numbers, and does not repeat the proposals of the one before it.

    *Time.* Proposals may be asked for while any number of trials is pending; results come in any order.

    *Purity.* No I/O, no clock. Not thread safe: one owner calls it.
    """

    scheme: ClassVar[str]

    def __init__(self, knob_config: KnobConfig, seed: int, max_trials: int | None = None) -> None:
        self.knob_config = knob_config
        self.seed = seed
        self.max_trials = max_trials
        """The last trial after which the scheme has nothing left to try; None when there is none."""
        self._proposals: dict[int, Proposal] = {}
        self._trials: dict[int, TrialRecord] = {}
        self._finished: list[int] = []
        """Trial numbers in the order in which their results came."""

    def propose(self, no: int) -> Proposal:
        """The knobs of trial number ``no``, which is pending from now on.

        Asked again for the same number (a trial that is given to another worker) it answers the same.

        Raises:
            InvalidTrialError: when ``no`` is below 1 or above :attr:`max_trials`.
        """
        if no in self._proposals:
            return self._proposals[no]
        if no < 1 or (self.max_trials is not None and no > self.max_trials):
            end = "" if self.max_trials is None else f" to {self.max_trials}"
            raise InvalidTrialError(f"The {self.scheme} search has trials 1{end}; there is no trial {no}.")
        proposal = self._suggest(no)
        self._proposals[no] = proposal
        self._trials[no] = TrialRecord(no=no, knobs=dict(proposal.knobs), score=None, state="pending")
        return proposal

    def feedback(self, no: int, score: float | None) -> None:
        """The result of trial ``no``: its score (higher is better), or None when the trial failed.

        A score that is not finite counts as failed. The first result of a trial stands; later ones are
        ignored.

        Raises:
            InvalidTrialError: when trial ``no`` was never proposed.
        """
        trial = self._trials.get(no)
        if trial is None:
            raise InvalidTrialError(f"Trial {no} was not proposed by this advisor, so it can have no score.")
        if trial.state == "pending":
            self._trials[no] = _finish(trial, score)
            self._finished.append(no)

    def restore(self, records: Iterable[TrialRecord]) -> None:
        """Replay what the meta store holds after a restart; trials that are known already are left as they
        are.

        Raises:
            ModelError: when a record's knobs do not fit the knob configuration.
        """
        for record in sorted(records, key=lambda r: r.no):
            if record.no in self._trials:
                continue
            knobs = check_knobs(self.knob_config, record.knobs)
            trial = TrialRecord(no=record.no, knobs=knobs, score=None, state="pending")
            if record.state != "pending":
                trial = _finish(trial, record.score if record.state == "completed" else None)
                self._finished.append(record.no)
            self._trials[record.no] = trial
            self._proposals[record.no] = self._proposal(dict(knobs), "restored")

    @property
    def trials(self) -> list[TrialRecord]:
        """Every trial that was proposed or restored, by number."""
        return [self._trials[no] for no in sorted(self._trials)]

    @abstractmethod
    def _suggest(self, no: int) -> Proposal:
        """A proposal for a new trial; :meth:`propose` keeps the book."""

    def _rng(self, purpose: int | str) -> random.Random:
        """Randomness for one trial number or purpose. Seeding by a string is the same in every process."""
        return random.Random(f"{self.seed}/{purpose}")

    def _proposal(self, knobs: Knobs, phase: str) -> Proposal:
        return Proposal(knobs=knobs, meta={"scheme": self.scheme, "phase": phase})


def _finish(trial: TrialRecord, score: float | None) -> TrialRecord:
    if score is None or not math.isfinite(score):
        return msgspec.structs.replace(trial, score=None, state="failed")
    return msgspec.structs.replace(trial, score=float(score), state="completed")
