"""The stack itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rafiki.client.calls import Calls
from rafiki.client.plain_answers import Json
from rafiki.contract import audit, garbage, nodes, stack


class StackCalls(Calls):
    """Calls about the stack, and what of it is not needed any more."""

    def get_health(self) -> Json:
        """Whether the admin is up: ``name``, ``version``, ``status`` (``ok``, or what is wrong)."""
        return self._one(stack.GET_HEALTH)

    def get_services(self) -> list[Json]:
        """The live services of all jobs."""
        return self._many(stack.GET_SERVICES)

    def get_waits(self) -> list[Json]:
        """Workers that are wanted and cannot be started now, and why: for admins."""
        return self._many(stack.GET_WAITS)

    def get_nodes(self) -> list[Json]:
        """The machines that services run on, and what they have: for admins."""
        return self._many(nodes.GET_NODES)

    def get_node(self, name: str) -> Json:
        """One of them, with what was found on it last."""
        return self._one(nodes.GET_NODE, name=name)

    def add_node(self, role: str = "worker", *, rotate: bool = False) -> Json:
        """How a machine becomes a node: ``command``, ``token`` (a secret), ``address``, ``role``, ``valid``.

        Args:
            role: ``worker`` or ``manager``.
            rotate: make the token anew, so that the one before it is void.
        """
        return self._one(nodes.ADD_NODE, role=role, rotate=rotate)

    def drain_node(self, name: str) -> Json:
        """Let a node run empty: trials there end, and members of ensembles are replaced elsewhere first. Returns at
        once; ``state`` is ``DRAINED`` when it is empty."""
        return self._one(nodes.DRAIN_NODE, name=name)

    def activate_node(self, name: str) -> Json:
        """Give a node services again."""
        return self._one(nodes.ACTIVATE_NODE, name=name)

    def remove_node(self, name: str, *, force: bool = False) -> Json:
        """Take out a node that is drained or lost; with ``force`` any."""
        return self._one(nodes.REMOVE_NODE, name=name, force=force)

    def collect_garbage(
        self,
        what: Sequence[str] | None = None,
        *,
        keep: int = garbage.DEFAULT_KEEP,
        older_than_s: float = garbage.DEFAULT_OLDER_THAN_S,
        apply: bool = False,
        only: Sequence[str] | None = None,
    ) -> Json:
        """Free what is not needed any more, or list what would go: for admins.

        Args:
            what: kinds of :class:`~rafiki.constants.GarbageKind`; None = all.
            keep: the best trials of each model of each train job whose parameters stay.
            older_than_s: nothing goes that was of use within this time.
            apply: False = only list.
            only: ids of items listed before; nothing else goes.

        Returns:
            ``is_applied``, ``items`` (``id``, ``kind``, ``name``, ``size_bytes``, ``reason``, ``is_freed``, ``error``)
            and ``size_bytes`` of all of them.
        """
        return self._one(
            garbage.COLLECT_GARBAGE, what=None if what is None else list(map(str, what)),
            keep=keep, older_than_s=older_than_s, apply=apply, only=None if only is None else list(only),
        )  # fmt: skip

    def get_audit(
        self,
        *,
        user: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        count: int = audit.DEFAULT_AUDIT_COUNT,
    ) -> list[Json]:
        """Who did what, oldest first: for admins.

        Args:
            user: email of who did it, or in whose name it was tried.
            action: such as ``user.ban``, or its first word.
            since: nothing that is older.
            count: the newest so many.
        """
        return self._many(audit.GET_AUDIT, user=user, action=action, since=since, count=count)
