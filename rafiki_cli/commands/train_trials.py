"""``rafiki train trials`` and ``rafiki train best``: the trials of a train job."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.utils.nearest import did_you_mean
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.commands.trial import TRIAL_COLUMNS, duration
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    error_column,
    fit,
    id_column,
    natural_widths,
    put_rows,
)
from rafiki_cli.render.train_watch import varying_knobs
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.contract.train_jobs import TrialView

app = new_app("The trials of a train job.")

VersionOption = Annotated[int, typer.Option("--version", help="Version of the app; -1 = the latest.")]
SortOption = Annotated[
    str | None,
    typer.Option(help="score (best first), time, no, started, model, status, or a knob; -NAME turns the order round."),
]
ModelOption = Annotated[str | None, typer.Option(help="Trials of this model only.")]


@app.command(
    epilog=examples(
        "rafiki train trials digits --sort score --limit 10",
        "rafiki train trials digits --model SkSvm --sort -C",
        "rafiki train trials digits -o jsonl | jq .score",
    )
)
def trials(
    cli: Application,
    app: str,
    version: VersionOption = -1,
    model: ModelOption = None,
    sort: SortOption = None,
    offset: Annotated[int, typer.Option(min=0, help="How many to skip.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="How many to show at most. [default: all]")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the trials of a train job. On a terminal the knobs that differ have columns of their own."""
    client = cli.client()
    if sort is None and model is None:
        rows = client.get_trials_of_train_job(app, version, offset=offset, limit=limit)
    else:
        rows = _of_model(client.get_trials_of_train_job(app, version), model)
        rows = sorted_trials(rows, sort)[offset : None if limit is None else offset + limit]
    put_trials(rows, format, nothing="No more trials." if offset else "No trials yet.")


