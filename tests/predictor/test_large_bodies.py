"""Large bodies are read by a process of their own, within memory and time."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest

from rafiki.errors import (
    InvalidRequestError,
    NoPredictionError,
    PredictorBusyError,
    RafikiError,
    RequestTooLargeError,
    UnsupportedEncodingError,
)
from rafiki.predictor import large_bodies
from rafiki.predictor.bodies import BodyForm
from rafiki.predictor.body_reader import ToRead, read_large_body
from rafiki.predictor.large_bodies import LargeBodies, MemoryFile
from rafiki.predictor.protocol import Asked
from rafiki.utils.npy import write_header

T = TypeVar("T")
MB = 1 << 20
_ENOUGH_S = 60.0


def with_bodies(action: Callable[[LargeBodies], Awaitable[T]], *, most_bytes: int = 8 * MB) -> T:
    async def run() -> T:
        bodies = LargeBodies(most_bytes, 100)
        try:
            return await action(bodies)
        finally:
            await bodies.close()

    return asyncio.run(run())


async def read(bodies: LargeBodies, body: bytes, encoding: str = "", left_s: float = _ENOUGH_S) -> Asked:
    file = bodies.take()
    try:
        file.write(body)
        return await bodies.read(file, encoding, 10.0, left_s)
    finally:
        bodies.give_back(file)


def found(asked: Asked) -> tuple[list[bytes], bool, float]:
    return [bytes(q) for q in asked.queries], asked.is_one, asked.timeout_s


LONG = b'"' + b"x" * (2 * MB) + b'"'


def test_the_queries_of_one_body_after_another_are_those_that_came() -> None:
    async def ask(bodies: LargeBodies) -> list[tuple[list[bytes], bool, float]]:
        packed = gzip.compress(b'{"query": ' + LONG + b"}")
        return [
            found(await read(bodies, b'{"queries": [1, ' + LONG + b' ,{"a": []}], "timeout_ms": 500}')),
            found(await read(bodies, packed, "gzip")),
            found(await read(bodies, b'{"queries": []}')),
        ]

    assert with_bodies(ask) == [([b"1", LONG, b'{"a": []}'], False, 0.5), ([LONG], True, 10.0), ([], False, 10.0)]


def test_one_large_array_is_read_by_nobody_and_several_are() -> None:
    array = np.arange(1 << 18, dtype=np.float32)
    raw = write_header("<f4", array.shape) + array.tobytes()

    async def ask(bodies: LargeBodies) -> None:
        one = await read(bodies, raw)
        assert (one.is_one, [bytes(q) for q in one.queries]) == (True, [raw])
        assert bodies._process is None
        file = bodies.take()
        file.write(write_header("<f4", (4, 1 << 16)) + array.tobytes())
        several = await bodies.read(file, "", 10.0, _ENOUGH_S, BodyForm(is_batch=True))
        bodies.give_back(file)
        assert [len(q) for q in several.queries] == [128 + (1 << 18)] * 4
        assert bytes(several.queries[1]).endswith(array[1 << 16 : 2 << 16].tobytes())

    with_bodies(ask)


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (b'{"query": ' + LONG, "", InvalidRequestError),
        (b"no gzip", "gzip", InvalidRequestError),
        (b"{}", "br", UnsupportedEncodingError),
        (gzip.compress(b" " * (9 * MB), mtime=0), "gzip", RequestTooLargeError),
        (b'{"queries": [' + b"1," * 200 + b"1]}", "", PredictorBusyError),
        (b'{"queries": [' + b"1," * (4 * MB - 20) + b"1]}", "", RafikiError),
    ],
    ids=["cut off", "no gzip", "another encoding", "too large unpacked", "too many queries", "millions of queries"],
)
def test_what_cannot_be_taken_is_refused_and_the_next_body_is_read(
    body: bytes, encoding: str, error: type[RafikiError]
) -> None:
    async def ask(bodies: LargeBodies) -> Asked:
        with pytest.raises(error):
            await read(bodies, body, encoding)
        return await read(bodies, b'{"query": 1}')

    assert found(with_bodies(ask)) == ([b"1"], True, 10.0)


def test_a_body_that_is_not_read_in_time_is_a_503_and_holds_up_no_other() -> None:
    async def ask(bodies: LargeBodies) -> Asked:
        with pytest.raises(NoPredictionError, match="longer to read"):
            await read(bodies, b'{"query": 1}', left_s=0.0)
        return await read(bodies, b'{"query": 2}')

    assert found(with_bodies(ask)) == ([b"2"], True, 10.0)


def test_when_the_reader_is_killed_the_next_body_has_a_new_one() -> None:
    async def ask(bodies: LargeBodies) -> Asked:
        await read(bodies, b'{"query": 1}')
        assert bodies._process is not None
        bodies._process.kill()
        await bodies._process.wait()
        with pytest.raises(NoPredictionError, match="again"):
            await read(bodies, b'{"query": 2}')
        return await read(bodies, b'{"query": 3}')

    assert found(with_bodies(ask)) == ([b"3"], True, 10.0)


def test_no_more_are_held_at_once_than_memory_allows() -> None:
    async def ask(bodies: LargeBodies) -> None:
        held = [bodies.take() for _ in range(large_bodies._MOST_AT_ONCE)]
        with pytest.raises(PredictorBusyError):
            bodies.take()
        bodies.give_back(held.pop())
        held.append(bodies.take())
        for file in held:
            bodies.give_back(file)

    with_bodies(ask)


def test_what_takes_more_memory_than_there_is_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_arguments: object, **_named: object) -> None:
        raise MemoryError

    monkeypatch.setattr("rafiki.predictor.body_reader.read_body", too_much)
    reading = read_large_body(ToRead("", 1.0, MB, 10), b"[]", -1)
    assert (reading.error, reading.http_status) == ("InvalidRequestError", 400)
    assert "too many values" in reading.message


def test_the_reader_ends_with_its_socket() -> None:
    from rafiki.predictor.body_reader import serve

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        serve(theirs)


def test_a_file_of_memory_is_closed_once() -> None:
    file = MemoryFile()
    file.write(b"abc")
    assert file.size_bytes == 3
    file.close()
    file.close()
