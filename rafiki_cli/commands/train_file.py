"""``rafiki train FILE``: from a raw table to a served model."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from rafiki.constants import Task
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Format, FormatOption

app = new_app("Train on a raw file.")


@app.command(
    "file",
    epilog=examples(
        "rafiki train titanic.csv --target survived",
        "rafiki train prices.csv --target price --ignore id --time sold_on",
        "rafiki train visits.csv --target fell_ill --group patient --dry-run",
    ),
)
def train_file(
    cli: Application,
    file: Annotated[Path, typer.Argument(help="A text table: csv, tsv and the like.")],
    target: Annotated[str | None, typer.Option(help="The column to predict. [default: the last]")] = None,
    task: Annotated[
        str | None, typer.Option(help="TABULAR_CLASSIFICATION or TABULAR_REGRESSION. [default: by the target]")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="A column that is no feature; can be repeated.", show_default=False)
    ] = None,
    val: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of the rows to validate on.")] = 0.2,
    test: Annotated[float, typer.Option(min=0.0, max=0.9, help="Share of the rows that no trial sees.")] = 0.2,
    seed: Annotated[int, typer.Option(help="By which rows are drawn.")] = 1,
    group: Annotated[str | None, typer.Option(help="Keep rows with one value of this column together.")] = None,
    time: Annotated[str | None, typer.Option(help="Split in the order of this column: the newest to test on.")] = None,
    name: Annotated[str | None, typer.Option(help="The app's name. [default: the file's]")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each model.")] = 10,
    hours: Annotated[float, typer.Option(min=0.001, help="Hours of the whole train job.")] = 0.25,
    folder: Annotated[Path | None, typer.Option(help="Where the project goes. [default: the app's name]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what was found, and make nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of the project that are there.")] = False,
    no_deploy: Annotated[bool, typer.Option("--no-deploy", help="Train; serve nothing.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Go from a raw table to a served model: find out what is in it, split it, train what fits, deploy the best.

    It writes a project (its parts and job.yaml), starts the stack of this folder unless one runs, and does what
    `rafiki run` does: run that again to go on.
    """
    from rafiki_cli.commands.run import run
    from rafiki_cli.raw_data.project import fitting_templates, project_of
    from rafiki_cli.raw_data.table_plan import Wishes, plan_table
    from rafiki_cli.scaffold import names
    from rafiki_cli.scaffold.files import write_files

    terminal.check_file(file)
    if task is not None and task not in (Task.TABULAR_CLASSIFICATION, Task.TABULAR_REGRESSION):
        raise terminal.UsageError(f"--task {task}: a table is for TABULAR_CLASSIFICATION or TABULAR_REGRESSION.")
    if val + test >= 1:
        raise terminal.UsageError("--val and --test leave no rows to train on.")
    if group and time:
        raise terminal.UsageError("--group and --time do not go together.")
    app_name = names.check_app(name) if name is not None else names.app_from(file.stem)
    wishes = Wishes(target, task, ignore or [], val, test, seed, group, time)
    plan = plan_table(file, wishes)
    for note in plan.notes:
        terminal.say(note)
    ready, lacking = fitting_templates(plan.task)
    if lacking:
        extras = sorted({t.extra for t in lacking if t.extra})
        terminal.say(
            f"Left out, as their packages are not installed: {', '.join(t.name for t in lacking)}"
            f"{' (' + ', '.join(f'extra {e!r}' for e in extras) + ')' if extras else ''}."
        )
    if not ready:
        raise terminal.UsageError("No template of this task can run here. Install `rafiki-ml[templates]`.")
    terminal.say(f"Models: {', '.join(t.name for t in ready)}; {trials} trials each, {hours:g} h at most.")
    if dry_run:
        return
    root = folder or Path(app_name)
    workers = max(1, min(2, (os.cpu_count() or 1) // len(ready) or 1))
    budget = {"trials": trials, "hours": hours, "workers": workers}
    written = write_files(root.absolute(), project_of(app_name, plan, wishes, ready, budget), force=force)
    job = root / "job.yaml"
    terminal.say(f"{root}: {', '.join(written) if written else 'everything is there already'}.")
    _start_stack(cli)
    run(cli, job, no_deploy=no_deploy, format=format)
    if not no_deploy:
        query = shlex.quote(str(root / "data" / "query.json"))
        terminal.hint(
            f"Next: rafiki predict {app_name} --query-file {query}; no trial has seen the rows of {root}/data/test.csv."
        )


def _start_stack(cli: Application) -> None:
    """The stack of this folder, where commands go to it and it does not run."""
    if not cli.target().is_local:
        return
    from rafiki_cli.target import stack_process

    if stack_process.find_running(cli.stack_folder()) is None:
        started = stack_process.start(cli.loaded_config())
        terminal.say(f"The stack runs at {started.url}.")
