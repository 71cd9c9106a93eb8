"""The HTTP interface of predictions, as a predictor and the server of an export both speak it: ``GET /`` and
``POST /predict``.

It travels in exports, and every request passes here: bytes in, bytes out, and no library but msgspec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rafiki.errors import InvalidRequestError, PredictorBusyError
from rafiki.utils.mismatch import explain_json

if TYPE_CHECKING:
    from rafiki.predictor.open_inference import InferenceAnswer

_NULL = b"null"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``query`` for one, ``queries`` for several; the values are passed on unparsed."""

    query: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    queries: list[msgspec.Raw] | None = None
    timeout_ms: float | None = None
    """Shorter than the server's own deadline, if wished."""


_decoder = msgspec.json.Decoder(PredictRequest)


class Asked(NamedTuple):
    """What a request asks for."""

    queries: list[bytes]
    """JSON values, or arrays in the npy format."""
    is_one: bool
    """Whether it was ``query``: the answer is then one prediction."""
    timeout_s: float
    inference: InferenceAnswer | None = None
    """How a request of the Open Inference Protocol is answered; None = it was ``POST /predict``."""
    is_fresh: bool = False
    """Whether no prediction of before will do."""
    is_kept: bool = True
    """Whether its predictions may be kept for others."""


class SlowBodyError(Exception):
    """A body takes more than a few milliseconds to read, which is too long for who has others to answer."""


def too_many_queries(n: int, most: int) -> PredictorBusyError:
    return PredictorBusyError(f"{n} queries are more than this predictor takes at once ({most}). Send them in parts.")


def read_request(body: bytes, deadline_s: float) -> Asked:
    """What the body of ``POST /predict`` asks for.

    Args:
        deadline_s: the longest that the server waits for an answer.

    Raises:
        InvalidRequestError: when it has another form.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        reason = explain_json(body, PredictRequest)
        raise InvalidRequestError(
            f'The body must be JSON of the form {{"query": ...}} or {{"queries": [...]}}: {reason}.'
        ) from e
    query = None if request.query is msgspec.UNSET else bytes(request.query)
    if query == _NULL:
        query = None
    if (query is None) == (request.queries is None):
        raise InvalidRequestError('The body must hold either "query" or "queries".')
    timeout_s = deadline_s
    if request.timeout_ms is not None:
        if not request.timeout_ms > 0:
            raise InvalidRequestError('"timeout_ms" must be above 0.')
        timeout_s = min(timeout_s, request.timeout_ms / 1000)
    if query is not None:
        return Asked([query], True, timeout_s)
    return Asked([bytes(q) for q in request.queries or ()], False, timeout_s)


def write_answer(asked: Asked, predictions: Sequence[bytes], left_out: Mapping[str, str], version: str = "") -> bytes:
    """The body of the answer.

    Args:
        predictions: JSON values, one a query.
        left_out: the members that did not take part, and why: ``shed`` (not asked, as it would have been too late),
            ``late``, ``absent`` (no worker serves it) or ``failed``.
        version: of the app, that has answered; the Open Inference Protocol names it.
    """
    if asked.inference is not None:
        return asked.inference.write(predictions, left_out, version)
    out = b""
    if left_out:
        names, reasons = msgspec.json.encode(list(left_out)), msgspec.json.encode(left_out)
        out = b',"left_out":%s,"left_out_reasons":%s' % (names, reasons)
    if asked.is_one:
        return b'{"prediction":%s,"predictions":[]%s}' % (predictions[0], out)
    return b'{"prediction":null,"predictions":[%s]%s}' % (b",".join(predictions), out)


def which_query(asked: Asked, index: int) -> str:
    """What the refusal of one query begins with: which it is, where several were asked."""
    return "" if asked.is_one else f"Query {index}: "
