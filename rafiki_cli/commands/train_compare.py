"""``rafiki train compare``: train jobs side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import TrainJobStatus
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Format, FormatOption, put_data

if TYPE_CHECKING:
    from rafiki.analysis.comparison import ComparedJob, JobSummary
    from rafiki.client.records import AdminClient

app = new_app("Comparisons of train jobs.")


@app.command(
    epilog=examples(
        "rafiki train compare digits@1 digits@2",
        "rafiki train compare digits letters@3 -o jsonl",
    )
)
def compare(
    cli: Application,
    jobs: Annotated[list[str], typer.Argument(metavar="APP[@VERSION]...", help="Two or more; the latest alone.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Compare train jobs side by side: settings, results, the best knobs, and how soon these were found.

    What differs is marked. Deltas are against the first job.
    """
    targets = [parse_target(text) for text in jobs]
    if len(targets) < 2:
        raise terminal.UsageError("Name two train jobs or more to compare, such as `digits@1 digits@2`.")
    from rafiki.analysis import comparison

    client = cli.client()
    found = comparison.compare(_described(client, targets))
    if format is not Format.TABLE:
        put_data(found, format)
        return
    from rafiki_cli.render import look as looks
    from rafiki_cli.render.comparison import comparison_lines

    for line in comparison_lines(found, looks.width() if terminal.is_interactive() else None, looks.of_stdout()):
        terminal.put(line)
    _say_what_to_mind(found)


def parse_target(text: str) -> tuple[str, int]:
    """An app and its version: ``digits@2``; of ``digits`` alone the latest, -1.

    Raises:
        UsageError: when what follows the @ is no version.
    """
    app, at, version = text.rpartition("@")
    if not at:
        return text, -1
    if not app or not re.fullmatch(r"[1-9][0-9]*", version):
        raise terminal.UsageError(f"{text!r}: write an app and its version as in digits@2, or the app alone.")
    return app, int(version)


def _described(client: AdminClient, targets: Sequence[tuple[str, int]]) -> list[JobSummary]:
    from rafiki.analysis.comparison import describe, name_of

    names = {d.id: d.name for d in client.get_datasets()}
    found: list[JobSummary] = []
    for app, version in targets:
        job = client.get_train_job(app, version)
        trials = client.get_trials_of_train_job(job.app, job.app_version)
        found.append(describe(job, trials, names))
    seen = [name_of(job) for job in found]
    if double := next((n for n in seen if seen.count(n) > 1), None):
        raise terminal.UsageError(f"{double} is named twice. Name different train jobs.")
    return found


def _say_what_to_mind(jobs: Sequence[ComparedJob]) -> None:
    """What makes scores hard to compare, or not final."""
    from rafiki.analysis.comparison import name_of

    first = jobs[0]
    others = [name_of(j) for j in jobs if {"val_dataset", "task"} & set(j.differs)]
    if others:
        terminal.warn(
            f"{', '.join(others)}: scored on other validation data than {name_of(first)}, so the scores do not compare."
        )
    going = [name_of(j) for j in jobs if j.status in (TrainJobStatus.STARTED, TrainJobStatus.RUNNING)]
    if going:
        terminal.say(f"Still going on: {', '.join(going)}.")
