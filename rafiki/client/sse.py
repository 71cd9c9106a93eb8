"""Reads server-sent events."""

from __future__ import annotations

from collections.abc import Iterator


def parse_events(chunks: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) from the bytes of a stream.

    Of the format what the admin uses: lines end with a line feed, and the fields are ``event`` and ``data``.
    """
    kind = "message"
    data: list[bytes] = []
    rest: list[bytes] = []
    for chunk in chunks:
        *lines, last = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join([*rest, lines[0]])
            rest = []
        rest.append(last)
        for line in lines:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not line:
                if data:
                    yield kind, b"\n".join(data)
                kind, data = "message", []
            elif name == b"event":
                kind = value.decode("utf-8", "replace")
            elif name == b"data":
                data.append(value)
