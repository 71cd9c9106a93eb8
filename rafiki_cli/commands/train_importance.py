"""``rafiki train importance``: which knobs mattered for the best scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import ExitCode
from rafiki.errors import RafikiError
from rafiki.utils.nearest import did_you_mean
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, plain_record, put_data, put_rows

if TYPE_CHECKING:
    from rafiki.analysis.importance import Choice, ChoiceMarginal, Importance, KnobImportance, NumberMarginal
    from rafiki.client.records import AdminClient
    from rafiki.contract.train_jobs import SubTrainJobView, TrainJobView, TrialView
    from rafiki.knob_specs import KnobSpecs

app = new_app("What mattered in a train job.")


@app.command(
    epilog=examples(
        "rafiki train importance digits",
        "rafiki train importance digits --model SkSvm --knob C",
        "rafiki train importance digits --quantile 0.1 -o json",
    )
)
def importance(
    cli: Application,
    app: Annotated[str, typer.Argument(help="The app of the train job.")],
    version: Annotated[int, typer.Option("--version", help="Version of the app; -1 = the latest.")] = -1,
    model: Annotated[str | None, typer.Option(help="One model of the job only.")] = None,
    quantile: Annotated[float, typer.Option(help="The part of the trials that counts as the best.")] = 0.25,
    knob: Annotated[str | None, typer.Option(help="Draw the scores over this knob instead.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show which knobs mattered for the best scores, how sure that is, and where the best values are."""
    if not 0 < quantile < 1:
        raise terminal.UsageError(f"--quantile {quantile:g}: write a number above 0 and below 1, such as 0.25.")
    client = cli.client()
    job = client.get_train_job(app, version)
    trials = client.get_trials_of_train_job(app, job.app_version)
    models = _chosen(job, model)
    configs = knob_configs(client, job, models)
    by_model = {m.model_label: [t for t in trials if t.model_ref == m.model_ref] for m in models}
    if knob is None:
        _put_importances(by_model, configs, quantile, format)
    else:
        _put_marginals(by_model, configs, quantile, knob, format)


def _chosen(job: TrainJobView, wanted: str | None) -> list[SubTrainJobView]:
    """The models of a job, or the one that is wanted.

    Raises:
        UsageError: when the job has no such model.
    """
    models = job.models
    if wanted is None:
        return models
    found = [m for m in models if wanted in (m.model_name, m.model_ref)]
    if not found:
        names = [m.model_label for m in models]
        hint = did_you_mean(wanted, names, f"Its models are {', '.join(names)}.")
        raise terminal.UsageError(f"--model {wanted!r}: this train job has no such model. {hint}")
    return found


def knob_configs(
    client: AdminClient, job: TrainJobView, models: Sequence[SubTrainJobView]
) -> dict[str, KnobSpecs | None]:
    """The knobs of each model by its name; None where this user may not see the model any more."""
    known = {m.id: m.knob_config for m in client.get_available_models(job.task, all_versions=True)}
    found: dict[str, KnobSpecs | None] = {}
    for model in models:
        if model.model_id in known:
            found[model.model_label] = known[model.model_id]
            continue
        try:
            found[model.model_label] = client.get_model(model.model_id).knob_config
        except RafikiError:
            # A model of somebody else that is public no more: the trials tell what they tried.
            found[model.model_label] = None
    return found


def _put_importances(
    by_model: dict[str, list[TrialView]], configs: dict[str, KnobSpecs | None], quantile: float, format: Format
) -> None:
    from rafiki.analysis.importance import importance_of

    found = [importance_of(name, trials, configs[name], quantile) for name, trials in by_model.items()]
    if format is not Format.TABLE:
        put_data(found, format)
    else:
        for number, one in enumerate(found):
            if number:
                terminal.put("")
            _put_table(one)
        if any(one.knobs for one in found):
            terminal.say(
                "A bar is solid to the low end of the 90% interval, shaded to its high end. No region is told for a "
                "knob whose share chance alone may explain."
            )
    if not any(one.knobs for one in found):
        terminal.finish(ExitCode.NO_RESULT)


