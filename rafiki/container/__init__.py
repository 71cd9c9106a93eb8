"""Services as processes or containers: one interface, one back end for each technology.

A back end is one file with a :class:`~rafiki.container.base.ContainerBackend`, and one entry: a row of the table in
:mod:`rafiki.registries`, or an entry point of the group ``rafiki.containers`` in a package of somebody else's.
``container.backend`` names it.
"""

from rafiki import registries
from rafiki.container.base import ContainerBackend, ContainerManager, ContainerSetup
from rafiki.errors import ConfigError
from rafiki.registry import Registry, UnknownNameError

__all__ = ["BACKENDS", "ContainerManager", "ContainerSetup", "open_container_manager"]

BACKENDS = Registry(registries.CONTAINERS, ContainerBackend)
"""By the values of ``container.backend``."""


def open_container_manager(setup: ContainerSetup) -> ContainerManager:
    """The manager of the back end that the setup's ``container.backend`` names.

    Raises:
        ConfigError: there is no such back end, with those that there are.
        ContainerError: the back end cannot be reached.
    """
    try:
        backend = BACKENDS.get(setup.config.container.backend)
    except UnknownNameError as e:
        raise ConfigError(f"container.backend: {e}") from e
    return backend.open(setup)
