"""What changes the set of hosts of a back end that has several."""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from rafiki.constants import NodeRole


class JoinOrder(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine becomes a host."""

    command: str
    """To be typed there. It holds the token."""
    token: str
    """Whoever has it can join: it goes into no log."""
    address: str
    """The manager that it joins."""


class Cluster(ABC):
    """All methods may be called from any thread. Failures of the back end raise ContainerError; a host that is not
    there is an InvalidNodeError."""

    @abstractmethod
    def drain(self, name: str) -> None:
        """Give the host no more services, and note that it is to run empty, for every stack that uses it. What runs
        there is left alone. Outlives the admin."""

    @abstractmethod
    def activate(self, name: str) -> None:
        """Give the host services again."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Take the host out, whatever runs there.

        Raises:
            NodeInUseError: the back end works through it.
        """

    @abstractmethod
    def join_order(self, role: NodeRole, *, is_new: bool) -> JoinOrder:
        """How a machine joins.

        Args:
            role: what it becomes.
            is_new: make the token anew, so that the one before it is void.

        Raises:
            InvalidNodeError: other machines cannot reach the manager.
        """
