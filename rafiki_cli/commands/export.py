"""``rafiki export``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki import __version__
from rafiki.constants import EnsembleMethod
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_record
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.client.trust import Trust
    from rafiki.contract.exports import ExportView
    from rafiki.utils.values import JsonValue
    from rafiki_cli.export.manifest import Checked, ExportRecord, Manifest, Member

app = new_app("Exports.")
_COLUMNS: list[Column[ExportRecord]] = [
    Column("APP", lambda r: r["app"]),
    Column("VERSION", lambda r: r["app_version"]),
    Column("TASK", lambda r: r["task"]),
    Column("FOLDER", lambda r: r["folder"]),
    Column("ZIP", lambda r: r["zip"]),
    Column("MEMBERS", lambda r: "\n".join(_member(m) for m in r["members"])),
    Column("PACKAGES", lambda r: ", ".join(r["requirements"])),
    Column("CHECKED", lambda r: _checked(r)),
]

_EXAMPLES = """\
Examples:

  rafiki export titanic --to titanic-model

  rafiki export titanic --ensemble greedy --size 3 --zip

  rafiki export titanic --trial "HistGradientBoostingClassifier#7"
"""


@app.command(epilog=_EXAMPLES)
def export(
    cli: Application,
    app: Annotated[str, typer.Argument(help="An app whose train job has stopped.")],
    version: Annotated[int, typer.Option("--version", help="Version of the app; -1 = the latest.")] = -1,
    to: Annotated[
        Path | None, typer.Option(help="The folder to write. [default: APP-vVERSION]", show_default=False)
    ] = None,
    trial: Annotated[
        str | None, typer.Option(metavar="MODEL#N", help="One trial alone; N where one model has it.")
    ] = None,
    ensemble: Annotated[
        EnsembleMethod | None,
        typer.Option(
            help="Choose members anew: best, mean or greedy, as in `rafiki infer create`. [default: those of the "
            "latest deployment; where there was none, the best trial of each model]",
            show_default=False,
        ),
    ] = None,
    size: Annotated[int | None, typer.Option(min=1, max=100, help="Members at most.")] = None,
    zip: Annotated[bool, typer.Option("--zip", help="Also write the folder as FOLDER.zip.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an export that is there.")] = False,
    check: Annotated[bool, typer.Option(help="Try the export in an interpreter of its own.")] = True,
    python: Annotated[
        str | None, typer.Option(help="The interpreter to try it with. [default: that of rafiki]", show_default=False)
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Write an app's trained ensemble as a folder that works without Rafiki.

    The folder holds the models' files and parameters, requirements.txt with exact versions, predict.py, serve.py (a
    small HTTP server with a predictor's interface), a Dockerfile and a README. Before it is done, it is loaded and
    asked in an interpreter that sees nothing but it; while the app is deployed, its answers are compared with the
    predictor's.
    """
    from rafiki.contract.exports import ExportRequest
    from rafiki_cli.export import folder as folders

    if trial is not None and (ensemble is not None or size is not None):
        raise terminal.UsageError("Give either --trial, or --ensemble and --size.")
    client = cli.client()
    trial_id = resolve.trial(client, app, trial, version).id if trial is not None else None
    # Before the admin works for it, where the place is known already.
    if to is not None:
        _check_targets(to, is_zipped=zip, is_forced=force)
    request = ExportRequest(app=app, app_version=version, trial_id=trial_id, method=ensemble, size=size)
    view = client.get_export(request)
    target = to or Path(f"{_safe(view.app)}-v{view.app_version}")
    _check_targets(target, is_zipped=zip, is_forced=force)
    if view.rafiki_version != __version__:
        terminal.warn(
            f"The admin runs Rafiki {view.rafiki_version}, and this is {__version__}: the export holds parts of the "
            "latter."
        )
    checked: Checked | None = None
    model_files = {m.id: client.get_model_file(m.id) for m in view.models}
    with folders.new_folder(target) as folder:
        manifest = folders.write_export(folder, view, model_files, client.get_trial_parameters)
        if check:
            checked = _check(folder, manifest, view, python or sys.executable, cli.target().trust)
        if zip:
            folders.zip_folder(folder, _zip_of(target))
    record: ExportRecord = {
        **manifest, "folder": str(target), "zip": str(_zip_of(target)) if zip else None, "checked": checked,
    }  # fmt: skip
    put_record(record, _COLUMNS, format)
    package = folders.find_task_package(view.task)
    if package is not None and package.origin.is_local:
        terminal.warn(
            f"{package.name}, which brings the task {view.task}, was installed from {package.origin.kind} "
            f"({package.origin.address}), which no other machine can fetch. Say in {target}/requirements.txt where it "
            "can be fetched: until then pip stops there."
        )
    if format is Format.TABLE:
        terminal.say(f"Try it: `pip install -r {target}/requirements.txt`, then `python {target}/serve.py`.")


def _zip_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.zip")


def _check_targets(target: Path, *, is_zipped: bool, is_forced: bool) -> None:
    from rafiki_cli.export import folder as folders

    if target.name in ("", "..", "."):
        raise terminal.UsageError(f"--to {target}: name a folder that the export can be.")
    folders.check_target(target, is_forced=is_forced)
    if is_zipped:
        folders.check_target(_zip_of(target), is_forced=is_forced)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "app"


def _check(folder: Path, manifest: Manifest, view: ExportView, python: str, trust: Trust | None) -> Checked:
    """What trying the export showed."""
    from rafiki_cli.export.check import ExportCheckError, first_difference, try_export

    queries = view.examples
    found = try_export(folder, python, manifest["requirements"], queries)
    if others := {k: v for k, v in found["others"].items() if v is not None}:
        told = ", ".join(f"{v} instead of {k}" for k, v in others.items())
        terminal.warn(f"It was tried with other versions than the models run with: {told}.")
    theirs = _served_predictions(view, trust) if queries else None
    if theirs is not None and (i := first_difference(found["answers"], theirs)) is not None:
        raise ExportCheckError(
            f"The export predicts {str(found['answers'][i])[:200]} where the predictor of {view.app} answers "
            f"{str(theirs[i])[:200]}, for example {i} of the validation dataset."
        )
    return {"n_queries": len(queries), "is_compared": theirs is not None}


def _served_predictions(view: ExportView, trust: Trust | None) -> list[JsonValue] | None:
    """What the running deployment answers; None when there is none, or not all of its members can be heard."""
    from rafiki.client.prediction import BriefPredictorClient
    from rafiki.errors import RafikiError
    from rafiki.user_environment import key_from_environment

    if not view.predictor_host:
        return None
    try:
        with BriefPredictorClient(view.predictor_host, trust=trust, key=key_from_environment()) as predictor:
            answer = predictor.post({"queries": view.examples})
    except RafikiError as e:
        terminal.warn(f"The predictor was not asked for comparison: {e.message}")
        return None
    return None if answer.get("left_out") else list(answer["predictions"])


def _member(member: Member) -> str:
    return f"{member['name']} {values.score(member['score'])} weight {member['weight']:.1%}"


def _checked(row: ExportRecord) -> str:
    checked = row["checked"]
    if checked is None:
        return "no"
    if not checked["n_queries"]:
        return "it loads; no example query was at hand"
    text = f"it loads, and answers {checked['n_queries']} queries of the validation dataset"
    return f"{text} as the running predictor does" if checked["is_compared"] else text
