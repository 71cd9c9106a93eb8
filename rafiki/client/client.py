"""The client: one method for each call of the contract, under the same name. The methods stand with their nouns."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rafiki.client.assets import AssetCalls
from rafiki.client.inference_jobs import InferenceJobCalls
from rafiki.client.stack import StackCalls
from rafiki.client.train_jobs import TrainJobCalls
from rafiki.client.transport import ContractCaller
from rafiki.client.users import UserCalls
from rafiki.client.watching import Watching


class Client(StackCalls, UserCalls, AssetCalls, TrainJobCalls, InferenceJobCalls, Watching):
    """Calls the admin of a stack. Answers are plain dicts and lists; datetimes in them are ISO 8601 texts.

    Every method raises the error that the admin raised (see :mod:`rafiki.errors`), ``UnreachableError`` when
    no admin answers in time, and ``UnauthorizedError`` when it needs a login and there is none. Safe to share
    between threads.

    Args:
        admin_host: name or address of the machine on which the admin runs; ``https://`` before it where a proxy in
            front of the admin speaks TLS.
        admin_port: port of the admin.
    """

    def __init__(self, admin_host: str = "localhost", admin_port: int = 3000) -> None:
        self._caller = ContractCaller(admin_host, int(admin_port))

    @property
    def token(self) -> str | None:
        """The token of the user who is logged in; it can be set to one that was kept."""
        return self._caller.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._caller.token = token

    @property
    def address(self) -> str:
        """``host:port`` of the admin."""
        return self._caller.address

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._caller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