def _put_table(found: Importance) -> None:
    from rafiki_cli.render import look as looks
    from rafiki_cli.render.chart import bar

    if not found.knobs:
        terminal.say(f"{found.model_name}: {found.note}")
        return
    best = f"the best {found.top_count} of {values.count(found.trial_count, 'trial')}"
    terminal.put(f"{found.model_name}: what set {best} apart (score {values.score(found.threshold)} and more)")
    look, width = looks.of_stdout(), max(12, min(48, looks.width() // 4))

    def bar_of(row: KnobImportance) -> str:
        return bar(row.importance, width, low=row.low, high=row.high, look=look)

    columns: list[Column[KnobImportance]] = [
        Column("KNOB", lambda r: r.knob, least=12),
        Column("IMPORTANCE", bar_of),
        Column("SHARE", lambda r: f"{r.importance:.0%}", is_right=True),
        Column("90% INTERVAL", lambda r: f"{r.low:.0%} to {r.high:.0%}", is_right=True),
        Column("BEST REGION", lambda r: r.best.text if r.is_clear else values.NOTHING, least=12),
    ]
    put_rows(found.knobs, columns, Format.TABLE)
    if found.constant:
        terminal.put(f"One value in all trials: {values.knobs(found.constant)}")
    if found.note:
        terminal.say(f"{found.model_name}: {found.note}")


def _put_marginals(
    by_model: dict[str, list[TrialView]],
    configs: dict[str, KnobSpecs | None],
    quantile: float,
    knob: str,
    format: Format,
) -> None:
    from rafiki.analysis.importance import ChoiceMarginal, comparable, marginal_of

    found = [
        (name, marginal)
        for name, trials in by_model.items()
        if len(comparable(trials, configs[name])) > 1
        and (marginal := marginal_of(knob, trials, configs[name], quantile)) is not None
    ]
    if not found:
        raise _no_such_knob(by_model, knob)
    if format is not Format.TABLE:
        put_data([{"model_name": name, **plain_record(marginal)} for name, marginal in found], format)
        return
    for number, (name, marginal) in enumerate(found):
        if number:
            terminal.put("")
        if isinstance(marginal, ChoiceMarginal):
            _put_choices(name, marginal, quantile)
        else:
            _put_chart(name, marginal)


def _no_such_knob(by_model: dict[str, list[TrialView]], knob: str) -> terminal.UsageError:
    from rafiki.analysis.dimensions import dimensions_of

    rows = [[t.proposal.knobs for t in trials] for trials in by_model.values()]
    looked = [dimensions_of(r) for r in rows if r]
    if any(knob in d.constant for d in looked):
        return terminal.UsageError(f"--knob {knob!r}: no model has two scored trials with different values of it.")
    names = list(dict.fromkeys(d.name for one in looked for d in one.varied))
    hint = did_you_mean(knob, names, f"Knobs that vary: {', '.join(names[:12]) or 'none'}.")
    return terminal.UsageError(f"--knob {knob!r}: no such knob varies in this train job. {hint}")


def _put_choices(model_name: str, found: ChoiceMarginal, quantile: float) -> None:
    from rafiki_cli.render import look as looks
    from rafiki_cli.render.chart import bar

    def share_bar(row: Choice) -> str:
        share = row.among_best_share
        if share is None:
            return values.NOTHING
        return f"{row.among_best:>3} of {row.trials:<3} {bar(share, width, look=look)}".rstrip()

    look, width = looks.of_stdout(), max(10, min(40, looks.width() // 4))
    terminal.put(f"{model_name}: scores by {found.knob}")
    columns: list[Column[Choice]] = [
        Column(found.knob.upper(), lambda r: r.value, least=12),
        Column("TRIALS", lambda r: r.trials, is_right=True),
        Column("MEAN", lambda r: values.score(r.mean), is_right=True),
        Column("BEST", lambda r: values.score(r.best), is_right=True),
        Column(f"AMONG THE BEST {quantile:.0%}", share_bar),
    ]
    put_rows(found.choices, columns, Format.TABLE)


def _put_chart(model_name: str, found: NumberMarginal) -> None:
    from rafiki_cli.render import look as looks
    from rafiki_cli.render.chart import Kind, Series, chart, paint
    from rafiki_cli.render.ticks import Scale

    look = looks.of_stdout()
    scores: list[float] = found.score
    floor = _floor(scores)
    shown = [(x, s) for x, s in zip(found.x, scores, strict=True) if s >= floor]
    series = [Series("trial", [x for x, _ in shown], [s for _, s in shown], Kind.POINTS)]
    if len(set(found.x)) > 2:
        # Over the trials that are shown alone the curve would tell another story, so it is cut with the chart.
        curve = [y if y >= floor else None for y in found.curve.y]
        series.append(Series("smoothed", found.curve.x, curve))
    lines = chart(
        series, looks.width(), 12, title=f"{model_name}: score over {found.knob}", x_label=found.knob,
        x_scale=Scale(is_log=found.is_log, is_whole=found.is_whole), look=look,
    )  # fmt: skip
    for line in lines:
        terminal.put(paint(line, look))
    terminal.put(f"Best region: {found.best.text}")
    if hidden := len(scores) - len(shown):
        terminal.say(f"{values.count(hidden, 'trial')} below {values.score(floor)} not drawn.")


def _floor(scores: list[float]) -> float:
    """The lowest score to draw: a trial that went astray must not press the others flat (Tukey's outer fence)."""
    ordered = sorted(scores)
    q1, q3 = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    fence = q1 - 3 * (q3 - q1) if q3 > q1 else ordered[0]
    return min(s for s in scores if s >= fence)
