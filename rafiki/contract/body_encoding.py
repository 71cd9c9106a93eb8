"""Bodies of requests as they travel: compressed with gzip, or with a byte order mark before their text."""

from __future__ import annotations

import zlib

from rafiki.errors import InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError

_GZIP = 16 + zlib.MAX_WBITS
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def decode_body(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """A body without its compression and its byte order mark.

    Args:
        encoding: the header ``content-encoding``; empty = none came.
        most_bytes: the largest body that is taken; no more is unpacked than that.

    Raises:
        UnsupportedEncodingError: when it is compressed in another way than gzip.
        InvalidRequestError: when it is no gzip.
        RequestTooLargeError: when it is larger unpacked.
    """
    if encoding in ("gzip", "x-gzip"):
        body = _unzip(body, most_bytes)
    elif encoding not in ("", "identity"):
        raise UnsupportedEncodingError(
            f"The body is encoded with {encoding[:80]!r}. Send it as it is, or with content-encoding: gzip."
        )
    return body.removeprefix(_BYTE_ORDER_MARK)


def _unzip(body: bytes, most_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        found = unpacker.decompress(body, most_bytes + 1)
    except zlib.error as e:
        raise InvalidRequestError(f"The body is no valid gzip: {e}.") from e
    if len(found) > most_bytes:
        raise RequestTooLargeError(f"The body is larger than {most_bytes:,} bytes when it is unpacked.")
    if not unpacker.eof:
        raise InvalidRequestError("The body is no whole gzip: its end is missing.")
    return found
