"""What every search scheme promises, and the records of trials that all of them keep."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from rafiki.advisor.space import Key, SearchSpace, draw_unseen
from rafiki.errors import InvalidTrialError, ModelError
from rafiki.knob_specs import Knobs
from rafiki.model.knobs import KnobConfig, check_knobs
from rafiki.proposals import Proposal
from rafiki.utils.values import JsonValue


class SchemeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a scheme, as a job's ``advisor`` setting gives them. A scheme with options has a subclass of its
    own.
    """


class TrialRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What an advisor knows of one trial."""

    no: int
    """1, 2, 3 ... within one model's search."""
    proposal: Proposal
    score: float | None
    """Higher is better; None unless ``state`` is completed."""
    state: Literal["pending", "completed", "failed"]
    worker_id: str | None = None
    """Who ran it last."""
    is_ended_early: bool = False
    """Completed, with what it had reached when a stopping rule ended it."""

    @property
    def knobs(self) -> Knobs:
        """Those of its proposal."""
        return self.proposal.knobs


def with_knobs(trial: TrialRecord, knobs: Knobs) -> TrialRecord:
    """The record with other knobs."""
    return msgspec.structs.replace(trial, proposal=msgspec.structs.replace(trial.proposal, knobs=knobs))


class SearchSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What a search is about. The same setup after a restart."""

    knob_config: KnobConfig
    seed: int
    trial_limit: int | None = None
    """The number of trials of this search; None when only time ends it."""
    n_workers: int = 1
    """How many train workers ask for proposals."""
    options: SchemeOptions = SchemeOptions()
    constraints: tuple[str, ...] = ()
    """Expressions that every proposal satisfies; see :mod:`rafiki.model.constraints`."""
    first_knobs: tuple[Knobs, ...] = ()
    """Knobs to try first, in this order; a knob that one leaves out is drawn."""
    history: tuple[TrialRecord, ...] = ()
    """Completed trials of earlier searches on the same data, which a scheme may learn from. They count as no trials
    of this one.
    """


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances in which a proposal is asked for."""

    worker_id: str | None = None
    """Who will run it; None when it is computed ahead."""
    budget_used: float = 0.0
    """Share of the search's budget that is used up, 0 to 1: of its trials or of its hours, whichever is larger."""


