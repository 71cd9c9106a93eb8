"""From the body of a request to the queries in it, whatever form it has. The same in a predictor, in the process that
reads its large bodies, and in the server of an export."""

from __future__ import annotations

import math
from collections.abc import Iterable
from urllib.parse import parse_qs

import msgspec

from rafiki.errors import InvalidRequestError
from rafiki.predictor.array_bodies import is_array_body, read_arrays
from rafiki.predictor.open_inference import InferenceModel, read_inference
from rafiki.predictor.protocol import Asked, read_request

_HEADER_LENGTH = b"inference-header-content-length"
_TRUE, _FALSE = ("1", "true", "yes", ""), ("0", "false", "no")


class BodyForm(msgspec.Struct, frozen=True, array_like=True):
    """What the path, the query string and the headers of a request say of its body."""

    model: InferenceModel | None = None
    """Of the Open Inference Protocol; None = it is that of ``POST /predict``."""
    header_bytes: int | None = None
    """There: the length of its JSON, which binary tensors follow; None = it is JSON alone."""
    is_batch: bool = False
    """An array holds a query in each part along its first axis."""
    timeout_ms: float | None = None
    is_fresh: bool = False
    """See :class:`Asked`."""
    is_kept: bool = True

    @property
    def is_one_array(self) -> bool:
        """Whether an array in it is one query."""
        return self.model is None and not self.is_batch

    def timeout_s(self, deadline_s: float) -> float:
        """The longest to wait for the predictions.

        Args:
            deadline_s: of the server.
        """
        return deadline_s if self.timeout_ms is None else min(deadline_s, self.timeout_ms / 1000)

    def told(self, query_string: bytes, headers: Iterable[tuple[bytes, bytes]]) -> BodyForm:
        """This form, with what one request says.

        Args:
            headers: their names in small letters.

        Raises:
            InvalidRequestError: when it says what makes no sense.
        """
        if self.model is not None:
            for name, value in headers:
                if name == _HEADER_LENGTH:
                    if not value.strip().isdigit():
                        raise InvalidRequestError("Inference-Header-Content-Length must be a number of bytes.")
                    return msgspec.structs.replace(self, header_bytes=int(value))
            return self
        if not query_string:
            return self
        given = parse_qs(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
        return msgspec.structs.replace(
            self, is_batch=_boolean(given.get("batch", ["false"])[-1]), timeout_ms=_timeout(given.get("timeout_ms"))
        )


def without_cache(form: BodyForm, headers: Iterable[tuple[bytes, bytes]]) -> BodyForm:
    """``form`` as the header ``cache-control`` of a request says: ``no-cache`` asks for a prediction that is made now,
    ``no-store`` for one that is kept for nobody either."""
    for name, value in headers:
        if name == b"cache-control":
            told = {part.strip() for part in value.lower().split(b",")}
            if b"no-store" in told:
                return msgspec.structs.replace(form, is_fresh=True, is_kept=False)
            if b"no-cache" in told:
                return msgspec.structs.replace(form, is_fresh=True)
    return form


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise InvalidRequestError(
            f"batch is {text[:80]!r}. Give true (the first axis is that of the queries) or false."
        )
    return text.lower() in _TRUE


def _timeout(given: list[str] | None) -> float | None:
    if given is None:
        return None
    try:
        value = float(given[-1])
    except ValueError:
        value = math.nan
    if not value > 0:
        raise InvalidRequestError("timeout_ms must be a number above 0.")
    return value


def read_body(
    body: bytes, form: BodyForm, deadline_s: float, *, most_queries: int, most_bytes: int, is_hurried: bool = False
) -> Asked:
    """What a body asks for.

    Args:
        deadline_s: the longest that the server waits for an answer.
        most_queries: more in one request are refused.
        most_bytes: the largest body that is taken, unpacked.
        is_hurried: what takes more than a few milliseconds to read is left to another.

    Raises:
        SlowBodyError: that is so.
        RequestTooLargeError: it is larger unpacked.
        InvalidRequestError: when it has another form.
        PredictorBusyError: it holds too many queries.
    """
    if form.is_fresh:
        asked = read_body(
            body, msgspec.structs.replace(form, is_fresh=False), deadline_s, most_queries=most_queries,
            most_bytes=most_bytes, is_hurried=is_hurried,
        )  # fmt: skip
        return asked._replace(is_fresh=True, is_kept=form.is_kept)
    if form.model is not None:
        return read_inference(
            body, form.header_bytes, form.model, deadline_s, most_queries=most_queries, is_hurried=is_hurried
        )
    timeout_s = form.timeout_s(deadline_s)
    if not is_array_body(body):
        return read_request(body, timeout_s)
    queries = read_arrays(body, is_batch=form.is_batch, most_queries=most_queries, most_bytes=most_bytes)
    is_one = not form.is_batch and len(queries) == 1 and queries[0] is body
    return Asked(queries, is_one, timeout_s)
