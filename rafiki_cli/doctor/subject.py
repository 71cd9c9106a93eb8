"""What the checks look at: a configuration with its stack, and an admin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rafiki.client.trust import Trust
from rafiki.errors import AdminLostError, ConfigError, RafikiError
from rafiki_cli.application import Application
from rafiki_cli.target import local_stack, session, stack_owner

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig
    from rafiki.settings import Config
    from rafiki.stack_folder import StackFolder
    from rafiki.utils.pid_file import PidFile


class NotExaminedError(RafikiError):
    """A check cannot be made."""


@dataclass
class Subject:
    """A local stack, or a remote admin of which only what it answers can be seen."""

    cli: Application
    loaded: LoadedConfig | None
    config_error: str | None
    """Why there is no configuration."""
    is_remote: bool

    @property
    def config(self) -> Config:
        """The configuration of the local stack.

        Raises:
            NotExaminedError: there is none to be looked at.
        """
        if self.is_remote:
            raise NotExaminedError("It belongs to another machine's stack.")
        if self.loaded is None:
            raise NotExaminedError("The configuration cannot be read.")
        return self.loaded.config

    @property
    def folder(self) -> StackFolder:
        """The folder of the local stack; raises as :attr:`config`."""
        from rafiki.stack_folder import StackFolder

        assert self.config
        assert self.loaded
        folder = StackFolder(self.loaded)
        if stack_owner.is_of_another_user(folder):
            raise NotExaminedError(f"{folder.root} belongs to another user.")
        return folder

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the admin; raises as :attr:`config`."""
        if self.loaded is None and not self.is_remote:
            raise NotExaminedError("The configuration cannot be read.")
        return self.cli.target()[:2]

    @property
    def trust(self) -> Trust:
        """Whose certificate it is to show."""
        return self.cli.target().trust or Trust()

    @property
    def is_down(self) -> bool:
        """Whether the local stack does not run, by its own files."""
        return not self.is_remote and self.loaded is not None and self.cli.target().source is session.Source.DOWN

    def find_running_admin(self) -> PidFile | None:
        """The admin process of the local stack."""
        return local_stack.find_admin(self.folder)

    def find_loss(self) -> AdminLostError | None:
        """Why the admin of the local stack is gone without having been stopped; None of another machine's stack too."""
        return None if self.is_remote else self.folder.find_loss()


def find_subject(cli: Application) -> Subject:
    """Whom the global options name."""
    loaded, error = None, None
    try:
        loaded = cli.loaded_config()
    except RafikiError as e:
        error = e.message
    return Subject(cli, loaded=loaded, config_error=error, is_remote=_is_remote(cli))


def _is_remote(cli: Application) -> bool:
    try:
        return not cli.target().is_local
    except ConfigError:
        # Only where the stack of this folder is meant is its configuration read.
        return False
