"""Bodies of ``POST /predict`` that are arrays: one in the npy format, or several in the npz format (a zip of them).

It travels in exports, and there is no numpy here: the bytes are passed on.
"""

from __future__ import annotations

import io

from rafiki.errors import InvalidRequestError, RequestTooLargeError
from rafiki.predictor.protocol import too_many_queries
from rafiki.utils.npy import MAGIC, NpyError, read_header, split_first_axis

ZIP_MAGIC = b"PK\x03\x04"


def is_array_body(body: bytes) -> bool:
    """Whether a body is an array or several; what it is said to be does not count, as it does not for JSON."""
    return body.startswith((MAGIC, ZIP_MAGIC))


def read_arrays(body: bytes, *, is_batch: bool, most_queries: int, most_bytes: int) -> list[bytes]:
    """The queries of a body: arrays in the npy format.

    Args:
        is_batch: an array holds a query in each part along its first axis. An npz is a batch in any case.
        most_bytes: the largest body that is taken, unpacked.

    Raises:
        InvalidRequestError: it cannot be read.
        PredictorBusyError: it holds too many queries.
        RequestTooLargeError: it is larger unpacked.
    """
    if body.startswith(ZIP_MAGIC):
        return _read_npz(body, most_queries, most_bytes)
    if not is_batch:
        # Read by the worker.
        return [body]
    try:
        header = read_header(body)
        if header.shape and header.shape[0] > most_queries:
            raise too_many_queries(header.shape[0], most_queries)
        return list(split_first_axis(body, header))
    except NpyError as e:
        raise InvalidRequestError(f"The array of queries cannot be read: {e}.") from e


def _read_npz(body: bytes, most_queries: int, most_bytes: int) -> list[bytes]:
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            infos = archive.infolist()
            if len(infos) > most_queries:
                raise too_many_queries(len(infos), most_queries)
            if sum(info.file_size for info in infos) > most_bytes:
                raise RequestTooLargeError(f"The body is larger than {most_bytes:,} bytes when it is unpacked.")
            arrays = []
            for info in infos:
                with archive.open(info) as file:
                    array = file.read(info.file_size)
                if not array.startswith(MAGIC):
                    raise InvalidRequestError(f"{info.filename[:80]!r} in the npz file is no npy array.")
                arrays.append(array)
            return arrays
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError, UnicodeDecodeError) as e:
        reason = str(e)[:120] or "it is damaged"
        raise InvalidRequestError(f"The body is no npz file that can be read: {reason}.") from e
