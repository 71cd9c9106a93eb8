"""What both clients of an admin are: its address, a token, and connections."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rafiki.client.contract_caller import ADMIN_HINT, ContractCaller
from rafiki.client.http_server import WATCH_PATIENCE_S
from rafiki.client.trust import Trust

if TYPE_CHECKING:
    from rafiki.stack_folder import StackFolder


class AdminConnection:
    """Base of the clients of an admin. Safe to share between threads."""

    _is_light = False
    """Whether httpx is spared where it can be."""
    _crash_patience_s = WATCH_PATIENCE_S
    """How long a stream waits for an admin that went without a word."""

    _down_patience_s = WATCH_PATIENCE_S
    """The same for one that was stopped with its stack."""

    def __init__(
        self,
        admin_host: str = "localhost",
        admin_port: int = 3000,
        *,
        hint: str = ADMIN_HINT,
        trust: Trust | None = None,
    ) -> None:
        """
        Args:
            hint: what to do when no admin answers, for people.
            trust: whose certificates are taken; None = those of the machine's authorities.
        """
        self._caller = ContractCaller(
            admin_host, int(admin_port), is_light=self._is_light, crash_patience_s=self._crash_patience_s,
            down_patience_s=self._down_patience_s, hint=hint, trust=trust,
        )  # fmt: skip

    @property
    def token(self) -> str | None:
        """The token of the user who is logged in; it can be set to one that was kept."""
        return self._caller.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._caller.token = token

    @property
    def stack_id(self) -> str | None:
        """The id of the stack that is meant: the admin of another one refuses the calls. None = whoever answers."""
        return self._caller.stack_id

    @stack_id.setter
    def stack_id(self, stack_id: str | None) -> None:
        self._caller.stack_id = stack_id

    @property
    def stack(self) -> StackFolder | None:
        """The folder of the stack that is meant, where it is known: it tells why an admin does not answer."""
        return self._caller.stack

    @stack.setter
    def stack(self, stack: StackFolder | None) -> None:
        self._caller.stack = stack

    @property
    def address(self) -> str:
        """``host:port`` of the admin."""
        return self._caller.address

    @property
    def trust(self) -> Trust:
        """Whose certificates are taken; its predictors show the same."""
        return self._caller.trust

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._caller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
