"""The load generator of an open loop: queries are sent when they are due, whatever has become of those before.

A process of its own that does next to nothing while it sends: one thread, requests built in advance, answers read when
all is over. An answer's time counts from when its query was due, not from when it was sent (coordinated omission: Tene,
"How not to measure latency", 2013), to when the kernel had the last of its bytes, so a generator that comes late to
its answers makes none late. How late it was with its queries is told.

``python -m benchmarks.scheduling.open_loop`` reads an :class:`OpenLoad` as MessagePack on stdin and prints a list of
:class:`Answer`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

PATIENCE_S = 15.0
"""How long an answer is waited for after the last query."""
_PRIORITY = -10
_SO_TIMESTAMPING = 37
_SOFTWARE_RECEIVE = (1 << 3) | (1 << 4)
"""SOF_TIMESTAMPING_RX_SOFTWARE and SOF_TIMESTAMPING_SOFTWARE."""
_AHEAD_S = 0.5


class OpenLoad(msgspec.Struct, frozen=True, kw_only=True):
    addresses: list[str]
    """``host:port`` of predictors: the queries go to them in turn."""
    bodies: list[bytes]
    """Sent in turn."""
    times_s: list[float]
    """When the queries are due, ascending."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What came of one query."""

    status: int
    """0 = no answer."""
    took_s: float
    """Since it was due."""
    sent_late_s: float
    """How much later than due it was sent."""
    body: bytes


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    answers: list[Answer]
    cpu_s: float
    """What the generator used of a core while it sent."""


class _Message(NamedTuple):
    no: int
    due: float
    sent: float


class _Connection:
    __slots__ = ("address", "at", "data", "message", "sock")

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.message: _Message | None = None
        self.data = b""
        self.at = 0.0
        self.sock = socket.create_connection(address, timeout=5.0)
        self.sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _SOFTWARE_RECEIVE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)

    def read(self) -> bytes | None:
        """An answer, when it is whole. Empty when the connection broke."""
        try:
            piece, notes, _, _ = self.sock.recvmsg(65536, 256)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if not piece:
            return b""
        self.at = _kernel_time(notes) or time.time()
        self.data = self.data + piece if self.data else piece
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return None
        at = self.data.lower().find(b"content-length:", 0, end)
        whole = end + 4 + int(self.data[at + 15 : self.data.index(b"\r\n", at)])
        if len(self.data) < whole:
            return None
        answer, self.data = self.data, b""
        return answer


def _kernel_time(notes: list[tuple[int, int, bytes]]) -> float | None:
    for level, kind, data in notes:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPING and len(data) >= 16:
            seconds, nanoseconds = struct.unpack_from("qq", data)
            return float(seconds + nanoseconds / 1e9) or None
    return None


class _Run:
    def __init__(self, load: OpenLoad) -> None:
        head = "POST /predict HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
        self._messages = [[head.format(a, len(b)).encode() + b for b in load.bodies] for a in load.addresses]
        parts = [address.rpartition(":") for address in load.addresses]
        self._addresses = [(host, int(port)) for host, _, port in parts]
        self._idle: dict[tuple[str, int], list[_Connection]] = {address: [] for address in self._addresses}
        self._connections: dict[int, _Connection] = {}
        self._n_waiting = 0
        self._poll = select.epoll()
        self._times_s = load.times_s
        self.raw: list[tuple[float, float, bytes]] = [(PATIENCE_S, 0.0, b"")] * len(load.times_s)
        """Of each query: when it was answered and sent, since it was due, and the answer."""

    def serve(self) -> None:
        begins = time.time() + _AHEAD_S
        n, no = len(self._times_s), 0
        ends = begins + (self._times_s[-1] if n else 0.0) + PATIENCE_S
        while no < n or self._n_waiting:
            now = time.time()
            while no < n and begins + self._times_s[no] <= now:
                self._send(no, begins + self._times_s[no])
                no += 1
                now = time.time()
            until = begins + self._times_s[no] if no < n else ends
            if no == n and now >= ends:
                return
            for handle, _ in self._poll.poll(max(0.0, until - now)):
                self._receive(self._connections[handle])

    def _send(self, no: int, due: float) -> None:
        which = no % len(self._addresses)
        address, messages = self._addresses[which], self._messages[which]
        idle = self._idle[address]
        try:
            connection = idle.pop() if idle else self._connect(address)
            sent = time.time()
            connection.sock.send(messages[no % len(messages)])
        except OSError:
            return
        connection.message = _Message(no, due, sent)
        self._n_waiting += 1

    def _connect(self, address: tuple[str, int]) -> _Connection:
        connection = _Connection(address)
        self._connections[connection.sock.fileno()] = connection
        self._poll.register(connection.sock, select.EPOLLIN)
        return connection

    def _receive(self, connection: _Connection) -> None:
        answer = connection.read()
        if answer is None:
            return
        message, connection.message = connection.message, None
        if message is not None:
            self._n_waiting -= 1
            took_s = connection.at - message.due if answer else PATIENCE_S
            self.raw[message.no] = (took_s, message.sent - message.due, answer)
        if answer:
            self._idle[connection.address].append(connection)
            return
        if message is None:
            self._idle[connection.address].remove(connection)
        self._poll.unregister(connection.sock)
        del self._connections[connection.sock.fileno()]
        connection.sock.close()

    def close(self) -> None:
        for connection in self._connections.values():
            connection.sock.close()


def _answer(took_s: float, sent_late_s: float, raw: bytes) -> Answer:
    return Answer(int(raw[9:12]) if raw else 0, took_s, sent_late_s, raw.partition(b"\r\n\r\n")[2])


def send(load: OpenLoad) -> Sent:
    """Send queries when they are due, from a process of its own.

    Raises:
        RuntimeError: when that process fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scheduling.open_loop"], input=msgspec.msgpack.encode(load),
        capture_output=True, cwd=Path(__file__).resolve().parents[2], check=False,
        start_new_session=True, timeout=(load.times_s[-1] if load.times_s else 0.0) + 4 * PATIENCE_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.msgpack.decode(done.stdout, type=Sent)


def _come_first() -> None:
    """It shares the machine with what it measures. Where each session has its share of the cores (autogroups), a
    process's own priority counts within its session alone. One that may not come first comes as it can."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_PRIORITY))


def main() -> int:
    load = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=OpenLoad)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
    _come_first()
    run = _Run(load)
    gc.collect()
    gc.disable()
    before = os.times()
    run.serve()
    after = os.times()
    run.close()
    cpu_s = after.user + after.system - before.user - before.system
    answers = [_answer(*raw) for raw in run.raw]
    sys.stdout.buffer.write(msgspec.msgpack.encode(Sent(answers=answers, cpu_s=cpu_s)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
