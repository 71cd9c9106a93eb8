"""Reports of jobs for CI: JUnit XML, and a summary in Markdown."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rafiki.constants import ExitCode, TrainJobStatus, TrialStatus
from rafiki.utils.files import write_atomic
from rafiki.utils.paths import why
from rafiki.utils.urls import http_url
from rafiki_cli.jobs.outcome import Outcome
from rafiki_cli.render import values
from rafiki_cli.render.ensembles import ensemble_line
from rafiki_cli.terminal import UsageError

if TYPE_CHECKING:
    from junitparser import TestCase
    from junitparser.junitparser import FinalResult

    Told = TypeVar("Told", bound=FinalResult)

_PARTS = ("datasets", "models", "train", "deploy")
_BEST_ROWS = 5
_CODES_OF_PART = {
    ExitCode.JOB_ERRORED: "train",
    ExitCode.NO_RESULT: "train",
    ExitCode.TIMED_OUT: "train",
}


def check_report(file: Path) -> None:
    """Whether a report can be written there, before hours are spent on what it tells.

    Raises:
        UsageError: when it cannot.
    """
    folder = file.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if file.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "it is a folder" if file.is_dir() else f"{folder} cannot be written to"
        raise UsageError(f"{file}: the report cannot be written: {what}.")


def write_report(file: Path, text: str) -> None:
    """Write a report, with the folders above it.

    Raises:
        UsageError: when it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text.encode(errors="replace"))
    except OSError as e:
        raise UsageError(f"{file}: the report cannot be written: {why(e)}.") from e


# ---- JUnit


def junit(outcomes: Sequence[Outcome]) -> str:
    """JUnit XML: a test suite for each job; a test case for each part of it and for each gate."""
    from junitparser import JUnitXml, TestSuite

    xml = JUnitXml("rafiki")
    for outcome in outcomes:
        suite = TestSuite(f"{outcome.app} v{outcome.version}" if outcome.version else outcome.app)
        suite.add_testcases(list(_cases(outcome)))
        xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    out = io.BytesIO()
    xml.write(out, pretty=True)
    return out.getvalue().decode()


def _cases(outcome: Outcome) -> Iterator[TestCase]:
    from junitparser import Error, Failure, Skipped, TestCase

    def case(name: str, seconds: float, result: FinalResult | None) -> TestCase:
        found = TestCase(_clean(name), classname=f"rafiki.{outcome.app}", time=round(seconds, 2))
        found.result = [] if result is None else [result]
        return found

    failed = _failed_part(outcome)
    is_reached = True
    for part in _PARTS:
        for gate in outcome.gates if part == "deploy" else []:
            yield case(f"gate {gate.name}: {gate.text}", 0.0, None if gate.is_met else _told(Failure, gate.text))
        result: FinalResult | None = None
        if part == failed:
            result = _told(Error, outcome.message)
            is_reached = False
        elif not is_reached or (part == "deploy" and outcome.predictor_host is None):
            serves = "; ".join(s.text for s in outcome.serving) if part == "deploy" else ""
            result = Skipped(_clean(serves)) if serves else Skipped()
        found = case(part, outcome.seconds.get(part, 0.0), result)
        if part == "train" and result is None:
            found.system_out = _clean("\n".join(_trial_lines(outcome)))
        yield found


def _failed_part(outcome: Outcome) -> str | None:
    if outcome.exit_code in (ExitCode.OK, ExitCode.GATE_MISSED):
        return None
    if outcome.train_job is not None and outcome.trials and outcome.exit_code is not ExitCode.NO_RESULT:
        is_trained = outcome.train_job.status is TrainJobStatus.STOPPED
        return "deploy" if is_trained else "train"
    if found := _CODES_OF_PART.get(outcome.exit_code):
        return found
    if outcome.train_job is not None:
        return "train"
    return "models" if "models" in outcome.seconds else "datasets"


