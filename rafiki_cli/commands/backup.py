"""``rafiki backup``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import ExitCode
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import GroupWithDefault, examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_data, put_rows

if TYPE_CHECKING:
    from rafiki.backup_report import BackupReport

app = new_app("Save the stack in one file, while jobs run; check such a file.", GroupWithDefault)
_TOLD = 10


@app.command(
    epilog=examples(
        "rafiki backup create", "rafiki backup create /backups/wine.tar", "rafiki backup create db.tar --without-stores"
    )
)
def create(
    cli: Application,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The backup, or a folder for it. [default: here, with a name of its time]"),
    ] = None,
    without_stores: Annotated[
        bool, typer.Option("--without-stores", help="Leave datasets and parameters out: the database and secrets only.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Save the stack in one file, while jobs run. `rafiki backup FILE` is short for it.

    The file holds the database as it is at one moment, the datasets and parameters that it names, and the stack's
    secrets, so that logins and tokens go on: only you may read it. rafiki.yaml, logs and installed packages are not in
    it. It is for the user who started the stack, who need not be logged in; the stack may be down, too.
    """
    from rafiki.backup_report import BackupReport, BackupRequest
    from rafiki_cli.target import backup_process

    folder, loaded = cli.own_stack_folder(), cli.loaded_config()
    target = _target(file)
    request = BackupRequest(
        what="write", file=backup_process.absolute(target), has_stores=not without_stores, is_replacing=force
    )
    report = backup_process.run("Saving the stack", request, BackupReport, loaded, folder)
    if format is not Format.TABLE:
        put_data(report, format)
    else:
        terminal.put(str(target))
    terminal.say(f"Saved {summary(report)}, {values.size(report.size_bytes)}.")
    terminal.say("It holds the stack's secrets: only you can read it (mode 0600). Keep it so.")
    tell_left_out(report)


@app.command(epilog=examples("rafiki backup check wine.tar", "rafiki backup check wine.tar -o json"))
def check(
    cli: Application,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Read a backup to its end, and show what it holds. Exits with 1 when it is damaged."""
    from rafiki.backup_report import BackupReport, BackupRequest
    from rafiki_cli.target import backup_process

    request = BackupRequest(what="check", file=backup_process.absolute(file))
    report = backup_process.run("Checking the backup", request, BackupReport, cli.loaded_config(), cli.stack_folder())
    faults = report.faults
    if format is not Format.TABLE:
        put_data(report, format)
    elif report.version:
        put_rows(_contents(report), _COLUMNS, format)
        terminal.say(
            f"The stack in {report.stack_root}, at {report.datetime_created}, by Rafiki {report.version} "
            f"(schema {report.revision})."
        )
        tell_left_out(report)
    if faults:
        for fault in faults[:_TOLD]:
            terminal.report(fault)
        more = f" ({len(faults)} faults)" if len(faults) > _TOLD else ""
        terminal.abort(f"The backup is damaged{more}: `rafiki restore` refuses it.", ExitCode.FAILURE)
    terminal.say("It is whole: `rafiki restore` takes it.")


_COLUMNS: list[Column[tuple[str, int]]] = [
    Column("WHAT", lambda r: r[0], least=20),
    Column("COUNT", lambda r: r[1], is_right=True),
]


def _contents(report: BackupReport) -> list[tuple[str, int]]:
    tables = [(f"rows of {name}", count) for name, count in report.tables.items()]
    stores = [("dataset files", report.n_datasets), ("parameter files", report.n_params)]
    return [*tables, *(stores if report.has_stores else [])]


def summary(report: BackupReport) -> str:
    """``12 users, 3 datasets, 40 trials, with 3 dataset files and 40 parameter files``."""
    tables = report.tables
    rows = [(name, tables.get(f"{name}s", 0)) for name in ("user", "dataset", "model", "trial")]
    jobs = tables.get("train_jobs", 0) + tables.get("inference_jobs", 0)
    counted = ", ".join(values.count(n, name) for name, n in [*rows, ("job", jobs)])
    if not report.has_stores:
        return f"{counted}, without the stores"
    return (
        f"{counted}, with {values.count(report.n_datasets, 'dataset file')} and "
        f"{values.count(report.n_params, 'parameter file')}"
    )


def tell_left_out(report: BackupReport) -> None:
    """Name the files that the database refers to and that are not in the backup."""
    left_out = report.left_out
    for one in left_out[:_TOLD]:
        terminal.warn(f"{one.name} is not in the backup: {one.reason}.")
    if len(left_out) > _TOLD:
        terminal.warn(f"So are {len(left_out) - _TOLD} more; -o json names them all.")


def _target(file: Path | None) -> Path:
    name = f"rafiki-backup-{time.strftime('%Y%m%d-%H%M%S')}.tar"
    if file is None:
        return Path(name)
    return file / name if file.expanduser().is_dir() else file
