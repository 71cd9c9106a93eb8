"""A process of clients: threads that send queries with deadlines to predictors and tell what they saw.

It is apart from the suite, whose own work would delay it. Targets come in on stdin and answers go out on stdout, a JSON
object a line. When an answer arrived is asked of the kernel, so that a thread that was woken late makes nobody late.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import sys
import threading
import time

import msgspec
from chaos.answers import Answer, Lag, Target

THREADS = 4
"""Clients of each deployment."""
_SO_TIMESTAMPING = 37
_SOFTWARE_RECEIVE = (1 << 3) | (1 << 4)
"""SOF_TIMESTAMPING_RX_SOFTWARE and SOF_TIMESTAMPING_SOFTWARE."""
_PATIENCE_S = 10.0
"""Beyond the deadline, after which a client gives up."""
_TICK_S = 0.02
_HEAD = b"POST /predict HTTP/1.1\r\nHost: predictor\r\nContent-Type: application/json\r\n"


class Targets:
    """The addresses in force."""

    def __init__(self) -> None:
        self._addresses: dict[str, str | None] = {}
        self.changed = threading.Condition()
        self.is_closed = False

    def take(self, target: Target) -> bool:
        """Whether the target is new."""
        with self.changed:
            is_new = target.name not in self._addresses
            self._addresses[target.name] = target.address
            self.changed.notify_all()
        return is_new

    def close(self) -> None:
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()

    def address(self, name: str) -> tuple[str, int] | None:
        """Waits for one; None when there will be none."""
        with self.changed:
            while not self.is_closed and self._addresses[name] is None:
                self.changed.wait(1.0)
            told = self._addresses[name]
        if self.is_closed or told is None:
            return None
        host, _, port = told.rpartition(":")
        return host, int(port)


class _Reply:
    """Bytes of one HTTP answer, and when the kernel had the last of them."""

    def __init__(self) -> None:
        self.data = b""
        self.at = 0.0

    def read(self, sock: socket.socket) -> None:
        """
        Raises:
            OSError: the connection broke, or nothing came in time.
        """
        while not self._is_whole():
            piece, notes, _, _ = sock.recvmsg(65536, 256)
            if not piece:
                raise ConnectionResetError
            self.at = _kernel_time(notes) or time.time()
            self.data += piece

    def _is_whole(self) -> bool:
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return False
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return len(body) >= int(line.partition(b":")[2])
        return True

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]


def _kernel_time(notes: list[tuple[int, int, bytes]]) -> float | None:
    for level, kind, data in notes:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPING and len(data) >= 16:
            seconds, nanoseconds = struct.unpack_from("qq", data)
            return float(seconds + nanoseconds / 1e9) or None
    return None


class ClientThread(threading.Thread):
    """One client: it sends a query, waits for the answer, and sends the next a moment later."""

    def __init__(self, name: str, targets: Targets, seed: str, out: Out) -> None:
        super().__init__(daemon=True)
        self._target, self._targets, self._out = name, targets, out
        self._random = random.Random(seed)
        self._pause = threading.Event()
        self._socket: socket.socket | None = None
        self._at: tuple[str, int] | None = None

    def run(self) -> None:
        n = 0
        while (address := self._targets.address(self._target)) is not None:
            if address != self._at:
                self._hang_up()
                self._at = address
            n += 1
            answer = self._ask(address, f"{self.ident}-{n}")
            self._out.tell(answer)
            # Who finds nobody there does not knock a thousand times a second.
            self._pause.wait(0.1 if answer.outcome == "absent" else self._random.uniform(0.01, 0.06))
        self._hang_up()

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, address: tuple[str, int], query: str) -> Answer:
        deadline_s = self._random.choice([0.3, 0.5, 1.0, 2.0])
        body = msgspec.json.encode({"query": query, "timeout_ms": deadline_s * 1000})
        request, reply = _HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body), _Reply()
        before = sent = time.time()
        try:
            if self._socket is None:
                self._socket = socket.create_connection(address, timeout=5.0)
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _SOFTWARE_RECEIVE)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(deadline_s + _PATIENCE_S)
            before = time.time()
            self._socket.sendall(request)
            sent = time.time()
            reply.read(self._socket)
            outcome = _outcome(reply, query)
        except ConnectionRefusedError:
            outcome = "absent"
        except TimeoutError:
            outcome = "none"
        except OSError:
            outcome = "lost"
        now = time.time()
        if outcome in ("absent", "none", "lost"):
            self._hang_up()
            reply.at = now
        return Answer(
            target=self._target, sent_at=before, deadline_s=deadline_s, took_s=max(0.0, reply.at - sent),
            seen_s=now - before, outcome=outcome,
        )  # fmt: skip


def _outcome(reply: _Reply, query: str) -> str:
    answer = msgspec.json.decode(reply.body)
    if reply.status == 200:
        if answer["prediction"]["query"] != query:
            return f"wrong: the answer to {answer['prediction']['query']!r} came for {query!r}"
        return "partial" if answer.get("left_out") else "answered"
    if reply.status in (429, 503) and answer.get("message"):
        return "refused"
    return f"wrong: {reply.status} {reply.body[:300]!r}"


class Out:
    """Writes lines for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, told: Answer | Lag) -> None:
        line = msgspec.json.encode(told) + b"\n"
        with self._lock, contextlib.suppress(BrokenPipeError):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def _measure_lag(out: Out, targets: Targets) -> None:
    """How late this process is woken, told when it is worth it."""
    pause = threading.Event()
    while not targets.is_closed:
        began = time.monotonic()
        pause.wait(_TICK_S)
        lag_s = time.monotonic() - began - _TICK_S
        if lag_s > 0.05:
            out.tell(Lag(time.time(), lag_s))


def main(seed: str) -> None:
    targets, out = Targets(), Out()
    threading.Thread(target=_measure_lag, args=(out, targets), daemon=True).start()
    threads: list[ClientThread] = []
    for line in sys.stdin.buffer:
        target = msgspec.json.decode(line, type=Target)
        if targets.take(target):
            for i in range(THREADS):
                threads.append(ClientThread(target.name, targets, f"{seed}-{target.name}-{i}", out))
                threads[-1].start()
    targets.close()
    for thread in threads:
        thread.join(20.0)


if __name__ == "__main__":
    main(sys.argv[1])