def _told(kind: type[Told], message: str) -> Told:
    """A failure or an error: its first line as the title, all of it below."""
    result = kind(_clean(message.splitlines()[0] if message else kind.__name__))
    result.text = _clean(message)
    return result


def _clean(text: str) -> str:
    """Without the control characters that XML has no way to write."""
    return "".join(
        c for c in text if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff")
    )


def _trial_lines(outcome: Outcome) -> list[str]:
    from rafiki_cli.render.train_watch import trial_line

    return [trial_line(t) for t in outcome.trials if t.status in (TrialStatus.COMPLETED, TrialStatus.ERRORED)]


# ---- Markdown


def markdown(outcomes: Sequence[Outcome]) -> str:
    """A summary for people: what was reached, the gates, the best trials, where it is served."""
    return "\n".join(_section(outcome) for outcome in outcomes)


def _section(outcome: Outcome) -> str:
    name = f"{outcome.app} v{outcome.version}" if outcome.version else outcome.app
    mark = "✅" if outcome.is_ok else "❌"
    lines = [f"## {mark} {_escape(name)}: {_verdict(outcome)}", ""]
    if not outcome.is_ok:
        lines += [f"> {_escape(line)}" for line in outcome.message.splitlines() or [""]] + [""]
    if outcome.gates:
        lines += ["| gate | wanted | found | |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{g.name}` | {values.number(g.wanted)} | {'-' if g.found is None else values.number(g.found)} | "
            f"{'met' if g.is_met else '**missed**'} |"
            for g in outcome.gates
        ]
        lines += [""]
    scored = sorted((t for t in outcome.trials if t.score is not None), key=lambda t: -(t.score or 0.0))[:_BEST_ROWS]
    if scored:
        completed, failed = outcome.count(TrialStatus.COMPLETED), outcome.count(TrialStatus.ERRORED)
        lines += [f"{values.count(completed, 'trial')} completed, {failed} failed. The best:", ""]
        lines += ["| trial | score | time | knobs |", "| --- | --- | --- | --- |"]
        for t in scored:
            time = values.duration(values.between(t.datetime_started, t.datetime_stopped))
            knobs = _code(values.knobs(t.proposal.knobs))
            lines.append(f"| {_escape(t.model_label)}#{t.no} | {values.score(t.score)} | {time} | {knobs} |")
        lines += [""]
    ensemble = outcome.ensemble
    if ensemble is not None and ensemble.validation_score is not None:
        text = _escape(ensemble_line(ensemble, outcome.n_members) or "")
        lines += [f"{text[:1].upper()}{text[1:]}.", ""]
    if outcome.predictor_host:
        lines += [f"Serves at `{http_url(outcome.predictor_host)}/predict`.", ""]
    elif outcome.serving and outcome.serving[0].text not in outcome.message:
        lines += [f"{_escape(s.text)}." for s in outcome.serving] + [""]
    if outcome.plan:
        done = [f"{step.kind} {step.name}: {step.verb} ({step.reason})" for step in outcome.plan.steps]
        lines += [
            "<details><summary>What was done</summary>",
            "",
            *(f"- {_escape(line)}" for line in done),
            "",
            "</details>",
        ]
    return "\n".join(lines) + "\n"


def _verdict(outcome: Outcome) -> str:
    match outcome.exit_code:
        case ExitCode.OK:
            best = outcome.best
            score = f", best score {values.score(best.score)}" if best else ""
            if outcome.ensemble is not None and outcome.ensemble.validation_score is not None:
                score += f", ensemble {values.score(outcome.ensemble.validation_score)}"
            return f"{outcome.message or 'done'}{score}"
        case ExitCode.GATE_MISSED:
            return "gate missed"
        case ExitCode.TIMED_OUT:
            return "timed out"
        case code:
            return code.name.lower().replace("_", " ")


def _code(text: str) -> str:
    """Code in a table: a backtick would end it, a bar the cell."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`".replace("|", "\\|")


def _escape(text: str) -> str:
    for sign in "\\`*_{}[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
