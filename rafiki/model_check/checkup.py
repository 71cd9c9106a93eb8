"""The whole flow on one model, looked at closely: what `rafiki model test` shows, and what a project's own tests call.

It does what a train worker and an inference worker do, in their order, and compares what a model predicts before its
parameters were stored with what a fresh instance predicts after it loaded them. What happens is told as the events of
:mod:`rafiki.check_events`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from rafiki.check_events import (
    CheckEvent,
    CheckFailed,
    CheckPassed,
    CheckRequest,
    CheckWarning,
    FailedLine,
    StepBegun,
    StepDone,
    TrialEnded,
)
from rafiki.errors import InvalidQueryError, ModelError, RafikiError
from rafiki.knob_specs import Knobs
from rafiki.model.base import BaseModel, Params
from rafiki.model.knobs import FixedKnob, KnobConfig, PolicyKnob
from rafiki.model.loader import load_model_class_from_path
from rafiki.model_check import trial_steps
from rafiki.model_check.signatures import Problem, find_problem, find_static_problem
from rafiki.model_check.trial_steps import MethodFailedError, UnknownKnobError, find_difference
from rafiki.tasks.registry import get_task
from rafiki.tasks.validation import CombiningTask
from rafiki.utils.values import JsonValue

N_QUERIES = 8
"""Queries that are made from the validation dataset when none are given."""
Report = Callable[[CheckEvent], None]


class TrialResult(msgspec.Struct, kw_only=True):
    """One trial."""

    no: int
    knobs: Knobs
    score: float
    time_s: float


class CheckReport(msgspec.Struct, kw_only=True):
    """How a model did that passed."""

    trials: list[TrialResult]
    predictions: list[JsonValue]
    """Of the first trial, as decoded JSON; one for each query."""
    warnings: list[str]

    @property
    def best(self) -> TrialResult:
        """The trial with the highest score."""
        return max(self.trials, key=lambda t: t.score)

    @property
    def best_score(self) -> float:
        return self.best.score


def check_model(
    file: str | Path,
    model_class: str,
    task: str,
    train_path: str | Path,
    val_path: str | Path,
    *,
    queries: Sequence[JsonValue] | None = None,
    trials: int = 1,
    knobs: Mapping[str, object] | None = None,
    train_args: Mapping[str, JsonValue] | None = None,
) -> CheckReport:
    """Run the whole flow on one model, in this process: for the tests of a project.

    Args:
        file: the model's file.
        model_class: the class in it.
        task: its task; datasets, queries and predictions are checked by its rules.
        train_path, val_path: the datasets.
        queries: JSON values, as clients would send them; by default some are made from the validation dataset.
        trials: how many, each with knobs of its own.
        knobs: values of knobs to fix.
        train_args: further arguments of ``train``.

    Raises:
        ModelError: when the model fails: naming the method, why, and the line of its file.
        RafikiError: when an argument is wrong.
    """
    texts = {name: value if isinstance(value, str) else str(value) for name, value in (knobs or {}).items()}
    request = CheckRequest(
        file=str(file), model_class=model_class, task=task, train_path=str(train_path), val_path=str(val_path),
        queries=None if queries is None else list(queries), trials=trials, knobs=texts,
        train_args=dict(train_args or {}),
    )  # fmt: skip
    return Checkup(request, lambda event: None).run()


class Checkup:
    """One check of one model."""

    def __init__(self, request: CheckRequest, report: Report) -> None:
        self._request, self._report = request, report
        self._file_name = Path(request.file).name
        self._rules = get_task(request.task)
        self._trial: int | None = None
        self._knobs: Knobs | None = None
        self._knob_config: KnobConfig = {}
        self._queries: list[object] = []
        self._labels: Sequence[object] | None = None
        self._shared: Params | None = None
        self._predictions: list[JsonValue] = []
        self._warnings: list[str] = []
        self._is_failure_reported = False

    def run(self) -> CheckReport:
        """Check, and report how it goes.

        Raises:
            ModelError: when the model fails; told already.
            RafikiError: when something of the request is wrong; told already.
        """
        model_class = self._prepare()
        limits = trial_steps.budget_of(self._request.trials)
        found = []

        def run_trial(no: int, knobs: Knobs) -> tuple[float, float]:
            self._trial, self._knobs = no, knobs
            started = time.perf_counter()
            score = self._run_trial(model_class, no, knobs)
            return score, time.perf_counter() - started

        trials = trial_steps.search(self._knob_config, self._constraints, limits, run_trial)
        try:
            for no, knobs, score, time_s in trials:
                found.append(TrialResult(no=no, knobs=knobs, score=score, time_s=time_s))
                self._report(TrialEnded(no=no, knobs=knobs, score=score, time_s=time_s))
        except RafikiError as e:
            if not self._is_failure_reported:
                # The search itself: constraints, say, that no knobs satisfy.
                self._report_failure("search", e, is_usage=False)
            raise
        report = CheckReport(trials=found, predictions=self._predictions, warnings=self._warnings)
        self._report(CheckPassed(best=report.best.no))
        return report

    # ---- before the first trial ------------------------------------------------------------------------------------

    def _prepare(self) -> type[BaseModel]:
        request = self._request
        if request.dependencies:
            with self._step("dependencies", is_usage=True) as done:
                trial_steps.check_dependencies(request.dependencies)
                done(", ".join(f"{n} {v}".strip() for n, v in request.dependencies.items()))
        with self._step("datasets", is_usage=True) as done:
            told = trial_steps.check_datasets(self._rules, (request.train_path, request.val_path))
            done(f"{Path(request.train_path).name} and {Path(request.val_path).name} fit {request.task}")
        for warning in told:
            self._warn("datasets", warning)
        with self._step("class") as done:
            model_class = load_model_class_from_path(request.file, request.model_class)
            _refuse(find_static_problem(model_class))
            done(f"{request.model_class} has all methods")
        with self._step("knobs") as done:
            config, self._constraints = trial_steps.read_knobs(model_class, self._file_name)
            self._knob_config = trial_steps.fix_knobs(config, request.knobs)
            _refuse(find_problem(model_class, config, request.train_args))
            done(_about_knobs(self._knob_config, self._constraints))
        with self._step("queries", is_usage=True) as done:
            self._take_queries()
            origin = "made from the validation dataset" if request.queries is None else "given"
            done(f"{len(self._queries)} {origin}" if self._queries else "none: give some with --query-file")
        if not self._queries:
            self._warn("queries", f"predict() is not called: Rafiki knows no queries of the task {request.task}.")
        return model_class

    def _take_queries(self) -> None:
        request = self._request
        paths = (Path(request.val_path), Path(request.train_path))
        if request.queries is not None:
            for no, query in enumerate(request.queries, 1):
                try:
                    self._queries += trial_steps.decode_queries([query], self._rules)
                except InvalidQueryError as e:
                    raise InvalidQueryError(f"Query {no}: {e.message}") from e
        elif isinstance(self._rules, CombiningTask):
            sample = self._rules.read_validation(*paths, request.train_args, N_QUERIES)
            self._queries, self._labels = list(sample.queries), sample.labels
        else:
            examples = self._rules.read_examples(*paths, request.train_args, N_QUERIES)
            self._queries = [self._rules.decode_query(example) for example in examples]

    # ---- one trial -------------------------------------------------------------------------------------------------

    def _run_trial(self, model_class: type[BaseModel], no: int, knobs: Knobs) -> float:
        request, file_name = self._request, self._file_name
        with self._step("__init__()") as done:
            model = trial_steps.create(model_class, knobs, file_name)
            done(", ".join(f"{name}={_short(value)}" for name, value in knobs.items()))
        policies = {k.policy for n, k in self._knob_config.items() if isinstance(k, PolicyKnob) and knobs[n]}
        with self._step("train()") as done:
            shared = self._shared if "SHARE_PARAMS" in policies else None
            trial_steps.train(model, request.train_path, request.train_args, file_name, shared)
            done(f"on {Path(request.train_path).name}{' from shared parameters' if shared else ''}")
        with self._step("evaluate()") as done:
            score = trial_steps.evaluate(model, request.val_path, file_name)
            done(f"score {score:.6g}")
        if "SKIP_TRAIN" in policies:
            # It evaluated what others trained; a train job keeps and serves no such trial.
            self._clean_up(model)
            return score
        with self._step("dump_parameters()") as done:
            params, stored = trial_steps.dump(model, file_name)
            done(f"{len(params)} parameter{'' if len(params) == 1 else 's'} of allowed types, {len(stored):,} bytes")
        before = self._predict(model)
        with self._step("load_parameters()") as done:
            served = trial_steps.create(model_class, knobs, file_name)
            trial_steps.load(served, stored, file_name)
            done("into a fresh instance")
        if self._queries:
            with self._step("comparison") as done:
                self._compare(model, served, before)
                done("the same predictions before and after loading")
        self._clean_up(model, served)
        if no == 1:
            self._predictions = before
        if "SHARE_PARAMS" in {k.policy for k in self._knob_config.values() if isinstance(k, PolicyKnob)}:
            self._shared = params
        return score

    def _predict(self, model: BaseModel) -> list[JsonValue]:
        if not self._queries:
            return []
        with self._step("predict()") as done:
            found = trial_steps.predict(model, self._queries, self._rules, self._file_name)
            self._check_fit(found)
            done(f"{len(found)} predictions that fit {self._request.task}: {_short(found[0])}")
        return found

    def _compare(self, model: BaseModel, served: BaseModel, before: list[JsonValue]) -> None:
        after = trial_steps.predict(served, self._queries, self._rules, self._file_name)
        differences = [(no, d) for no, (a, b) in enumerate(zip(before, after, strict=True), 1)
                       if (d := find_difference(a, b)) is not None]  # fmt: skip
        if differences:
            no, difference = differences[0]
            others = f" ({len(differences)} of {len(before)} queries differ)" if len(differences) > 1 else ""
            again = trial_steps.predict(model, self._queries, self._rules, self._file_name)
            if find_difference(before, again) is not None:
                raise MethodFailedError.of(
                    "predict()",
                    f"query {no}: the same instance answers differently when asked again{others}",
                    "Make it depend on the query and the parameters alone: draw no random numbers, and switch dropout "
                    "and the like off (model.eval() in torch).",
                )
            raise MethodFailedError.of(
                "load_parameters()",
                f"query {no}: the trained model and the loaded one predict differently: {difference}{others}",
                "Whatever predict() needs must be in what dump_parameters() returns, or follow from the knobs.",
            )
        # Workers answer whatever queries wait in one call, so an answer must not depend on its neighbours.
        alone = [trial_steps.predict(served, [q], self._rules, self._file_name)[0] for q in self._queries]
        for no, (together, single) in enumerate(zip(after, alone, strict=True), 1):
            if (found := find_difference(together, single)) is not None:
                self._warn("predict()", f"Query {no} is answered differently alone and among others: {found}.")
                return

    def _check_fit(self, predictions: list[JsonValue]) -> None:
        """What a task asks for beyond the form of one prediction.

        Raises:
            MethodFailedError: naming the query.
        """
        misfit = self._rules.find_misfit(self._queries, predictions, self._labels)
        if misfit is None:
            return
        if misfit.advice is not None:
            raise MethodFailedError.of("predict()", misfit.reason, misfit.advice)
        self._warn("predict()", misfit.reason)

    def _clean_up(self, *models: BaseModel) -> None:
        for model in models:
            try:
                trial_steps.destroy(model, self._file_name)
            except ModelError as e:
                # As in a worker: the trial's result stands.
                self._warn("destroy()", e.message)

    # ---- telling ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _step(self, name: str, *, is_usage: bool = False) -> Iterator[Callable[[str], None]]:
        details = [""]

        def done(detail: str) -> None:
            details[0] = detail

        self._report(StepBegun(name=name, trial=self._trial))
        started = time.perf_counter()
        try:
            yield done
        except RafikiError as e:
            self._report_failure(name, e, is_usage)
            raise
        time_s = time.perf_counter() - started
        if self._trial in (None, 1):
            self._report(StepDone(name=name, trial=self._trial, time_s=time_s, detail=details[0]))

    def _report_failure(self, name: str, e: RafikiError, is_usage: bool) -> None:
        self._is_failure_reported = True
        if isinstance(e, MethodFailedError):
            frames = [FailedLine(line=f.line, function=f.function, code=f.code) for f in e.frames]
            failed = CheckFailed(
                name=name, method=e.method, reason=e.reason, advice=e.advice, frames=frames, knobs=self._knobs
            )
        else:
            is_usage = is_usage or isinstance(e, UnknownKnobError)
            failed = CheckFailed(name=name, method="", reason=e.message, is_usage=is_usage, knobs=self._knobs)
        self._report(failed)

    def _warn(self, name: str, message: str) -> None:
        if message not in self._warnings:
            self._warnings.append(message)
            self._report(CheckWarning(name=name, message=message))


def _refuse(problem: Problem | None) -> None:
    if problem is not None:
        raise MethodFailedError.of(*problem)


def _about_knobs(config: KnobConfig, constraints: tuple[str, ...]) -> str:
    free = [n for n, k in config.items() if not isinstance(k, (FixedKnob, PolicyKnob))]
    others = [n for n in config if n not in free]
    parts = [f"{len(free)} to search ({', '.join(free)})"] if free else ["none to search"]
    parts += [f"{len(others)} fixed or policies ({', '.join(others)})"] if others else []
    parts += [f"{len(constraints)} constraint{'' if len(constraints) == 1 else 's'}"] if constraints else []
    return ", ".join(parts)


def _short(value: object) -> str:
    if isinstance(value, list) and value and all(isinstance(v, float) for v in value):
        text = f"[{', '.join(f'{v:.3g}' for v in value)}]"
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
