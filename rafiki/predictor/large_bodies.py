"""Large bodies of requests: kept in files of memory while they come, and read by a process of their own.

Reading 60 MB of JSON, or unpacking as much, would hold the event loop, and with it every other request, for as long as
it takes. Here the event loop copies what comes, piece by piece, and waits. The process is started for the first such
body and ends when none has come for a while: small requests pay nothing, in time or memory.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import cast

import msgspec

import rafiki
from rafiki.errors import NoPredictionError, PredictorBusyError, error_from_wire
from rafiki.predictor.bodies import BodyForm
from rafiki.predictor.body_reader import Reading, ToRead
from rafiki.predictor.protocol import Asked, too_many_queries
from rafiki.utils.npy import MAGIC

LARGE_BYTES = 1 << 20
"""What is larger is read elsewhere; up to here reading takes a millisecond or two."""
_IDLE_S = 30.0
_MOST_AT_ONCE = 8
"""So many large bodies are held at once."""
_MOST_ANSWER = 1 << 20
_OF_PREDICT = BodyForm()


class MemoryFile:
    """A file that is only in memory, and goes with its last descriptor."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("rafiki-body")
        self.size_bytes = 0

    def write(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(self.fd, view) :]

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class LargeBodies:
    """Of one predictor.

    Args:
        most_bytes: the largest body that is taken, packed and unpacked.
        most_queries: more in one body are counted, but not read.
    """

    def __init__(self, most_bytes: int, most_queries: int) -> None:
        self._most_bytes = most_bytes
        self._most_queries = most_queries
        self._n_held = 0
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._socket: socket.socket | None = None
        self._idle: asyncio.TimerHandle | None = None

    def take(self) -> MemoryFile:
        """A file for one more; to be given back.

        Raises:
            PredictorBusyError: too many are held already.
        """
        if self._n_held >= _MOST_AT_ONCE:
            raise PredictorBusyError(
                f"{_MOST_AT_ONCE} requests of more than {LARGE_BYTES >> 20} MB are being answered already. Try again "
                "in a moment, or send fewer queries at once."
            )
        file = MemoryFile()
        self._n_held += 1
        return file

    def give_back(self, file: MemoryFile) -> None:
        self._n_held -= 1
        file.close()

    async def read(
        self, file: MemoryFile, encoding: str, deadline_s: float, left_s: float, form: BodyForm = _OF_PREDICT
    ) -> Asked:
        """What a body asks for; as :func:`rafiki.predictor.bodies.read_body`.

        Args:
            encoding: its header ``content-encoding``.
            deadline_s: the longest that the server waits for an answer.
            left_s: what is left of it.

        Raises:
            NoPredictionError: when it is not read in time.
            RafikiError: as it is refused.
        """
        if not encoding and form.is_one_array and os.pread(file.fd, len(MAGIC), 0) == MAGIC:
            # Nobody but the worker reads it.
            return Asked(
                _values(file.fd, [file.size_bytes]), True, form.timeout_s(deadline_s), None, form.is_fresh, form.is_kept
            )
        wanted = ToRead(encoding, deadline_s, self._most_bytes, self._most_queries, form)
        queries = MemoryFile()
        try:
            async with asyncio.timeout(left_s), self._turn:
                reading = await self._exchange(wanted, file, queries)
            if reading.error is not None:
                raise error_from_wire(reading.error, reading.message, reading.http_status)
            if reading.n_queries > len(reading.lengths):
                raise too_many_queries(reading.n_queries, self._most_queries)
            values = _values(queries.fd, reading.lengths)
            return Asked(values, reading.is_one, reading.timeout_s, reading.inference, form.is_fresh, form.is_kept)
        except TimeoutError as e:
            raise NoPredictionError(f"The request alone took longer to read than its {left_s:.3g} s.") from e
        finally:
            queries.close()

    async def _exchange(self, wanted: ToRead, file: MemoryFile, queries: MemoryFile) -> Reading:
        if self._idle is not None:
            self._idle.cancel()
        connected = await self._start() if self._socket is None else self._socket
        try:
            socket.send_fds(connected, [msgspec.msgpack.encode(wanted)], [file.fd, queries.fd])
            answer = await asyncio.get_running_loop().sock_recv(connected, _MOST_ANSWER)
            reading = msgspec.msgpack.decode(answer, type=Reading)
        except (OSError, msgspec.DecodeError) as e:
            self._end()
            raise NoPredictionError("The process that reads large requests has ended. Send the request again.") from e
        except BaseException:
            # Nobody waits for its answer any more, and the next body must not either.
            self._end()
            raise
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._end)
        return reading

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "rafiki.predictor.body_reader", str(theirs.fileno()),
                    stdin=DEVNULL, stdout=DEVNULL, pass_fds=[theirs.fileno()],
                    # Rafiki may itself have been found by the working folder alone.
                    cwd=Path(rafiki.__file__).resolve().parent.parent,
                )  # fmt: skip
            except BaseException:
                ours.close()
                raise
        self._socket = ours
        return ours

    def _end(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if process is not None and process.returncode is None:
            process.kill()

    async def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        process = self._process
        self._end()
        if process is not None:
            await process.wait()


def _values(fd: int, lengths: list[int]) -> list[bytes]:
    """The values that stand one after another in a file; none of them is copied here."""
    if not lengths:
        return []
    view = memoryview(mmap.mmap(fd, sum(lengths), prot=mmap.PROT_READ))
    values: list[bytes] = []
    start = 0
    for length in lengths:
        # All that is done with a query is that it is encoded, which takes both.
        values.append(cast(bytes, view[start : start + length]))
        start += length
    return values
