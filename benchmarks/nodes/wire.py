"""What a wire carries: one TCP stream a reader, sent from a file without a copy, read into one buffer and dropped.

``python -m benchmarks.nodes.wire serve FILE`` prints its port; ``... read HOST PORT`` waits for a line on stdin, and
prints the seconds from its first byte asked for to the last one read.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

_BUFFER_BYTES = 1 << 20


def serve(path: Path) -> None:
    """Send the file to everybody who connects, until stdin ends."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        print(listener.getsockname()[1], flush=True)

        def send(connection: socket.socket) -> None:
            with connection, path.open("rb") as file:
                connection.recv(1)
                connection.sendfile(file)

        def accept() -> None:
            while True:
                threading.Thread(target=send, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        sys.stdin.read()


def read(host: str, port: int) -> float:
    """Seconds that reading a file took."""
    buffer = bytearray(_BUFFER_BYTES)
    with socket.create_connection((host, port), timeout=60) as connection:
        print("ready", flush=True)
        sys.stdin.readline()
        started = time.perf_counter()
        connection.sendall(b"x")
        while connection.recv_into(buffer):
            pass
        return time.perf_counter() - started


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", path]:
            serve(Path(path))
        case ["read", host, port]:
            print(read(host, int(port)), flush=True)