@app.command(
    epilog=examples(
        "rafiki train best digits -n 5",
        "rafiki train best digits -o json",
    )
)
def best(
    cli: Application,
    app: str,
    version: VersionOption = -1,
    count: Annotated[int, typer.Option("-n", "--count", "--limit", min=1, help="How many.")] = 2,
    sort: SortOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the trials with the highest scores, best first. These can be deployed: their parameters are kept."""
    rows = cli.client().get_best_trials_of_train_job(app, version, max_count=count)
    put_trials(sorted_trials(rows, sort), format, nothing="No completed trial yet.")


def _of_model(rows: list[TrialView], wanted: str | None) -> list[TrialView]:
    if wanted is None:
        return rows
    found = [r for r in rows if wanted in (r.model_name, r.model_ref)]
    names = list(dict.fromkeys(r.model_label for r in rows))
    if not found and names:
        hint = did_you_mean(wanted, names, f"The models with trials are {', '.join(names)}.")
        raise terminal.UsageError(f"--model {wanted!r}: no trial is of this model. {hint}")
    return found


_KEYS: dict[str, Callable[[TrialView], object]] = {
    "no": lambda r: r.no,
    "time": lambda r: values.between(r.datetime_started, r.datetime_stopped),
    "started": lambda r: r.datetime_started,
    "model": lambda r: (r.model_name, r.model_version),
    "status": lambda r: r.status,
}


def sorted_trials(rows: Sequence[TrialView], by: str | None) -> list[TrialView]:
    """Trials in an order; those that have no such value go last, in either direction.

    Args:
        by: ``score`` (highest first), another property or a knob (lowest first); with - before it the other way
            round; None = as they come.

    Raises:
        UsageError: when there is no such property or knob.
    """
    if by is None:
        return list(rows)
    name = by.removeprefix("-")
    is_reverse = by.startswith("-") != (name == "score")
    names = dict.fromkeys(k for r in rows for k in r.proposal.knobs)
    if rows and name != "score" and name not in _KEYS and name not in names:
        known = ["score", *_KEYS, *names]
        hint = did_you_mean(name, known, f"There are: {', '.join(known)}.")
        raise terminal.UsageError(f"--sort {by!r}: trials have no such property or knob. {hint}")

    def key(row: TrialView) -> object:
        if name == "score":
            return row.score
        return _KEYS[name](row) if name in _KEYS else row.proposal.knobs.get(name)

    def rank(value: object) -> tuple[bool, float, str]:
        # Numbers before texts, so that any mixture has an order.
        return (False, value, "") if isinstance(value, (int, float)) else (True, 0.0, str(value))

    def is_known(row: TrialView) -> bool:
        value = key(row)
        return value is not None and not (isinstance(value, float) and math.isnan(value))

    known_rows = [r for r in rows if is_known(r)]
    return [
        *sorted(known_rows, key=lambda r: rank(key(r)), reverse=is_reverse),
        *(r for r in rows if not is_known(r)),
    ]


def put_trials(rows: Sequence[TrialView], format: Format, *, nothing: str) -> None:
    """Put out trials; on a terminal with a column for each knob that differs, as many as fit."""
    if format is not Format.TABLE or not rows or not terminal.is_interactive():
        put_rows(rows, TRIAL_COLUMNS, format, nothing=nothing)
        return
    from rafiki_cli.render import look as looks

    columns = terminal_columns(rows)
    put_rows(rows, columns, format)
    shown = fit(columns, natural_widths(rows, columns), looks.width())
    varying = _varying(rows)
    hidden = [c.title for i, c in enumerate(columns) if i not in shown and c.title in varying]
    if hidden:
        noun = "these knobs" if len(hidden) > 1 else "this knob"
        terminal.say(f"No room for {noun}: {', '.join(hidden)}. A wider terminal or `-o json` shows all.")
    alike = {k: v for k, v in rows[0].proposal.knobs.items() if k not in varying}
    if alike and len({r.model_ref for r in rows}) == 1:
        terminal.say(f"Alike in all of these: {values.knobs(alike)}")


def _varying(rows: Sequence[TrialView]) -> list[str]:
    """The knobs that differ among trials of the same model, in the order of the knobs."""
    varying = varying_knobs(rows)
    names = dict.fromkeys(k for r in rows for k in r.proposal.knobs)
    return [n for n in names if any(n in chosen for chosen in varying.values())]


def terminal_columns(rows: Sequence[TrialView]) -> list[Column[TrialView]]:
    """The columns of trials on a terminal: what tells these apart, named as other commands take it (``SkSvm#3``)."""
    knobs = _varying(rows)
    is_same_status = len({r.status for r in rows}) == 1 and rows[0].status == "COMPLETED"
    columns = [Column("TRIAL", resolve.trial_name, short=_short_name)]
    columns += [] if is_same_status else [Column("STATUS", lambda r: r.status)]
    columns += [
        Column("SCORE", lambda r: values.score(r.score), is_right=True),
        Column("TIME", _time, is_right=True),
    ]
    # The first knobs stay longest; the ids, which `-o json` has in full, go before any of them.
    columns += [_knob_column(name, rows, rank=number + 1) for number, name in enumerate(knobs)]
    return [id_column(rank=len(knobs) + 1), *columns, error_column(lambda r: r.error, least=16)]


_MOST_NAME_CHARS = 24


def _short_name(row: TrialView) -> str:
    """The trial's name, of a long model name only the beginning: the number is what commands ask for."""
    name, number = row.model_label, f"#{row.no}"
    most = _MOST_NAME_CHARS - len(number)
    return f"{name if len(name) <= most else name[: most - 1] + '…'}{number}"


def _time(row: TrialView) -> str:
    return f"{duration(row)} ⏹" if row.ended_early else duration(row)


def _knob_column(name: str, rows: Sequence[TrialView], rank: int) -> Column[TrialView]:
    def value(row: TrialView) -> object:
        return row.proposal.knobs.get(name)

    is_right = all(isinstance(v, (int, float)) and not isinstance(v, bool) for r in rows if (v := value(r)) is not None)
    # Never so narrow that its name is cut: then it rather goes.
    return Column(name, value, is_right=is_right, least=None if is_right else len(name), rank=rank)
