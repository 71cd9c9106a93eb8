"""The direct way: how an inference worker and a predictor of one host speak over a Unix socket, past the cache.

A predictor listens at a socket in a folder of its inference job, under its own id. A worker says once who it is, and
then when it takes queries. Each message is a frame: its length as four bytes,
then MessagePack. Deadlines are of this host's monotonic clock. What is too large for a frame takes the other way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rafiki.messages import Query, Reply

MOST_FRAME_BYTES = 64 << 20
"""A longer frame ends the connection."""
MOST_PAYLOAD_BYTES = MOST_FRAME_BYTES - (1 << 20)
"""A longer query or prediction goes through the cache."""
_TURN_BYTES = 4 << 20
"""Whoever reads replies has a loop to go on with: more of them are several frames."""
_COPIED_BYTES = 64 << 10
_LENGTH_BYTES = 4
# Of MessagePack.
_NO_BYTES, _BIN32, _ARRAY32 = b"\xc4\x00", b"\xc6", b"\xdd"
_SUFFIX = ".sock"
_encoder = msgspec.msgpack.Encoder()


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The first frame of a worker."""

    trial_id: str
    worker_id: str


class Turn(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Every further frame of a worker."""

    wants: int
    """How many it takes now, in one go. It replaces what it wanted before."""
    seen: int = 0
    """So many frames of queries had come until then. Where others are on their way, it will be busy with these: what it
    wanted is void."""
    replies: list[Reply] = []


_hello_decoder = msgspec.msgpack.Decoder(Hello)
_turn_decoder = msgspec.msgpack.Decoder(Turn)
_queries_decoder = msgspec.msgpack.Decoder(list[Query])


class BrokenFrameError(ValueError):
    """What came is no frame of the direct way: the connection is of no use any more."""


def frame(message: Hello | Turn | Sequence[Query]) -> bytes:
    content = _encoder.encode(message)
    return len(content).to_bytes(_LENGTH_BYTES, "little") + content


def pieces_of(queries: Sequence[Query]) -> list[bytes]:
    """A frame of queries as it is written: large ones are not copied."""
    if sum(len(q.query) for q in queries) <= _COPIED_BYTES:
        return [frame(queries)]
    # As the encoder does it: the array, each query up to what it asks, that, and what follows.
    pieces: list[bytes] = [_ARRAY32 + len(queries).to_bytes(4, "big")]
    for query in queries:
        tail = query.tail
        head = _encoder.encode(msgspec.structs.replace(query, query=b"")).removesuffix(_NO_BYTES + tail)
        pieces += [head + _BIN32 + len(query.query).to_bytes(4, "big"), query.query, tail]
    return [sum(map(len, pieces)).to_bytes(_LENGTH_BYTES, "little"), *pieces]


def frames_of_turn(wants: int, seen: int, replies: Sequence[Reply]) -> list[bytes]:
    """A turn as one frame, or as several where its replies are many megabytes; the last one says what it wants."""
    size = sum(len(r.payload) for r in replies)
    if size <= _TURN_BYTES:
        return [frame(Turn(wants, seen, list(replies)))]
    frames, part, size = [], list[Reply](), 0
    for reply in replies:
        if part and size + len(reply.payload) > _TURN_BYTES:
            frames.append(frame(Turn(0, seen, part)))
            part, size = [], 0
        part.append(reply)
        size += len(reply.payload)
    return [*frames, frame(Turn(wants, seen, part))]


def decode_hello(content: bytes | memoryview) -> Hello:
    """
    Raises:
        BrokenFrameError: when it is none.
    """
    try:
        return _hello_decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise BrokenFrameError(str(e)) from e


def decode_turn(content: bytes | memoryview) -> Turn:
    """
    Raises:
        BrokenFrameError: when it is none.
    """
    try:
        return _turn_decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise BrokenFrameError(str(e)) from e


def decode_queries(content: bytes | memoryview) -> list[Query]:
    """
    Raises:
        BrokenFrameError: when it is none.
    """
    try:
        return _queries_decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise BrokenFrameError(str(e)) from e


class FrameReader:
    """Puts the frames of one connection together from what comes, piece by piece."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._wanted = _LENGTH_BYTES
        """So many bytes have to be there before there is more to see."""

    def feed(self, data: bytes) -> list[memoryview]:
        """The contents of the frames that are complete with ``data``.

        Raises:
            BrokenFrameError: a frame is longer than any may be.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return []
            data, self._rest = bytes(self._rest), bytearray()
        view, at, n_bytes, found = memoryview(data), 0, len(data), []
        while n_bytes - at >= _LENGTH_BYTES:
            start = at + _LENGTH_BYTES
            length = int.from_bytes(view[at:start], "little")
            if length > MOST_FRAME_BYTES:
                raise BrokenFrameError(f"a frame of {length} bytes is longer than {MOST_FRAME_BYTES}")
            if n_bytes - start < length:
                self._wanted = _LENGTH_BYTES + length
                break
            found.append(view[start : start + length])
            at = start + length
        else:
            self._wanted = _LENGTH_BYTES
        if at < n_bytes:
            self._rest += view[at:]
        return found


def socket_of(folder: Path, predictor_id: str) -> Path:
    """Where a predictor listens."""
    return folder / f"{predictor_id}{_SUFFIX}"


def sockets_in(folder: Path) -> list[Path]:
    """The sockets of a job's predictors, those that nobody listens at any more among them."""
    try:
        with os.scandir(folder) as entries:
            return [folder / e.name for e in entries if e.name.endswith(_SUFFIX)]
    except OSError:
        return []
