"""What serves an endpoint: a function of the admin's context, the user who calls, and the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar, cast

from rafiki.admin.context import AdminContext
from rafiki.admin.events import Source
from rafiki.contract.endpoint import Answer, AnyEndpoint, Endpoint, Request, RequestStruct
from rafiki.entities import User

Who = TypeVar("Who", User, None)
Serve: TypeAlias = Callable[[AdminContext, User | None, RequestStruct, str | None], object]
"""Takes the request of its own endpoint, and the address that it comes from (None = a socket of this machine); the user
is None where that is open to strangers."""


class Operation(NamedTuple):
    """An endpoint and what serves it. Made by :func:`bind`, so that both agree on request and answer."""

    endpoint: AnyEndpoint
    serve: Serve
    """The user is None where the endpoint is open to strangers; the answer of a stream is its source."""


def bind(endpoint: Endpoint[Request, Answer], serve: Callable[[AdminContext, User, Request], Answer]) -> Operation:
    """For an endpoint of users."""
    return _bind_anywhere(endpoint, serve)


def bind_open(endpoint: Endpoint[Request, Answer], serve: Callable[[AdminContext, None, Request], Answer]) -> Operation:
    """For an endpoint that strangers may call."""
    return _bind_anywhere(endpoint, serve)


def bind_stream(
    endpoint: Endpoint[Request, Answer], watch: Callable[[AdminContext, User, Request], Source]
) -> Operation:
    """For a stream of events."""
    return _bind_anywhere(endpoint, watch)


def bind_from(
    endpoint: Endpoint[Request, Answer], serve: Callable[[AdminContext, Who, Request, str | None], Answer]
) -> Operation:
    """For an endpoint that is told where a call comes from."""
    return Operation(endpoint, cast(Serve, serve))


def _bind_anywhere(endpoint: AnyEndpoint, serve: object) -> Operation:
    function = cast("Callable[[AdminContext, User | None, RequestStruct], object]", serve)

    def serve_anywhere(
        context: AdminContext, actor: User | None, request: RequestStruct, address: str | None
    ) -> object:
        return function(context, actor, request)

    return Operation(endpoint, serve_anywhere)
