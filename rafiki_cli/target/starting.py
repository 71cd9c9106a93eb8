"""What `rafiki up` says and asks beside starting the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rafiki import __version__
from rafiki_cli import terminal
from rafiki_cli.target import stack_process, upgrade
from rafiki_cli.target.upgrade import Age

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig
    from rafiki.stack_folder import StackFolder
    from rafiki_cli.target.stack_process import Started


def tell_standing(folder: StackFolder) -> None:
    """Say that a folder was moved or copied, and what follows."""
    from rafiki.stack_identity import Standing, examine

    examined = examine(folder.root)
    if examined.standing is Standing.MOVED:
        terminal.say(f"This stack was in {examined.old_root}. It goes on here; what may still run there is ended.")
    elif examined.standing is Standing.COPIED:
        terminal.say(
            f"This folder is a copy of {examined.old_root}. It becomes a stack of its own, with what was copied: new "
            "secrets, another port, and services of its own for jobs that were live."
        )


def tell_port(loaded: LoadedConfig, started: Started, port_before: int | None) -> None:
    """Say when the admin got another port than the usual one, and who has that."""
    from rafiki.settings import DEFAULT_ADMIN_PORT

    usual = port_before or DEFAULT_ADMIN_PORT
    if loaded.config.admin.port is not None or started.port == usual:
        return
    owner = stack_process.find_listener(usual) or "another program"
    whose = "which this stack had" if port_before else "the usual one"
    terminal.say(f"Port {usual}, {whose}, is taken by {owner}. This stack has {started.port} from now on.")


def renew(
    loaded: LoadedConfig, folder: StackFolder, running: Started, *, port: int | None, is_wanted: bool
) -> Started | None:
    """Put an admin of this version in the place of one that runs, where that is wanted; None when it is not.

    Raises:
        StackError: as :func:`rafiki_cli.target.upgrade.restart`.
    """
    version = upgrade.find_version(running)
    age = upgrade.compare(version) if version else Age.SAME
    about = "" if age is Age.SAME else f", version {version}"
    terminal.say(f"The stack runs already at {running.url} (process {running.pid}{about}).")
    if age is Age.OLDER:
        _announce(loaded, folder, version or "?")
    elif age is Age.NEWER:
        terminal.warn(
            f"The admin is version {version}, newer than this command line, which is {__version__}: install {version} "
            "here."
        )
    if not is_wanted:
        if age is not Age.OLDER:
            return None
        if not terminal.is_interactive():
            terminal.say("`rafiki up --restart` does it.")
            return None
        if not terminal.ask("Restart the admin now?", otherwise="--restart"):
            return None
    return upgrade.restart(loaded, folder, port=port)._replace(is_new=True)


def _announce(loaded: LoadedConfig, folder: StackFolder, version: str) -> None:
    """Say what a restart would do.

    Raises:
        RefusedRestartError: an admin of this version could not start.
    """
    found = upgrade.preview(loaded, folder)
    database = (
        f"The database is migrated; {version} cannot use it afterwards, so make a backup first (`rafiki backup`) if "
        "you may want to go back."
        if found.migrates
        else "The database stays as it is."
    )
    terminal.say(
        f"This command line is {__version__}. A restart puts an admin of {__version__} in the place of {version}, away "
        f"for a few seconds. {database} Jobs go on: train workers end their trial and are replaced, predictors and "
        "inference workers stay as they are."
    )
