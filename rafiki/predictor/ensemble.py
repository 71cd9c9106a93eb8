"""From the members' replies to one prediction, by the task's rule."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rafiki.errors import InvalidQueryError, ModelPredictError, NoPredictionError
from rafiki.messages import Reply
from rafiki.tasks.base import TaskSpec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def combine(task: TaskSpec, replies: Sequence[Reply | None]) -> bytes:
    """The ensemble's prediction as JSON, from the replies of its members, best member first (None = no reply).

    A single prediction is passed on as it came.

    Raises:
        InvalidQueryError: a member says that the query is not what the task takes.
        ModelPredictError: members replied, but predict() failed in all of them.
        NoPredictionError: no member replied.
    """
    good = [r.payload for r in replies if r is not None and r.status == "ok"]
    if len(good) == 1:
        return good[0]
    if good:
        return _encode(task.ensemble([_decode(payload) for payload in good]))
    answered = [r for r in replies if r is not None]
    for reply in answered:
        if reply.status == "invalid_query":
            raise InvalidQueryError(reply.payload.decode())
    if answered:
        raise ModelPredictError(answered[0].payload.decode())
    raise NoPredictionError
