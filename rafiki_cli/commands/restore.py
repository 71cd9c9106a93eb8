"""``rafiki restore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.errors import StackError
from rafiki.utils.paths import why
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.commands.backup import summary, tell_left_out
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Format, FormatOption, put_data

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig

app = new_app("Make a stack of a backup.")


@app.command(
    epilog=examples(
        "rafiki restore wine.tar", "rafiki restore wine.tar --into ~/wine", "rafiki restore wine.tar --force"
    )
)
def restore(
    cli: Application,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup, made by `rafiki backup`.")],
    into: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The folder of a project, made if it is not there. [default: this one]"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Put it in the place of the stack that is there, which must be down.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make a stack of a backup; `rafiki up` starts it.

    The configuration of the folder says where its database and its stores are: a backup of SQLite may be restored into
    PostgreSQL, and the other way. All of the backup is checked before anything is written. Jobs that were live go on
    at the next `rafiki up`: trials that ran then are tried again. Take backups from people whom you trust: its users,
    passwords and models become those of the stack.
    """
    from rafiki.backup_report import BackupRequest, RestoreReport
    from rafiki.stack_folder import StackFolder
    from rafiki_cli.target import backup_process
    from rafiki_cli.target.stack_owner import check_owner

    loaded = cli.loaded_config() if into is None else _config_of(into)
    folder = StackFolder(loaded)
    check_owner(folder)
    request = BackupRequest(what="restore", file=backup_process.absolute(file), is_replacing=force)
    report = backup_process.run("Restoring the stack", request, RestoreReport, loaded, folder)
    if format is not Format.TABLE:
        put_data(report, format)
    terminal.say(f"Restored {summary(report.backup)}, in {report.root}.")
    tell_left_out(report.backup)
    if report.former_database:
        terminal.say(f"The database that was there is now {report.former_database}; delete it when you want.")
    live = [(report.n_live_train_jobs, "train job"), (report.n_live_inference_jobs, "inference job")]
    if any(count for count, _ in live):
        what = " and ".join(values.count(count, noun) for count, noun in live if count)
        terminal.say(
            f"{what} ran when the backup was made: they go on at the next `rafiki up`. Trials that ran then are tried "
            "again. `rafiki stop-all` ends them."
        )
    if report.copy_of:
        terminal.warn(
            f"The stack that was saved is still in {report.copy_of}. `rafiki up` makes another one of this folder, "
            "with secrets of its own: people log in again."
        )
    where = f"cd {into} && " if into is not None else ""
    terminal.hint(f"Next: {where}rafiki up")


def _config_of(into: Path) -> LoadedConfig:
    """The configuration of a folder, which is made.

    Raises:
        UsageError: another folder's configuration is in force there.
        StackError: it cannot be made.
    """
    from rafiki.config import load_config

    folder = into.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StackError(f"{folder} cannot be made: {why(e)}.") from e
    loaded = load_config(start=folder)
    if loaded.base_folder.resolve() != folder.resolve():
        raise terminal.UsageError(
            f"--into {into}: {loaded.file} is in force there, which names another stack. Choose a folder outside of "
            f"{loaded.base_folder}, or put a rafiki.yaml into it first."
        )
    return loaded
