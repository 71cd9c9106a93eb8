"""The process that reads large bodies for a predictor: ``python -m rafiki.predictor.body_reader FD``.

By the Unix socket FD comes for each body what is to be done, a file with the body and one for its queries; what was
found goes back. It ends with the other side of the socket. Memory is limited: 60 MB of JSON may hold 30 million values.
"""

from __future__ import annotations

import os
import socket
import sys

import msgspec

from rafiki.contract.body_encoding import decode_body
from rafiki.errors import InvalidRequestError, RafikiError
from rafiki.predictor.bodies import BodyForm, read_body
from rafiki.predictor.open_inference import InferenceAnswer
from rafiki.predictor.protocol import Asked

_MOST_WANTED = 64 << 10
_BASE_BYTES = 256 << 20
_COPIES = 6
"""Of the largest body, that reading one takes at most: what is made of it to say what is wrong, too."""


class ToRead(msgspec.Struct, frozen=True, array_like=True):
    """What is to be done with a body."""

    encoding: str
    deadline_s: float
    most_bytes: int
    most_queries: int
    form: BodyForm = BodyForm()


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """What a body asks for; its queries are in their file, one after another."""

    lengths: list[int] = []
    """Of the queries; empty where these are too many."""
    n_queries: int = 0
    is_one: bool = False
    timeout_s: float = 0.0
    error: str | None = None
    """The code of the error that refuses it."""
    message: str = ""
    http_status: int = 0
    inference: InferenceAnswer | None = None


def read_large_body(wanted: ToRead, body: bytes, queries_fd: int) -> Reading:
    """Read one; its queries are written to a file."""
    try:
        asked = _read(wanted, body)
    except RafikiError as e:
        return Reading(error=e.code, message=e.message, http_status=e.http_status)
    if len(asked.queries) > wanted.most_queries:
        return Reading(n_queries=len(asked.queries))
    with open(queries_fd, "wb", closefd=False) as file:
        file.writelines(asked.queries)
    return Reading(
        [len(q) for q in asked.queries], len(asked.queries), asked.is_one, asked.timeout_s, inference=asked.inference
    )


def _read(wanted: ToRead, body: bytes) -> Asked:
    try:
        unpacked = decode_body(body, wanted.encoding, wanted.most_bytes)
        return read_body(
            unpacked, wanted.form, wanted.deadline_s, most_queries=wanted.most_queries, most_bytes=wanted.most_bytes
        )
    except MemoryError as e:
        raise InvalidRequestError(
            'The body is no JSON of the form {"query": ...} or {"queries": [...]}, or holds too many values to be read.'
        ) from e


def _limit_memory(most_bytes: int) -> None:
    import resource

    wanted = _BASE_BYTES + _COPIES * most_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > wanted:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def serve(connected: socket.socket) -> None:
    """Read bodies until the other side closes."""
    is_limited = False
    while True:
        data, fds, _, _ = socket.recv_fds(connected, _MOST_WANTED, 2)
        if not data:
            return
        wanted = msgspec.msgpack.decode(data, type=ToRead)
        if not is_limited:
            _limit_memory(wanted.most_bytes)
            is_limited = True
        body_fd, queries_fd = fds
        try:
            with open(body_fd, "rb") as file:
                file.seek(0)
                found = read_large_body(wanted, file.read(), queries_fd)
        finally:
            os.close(queries_fd)
        connected.sendall(msgspec.msgpack.encode(found))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
