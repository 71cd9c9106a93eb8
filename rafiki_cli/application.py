"""The running command line: its global options, and what follows from them. Made in ``main``, it is the object of the
click context, and commands are given it as their parameter ``cli``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rafiki_cli.target.options import GlobalOptions
from rafiki_cli.terminal import Manner

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.config import LoadedConfig
    from rafiki.stack_folder import StackFolder
    from rafiki_cli.target.session import Target


@dataclass
class Application:
    """What one command is run with. Configuration, target and logins are read when they are asked for."""

    options: GlobalOptions = field(default_factory=GlobalOptions)
    is_token_from_environment: bool = False
    """Whether a client was made with ``RAFIKI_TOKEN``."""
    has_told_target: bool = False
    """Whether it was said that the command goes to another stack than the project's."""
    _config: LoadedConfig | None = field(default=None, init=False)
    """As it was read when it was first asked for."""

    @property
    def manner(self) -> Manner:
        """How the command talks; see :mod:`rafiki_cli.terminal`."""
        return Manner(is_quiet=self.options.is_quiet, is_colorless=self.options.is_colorless)

    def loaded_config(self, *, port: int | None = None) -> LoadedConfig:
        """The configuration in force; ``port`` is the value of a ``--port`` option.

        Raises:
            ConfigError: naming the file or variable, the key and what is wrong with it.
        """
        from rafiki.config import load_config

        if port is not None:
            return load_config(self.options.config_file, flags={"admin.port": port})
        if self._config is None:
            self._config = load_config(self.options.config_file)
        return self._config

    def stack_folder(self) -> StackFolder:
        """The folder of the stack that the configuration names."""
        from rafiki.stack_folder import StackFolder

        return StackFolder(self.loaded_config())

    def own_stack_folder(self) -> StackFolder:
        """The folder of the stack, for what only the user who started it may do.

        Raises:
            StackError: when it belongs to another user.
        """
        from rafiki_cli.target.stack_owner import check_owner

        folder = self.stack_folder()
        check_owner(folder)
        return folder

    def target(self) -> Target:
        """The admin that the command talks to; see :func:`rafiki_cli.target.session.find_target`."""
        from rafiki_cli.target import session

        return session.find_target(self)

    def client(self) -> AdminClient:
        """A client of the admin with a login; see :func:`rafiki_cli.target.session.open_client`."""
        from rafiki_cli.target import session

        return session.open_client(self)

    def anonymous_client(self) -> AdminClient:
        """A client of the admin without a login."""
        from rafiki.client.records import AdminClient
        from rafiki_cli.target import session

        admin = session.reach_target(self)
        client = AdminClient(admin.host, admin.port, trust=admin.trust)
        client.stack_id, client.stack = admin.stack_id, session.find_stack_folder(self, admin)
        return client