class Advisor(ABC):
    """A search over one model's knobs, asked for proposals, and told the scores (ask and tell).

    *Determinism.* A proposal is a function of the setup, of the circumstances (:class:`Ask`) and of the calls before
    it; randomness of trial ``no`` comes from ``(seed, no)`` alone. An advisor that was restored from records goes on
    as one that was told the same scores in the order of trial numbers, and does not repeat the proposals of the one
    before it.

    *Time.* Proposals may be asked for while any number of trials is pending; results come in any order.

    *Purity.* No I/O, no clock. Not thread safe: one owner calls it.
    """

    scheme: ClassVar[str]
    is_for_workers: ClassVar[bool] = False
    """Whether its proposals depend on who runs them, so that none is computed ahead."""
    continues_trials: ClassVar[bool] = False
    """Whether its proposals may start from one trial's own parameters (``start_from_trial``): then all trials keep
    theirs while the search goes on."""

    def __init__(self, setup: SearchSetup) -> None:
        self.setup = setup
        self.knob_config = setup.knob_config
        self.seed = setup.seed
        self.max_trials: int | None = None
        """The last trial after which the scheme has nothing left to try; None when there is none."""
        self.space = SearchSpace(setup.knob_config, setup.constraints)
        self._proposals: dict[int, Proposal] = {}
        self._trials: dict[int, TrialRecord] = {}
        self._finished: list[int] = []
        """Trial numbers in the order in which their results came."""

    def propose(self, no: int, ask: Ask = Ask()) -> Proposal:
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
        if no <= len(self.setup.first_knobs):
            proposal = self._first(no)
        else:
            proposal = self._suggest(no, ask)
            self._refuse_unfit(no, proposal)
            proposal = self._allowed(no, proposal)
        self._add(no, proposal, ask.worker_id)
        return proposal

    def _refuse_unfit(self, no: int, proposal: Proposal) -> None:
        """Schemes of others are checked too: a NaN, which JSON does not have, would be stored as null.

        Raises:
            ModelError: a knob cannot take its value.
        """
        try:
            check_knobs(self.knob_config, proposal.knobs)
        except ModelError as e:
            raise ModelError(
                f"The search scheme {self.scheme!r} proposed what trial {no} cannot have: {e.message}"
            ) from e

    def feedback(self, no: int, score: float | None, *, is_ended_early: bool = False) -> None:
        """The result of trial ``no``: its score (higher is better), or None when the trial failed.

        A score that is not finite counts as failed. The first result of a trial counts; later ones are
        ignored.

        Raises:
            InvalidTrialError: when trial ``no`` was never proposed.
        """
        trial = self._trials.get(no)
        if trial is None:
            raise InvalidTrialError(f"Trial {no} was not proposed by this advisor, so it can have no score.")
        if trial.state == "pending":
            self._finish(_with_result(trial, score, is_ended_early))

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
            proposal = msgspec.structs.replace(record.proposal, knobs=dict(knobs))
            if not proposal.scheme:
                proposal = msgspec.structs.replace(proposal, scheme=self.scheme, phase="restored")
            self._add(record.no, proposal, record.worker_id)
            if record.state != "pending":
                score = record.score if record.state == "completed" else None
                self._finish(_with_result(self._trials[record.no], score, record.is_ended_early))

    @property
    def trials(self) -> list[TrialRecord]:
        """Every trial that was proposed or restored, by number."""
        return [self._trials[no] for no in sorted(self._trials)]

    # ---- what a scheme defines

    @abstractmethod
    def _suggest(self, no: int, ask: Ask) -> Proposal:
        """A proposal for a new trial; :meth:`propose` records it, and replaces one that breaks a constraint."""

    def _learn(self, trial: TrialRecord) -> None:  # noqa: B027 - not every scheme has a state of its own
        """A trial has finished. Called once for each, in the order of their results, and again in that of their
        numbers when the search is restored: a scheme with a state of its own rebuilds it here.
        """

    def may_end_early(self, proposal: Proposal) -> bool:
        """Whether a stopping rule may end this trial: no where it is no part of the competition between trials."""
        return True

    def _first_policies(self) -> Knobs:
        """The policy knobs that are on in trials of the user's own knobs."""
        return {}

    # ---- what schemes use

    def _rng(self, purpose: int | str) -> random.Random:
        """Randomness for one trial number or purpose. Seeding by a string is the same in every process."""
        return random.Random(f"{self.seed}/{purpose}")

    def _proposal(self, knobs: Knobs, phase: str, **scheme_state: JsonValue) -> Proposal:
        return Proposal(knobs=knobs, scheme=self.scheme, phase=phase, scheme_state=scheme_state)

    def _seen(self) -> set[Key]:
        """The points that were proposed so far."""
        return {self.space.key(trial.knobs) for trial in self._trials.values()}

    # ---- the records of trials

    def _first(self, no: int) -> Proposal:
        """The user's own knobs, completed."""
        given = self.setup.first_knobs[no - 1]
        rng = self._rng(f"first/{no}")
        knobs = self.space.complete(given, rng) | self._first_policies()
        return self._proposal(knobs, "first")

    def _allowed(self, no: int, proposal: Proposal) -> Proposal:
        """The proposal, or another in its place when it breaks a constraint."""
        if self.space.allows(proposal.knobs):
            return proposal
        key = draw_unseen(self.space, self._rng(f"allowed/{no}"), self._seen())
        policies = {name: proposal.knobs[name] for name in self.space.policies}
        return msgspec.structs.replace(proposal, knobs=self.space.knobs(key) | policies)

    def _add(self, no: int, proposal: Proposal, worker_id: str | None) -> None:
        self._proposals[no] = proposal
        # The knobs of the proposal go to whoever asked for it: they are not the record's own.
        kept = msgspec.structs.replace(proposal, knobs=dict(proposal.knobs))
        self._trials[no] = TrialRecord(no=no, proposal=kept, score=None, state="pending", worker_id=worker_id)

    def _finish(self, trial: TrialRecord) -> None:
        self._trials[trial.no] = trial
        self._finished.append(trial.no)
        self._learn(trial)


def _with_result(trial: TrialRecord, score: float | None, is_ended_early: bool) -> TrialRecord:
    if score is None or not math.isfinite(score):
        return msgspec.structs.replace(trial, score=None, state="failed")
    return msgspec.structs.replace(trial, score=float(score), state="completed", is_ended_early=is_ended_early)
