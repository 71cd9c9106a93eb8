"""Efficient neural architecture search: architectures share their weights, a controller learns which are good."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Container

import msgspec

from rafiki.advisor.base import Advisor, Ask, SearchSetup, TrialRecord
from rafiki.advisor.enas_controller import Choices, Controller
from rafiki.advisor.enas_reinforce import Baseline
from rafiki.advisor.enas_schedule import Line, Phase, Schedule
from rafiki.advisor.enas_scheme import EnasOptions
from rafiki.advisor.space import Key
from rafiki.constants import SharePolicy
from rafiki.knob_specs import Scalar
from rafiki.model.knobs import ArchKnob, KnobConfig, KnobValue
from rafiki.proposals import Proposal
from rafiki.utils.values import JsonValue

_POLICIES: dict[Phase, frozenset[str]] = {
    # Its score is compared with nothing: but its parameters may be served, when the budget ends before the closing,
    # so it is that of the whole validation dataset.
    Phase.TRAIN: frozenset({"SHARE_PARAMS", "EARLY_STOP", "DOWNSCALE"}),
    Phase.SEARCH: frozenset({"SHARE_PARAMS", "SKIP_TRAIN", "QUICK_EVAL", "DOWNSCALE"}),
    Phase.FINAL: frozenset({"SHARE_PARAMS", "SKIP_TRAIN", "DOWNSCALE"}),
    Phase.FULL: frozenset(),
}
_TRIES = 32
_RECENT = 200
_NO_WORKER = ""


class EnasAdvisor(Advisor):
    """For models with fixed, architecture and all five policy knobs. Pham, Guan, Zoph, Le and Dean, "Efficient neural
    architecture search via parameter sharing", 2018.

    ========  ================================================  ============================================
    phase     policies that are on                              parameters
    ========  ================================================  ============================================
    train     SHARE_PARAMS, EARLY_STOP (one epoch), DOWNSCALE   of the worker's latest training; at its first,
                                                                of anyone's latest
    search    SHARE_PARAMS, SKIP_TRAIN, QUICK_EVAL, DOWNSCALE   of the worker's latest training
    final     SHARE_PARAMS, SKIP_TRAIN, DOWNSCALE               of anyone's latest training, so that all final
                                                                scores come from the same weights
    full      none                                              afresh
    ========  ================================================  ============================================

    :class:`~rafiki.advisor.enas_schedule.Schedule` says when each comes. Architectures to train and to search with are
    drawn from the controller's policy. Each score of the search phase is one step of REINFORCE, against a moving
    average of the same worker's scores: workers train weights of their own, on which scores differ. Of the final
    evaluations the first is of the policy's likeliest architecture; the others are in turn of those that scored best
    lately, and drawn. What remains of the budget after the best was trained in full goes to the next best.

    The state follows from the records of trials: phase and line are in a proposal, architecture and score in
    its record, and each is learnt from once. Trials of earlier
    searches teach nothing: their scores belong to weights that are gone. A proposal that was computed for no worker in
    particular belongs to a line of its own, which goes on from anyone's latest training.
    """

    scheme = "enas"
    is_for_workers = True

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        options = setup.options if isinstance(setup.options, EnasOptions) else EnasOptions()
        self._schedule = Schedule(setup, options)
        self._arch = _Architecture(setup.knob_config)
        self._controller = Controller(self._arch.positions, self._rng("controller").getrandbits(32))
        self._lines: defaultdict[str, Line] = defaultdict(Line)
        self._baselines: defaultdict[str, Baseline] = defaultdict(Baseline)
        self._n_trained = 0
        self._recent: deque[tuple[float, Key]] = deque(maxlen=_RECENT)
        self._finals: dict[Key, float | None] = {}
        """Score of each architecture that was evaluated at the end; None while it is pending, or when it failed."""
        self._n_finals = 0
        self._full: set[Key] = set()
        self._is_closing = False

    def _suggest(self, no: int, ask: Ask) -> Proposal:
        # Once begun, the closing goes on, even if a restarted search counts less of its budget as used.
        if self._is_closing or self._schedule.is_closing(no, ask.budget_used):
            return self._close(no, ask.budget_used)
        name = ask.worker_id or _NO_WORKER
        line = self._lines[name]
        phase = self._schedule.phase_of_line(line, no, ask.budget_used)
        start_from: SharePolicy | None = SharePolicy.LOCAL_RECENT
        if name == _NO_WORKER or (phase is Phase.TRAIN and line.n_trained == 0):
            start_from = SharePolicy.GLOBAL_RECENT if self._n_trained else None
        return self._of(phase, self._draw(self._rng(no), ()), start_from, line=name)

    def _close(self, no: int, budget_used: float) -> Proposal:
        untrained = {key: score for key, score in self._finals.items() if score is not None and key not in self._full}
        if self._schedule.is_full_due(no, budget_used, self._n_finals, bool(untrained)):
            best = max(untrained, key=lambda key: untrained[key]) if untrained else self._next_best(no, self._full)
            return self._of(Phase.FULL, best, None)
        start_from = SharePolicy.GLOBAL_RECENT if self._n_trained else None
        if self._n_finals % 2 == 1:
            key = self._next_best(no, self._finals)
        else:
            key = self._draw(self._rng(no), self._finals, is_greedy_first=self._n_finals == 0)
        return self._of(Phase.FINAL, key, start_from)

    def _of(self, phase: Phase, key: Key, start_from: SharePolicy | None, **scheme_state: JsonValue) -> Proposal:
        on = _POLICIES[phase]
        knobs = self.space.knobs(key) | {name: p in on for name, p in self.space.policies.items()}
        return msgspec.structs.replace(self._proposal(knobs, phase.value, **scheme_state), start_from=start_from)

    def may_end_early(self, proposal: Proposal) -> bool:
        # The architectures of the closing are compared on all that they reach.
        return proposal.phase != Phase.FINAL

    def _draw(self, rng: random.Random, seen: Container[Key], is_greedy_first: bool = False) -> Key:
        """An allowed architecture of the policy that is none of ``seen``, or at least nearly so."""
        key = self._arch.key(self._controller.greedy() if is_greedy_first else self._controller.sample(rng))
        for _ in range(_TRIES):
            if key not in seen and self.space.allows_key(key):
                break
            key = self._arch.key(self._controller.sample(rng))
        return key

    def _next_best(self, no: int, seen: Container[Key]) -> Key:
        """The architecture with the best score of the recent evaluations that is none of ``seen``."""
        left = [(score, key) for score, key in self._recent if key not in seen]
        return max(left, key=lambda pair: pair[0])[1] if left else self._draw(self._rng(no), seen, is_greedy_first=True)

    # ---- the state, which follows from the trials

    def _add(self, no: int, proposal: Proposal, worker_id: str | None) -> None:
        super()._add(no, proposal, worker_id)
        phase = proposal.phase
        if phase in (Phase.TRAIN, Phase.SEARCH):
            self._lines[_line_of(proposal)].begin(phase)
        elif phase == Phase.FINAL:
            self._is_closing = True
            self._n_finals += 1
            self._finals.setdefault(self.space.key(proposal.knobs), None)
        elif phase in (Phase.FULL, "first"):
            # Knobs that the user gave first are trained in full, too.
            self._is_closing = self._is_closing or phase == Phase.FULL
            self._full.add(self.space.key(proposal.knobs))

    def _learn(self, trial: TrialRecord) -> None:
        name = _line_of(trial.proposal)
        match trial.proposal.phase:
            case Phase.TRAIN:
                is_completed = trial.state == "completed"
                self._n_trained += is_completed
                self._lines[name].finish_training(is_completed)
                self._baselines[name].expect_change()
            case Phase.SEARCH if trial.score is not None:
                key = self.space.key(trial.knobs)
                self._recent.append((trial.score, key))
                self._controller.update(self._arch.choices(key), self._baselines[name].advantage(trial.score))
            case Phase.FINAL if trial.score is not None:
                self._finals[self.space.key(trial.knobs)] = trial.score
            case _:
                return


class _Architecture:
    """The positions of all architecture knobs that leave a choice, one after the other; what their candidates mean."""

    def __init__(self, knob_config: KnobConfig) -> None:
        self.positions: list[list[int]] = []
        """Of each position the numbers of its candidates' values; the same KnobValue object has the same number."""
        self._candidates: list[list[Scalar]] = []
        numbers: dict[int, int] = {}
        for knob in knob_config.values():
            if not isinstance(knob, ArchKnob):
                continue
            for position in knob.items:
                # Equal candidates of one position are one choice, as in the search space.
                distinct: dict[Scalar, KnobValue] = {}
                for candidate in position:
                    distinct.setdefault(candidate.value, candidate)
                if len(distinct) > 1:
                    self._candidates.append(list(distinct))
                    self.positions.append([numbers.setdefault(id(v), len(numbers)) for v in distinct.values()])

    def key(self, choices: Choices) -> Key:
        return tuple(values[choice] for values, choice in zip(self._candidates, choices, strict=True))

    def choices(self, key: Key) -> Choices:
        return [values.index(value) for values, value in zip(self._candidates, key, strict=True)]


def _line_of(proposal: Proposal) -> str:
    """The worker on whose line it is."""
    line = proposal.scheme_state.get("line")
    return line if isinstance(line, str) else _NO_WORKER
