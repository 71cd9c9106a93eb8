"""Services as processes or containers: one interface, one back end for each technology.

A back end is one file with a :class:`~rafiki.container.base.ContainerBackend`, and one entry: a row of the table here,
or an entry point of the group ``rafiki.containers`` in a package of somebody else's. ``container.backend`` names it.
"""

from rafiki.container.base import ContainerBackend, ContainerManager, ContainerSetup
from rafiki.errors import ConfigError
from rafiki.registry import Registry, UnknownNameError

__all__ = ["BACKENDS", "ContainerManager", "ContainerSetup", "check_backend", "open_container_manager"]

BACKENDS: Registry[ContainerBackend] = Registry(
    "rafiki.containers", "container back end", ContainerBackend, {"process": "rafiki.container.process:PROCESS"}
)
"""By the values of ``container.backend``."""


def open_container_manager(setup: ContainerSetup, where: str = "configuration") -> ContainerManager:
    """The manager of the back end that the setup's ``container.backend`` names.

    Args:
        setup: the stack.
        where: the origin of the setting, which begins the message of a refusal.

    Raises:
        ConfigError: there is no such back end, with those that there are.
        ContainerError: the back end cannot be reached.
    """
    return check_backend(setup.config.container.backend, where).open(setup)


def check_backend(name: str, where: str) -> ContainerBackend:
    """The back end of that name.

    Args:
        name: the setting.
        where: its origin, which begins the message of a refusal.

    Raises:
        ConfigError: there is none, with those that there are.
    """
    try:
        return BACKENDS.get(name)
    except UnknownNameError as e:
        raise ConfigError(f"{where}: container.backend = {name!r}: {e}") from e
