"""From the members' replies to one prediction, by the task's rule."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rafiki.errors import InvalidQueryError, ModelPredictError, NoPredictionError
from rafiki.messages import Reply
from rafiki.tasks.base import TaskSpec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def combine(task: TaskSpec, replies: Sequence[Reply | None], weights: Sequence[float] | None = None) -> bytes:
    """The ensemble's prediction as JSON, from the replies of its members.

    A single prediction is passed on as it came.

    Args:
        task: its rule.
        replies: one a member, the best member first; None = no reply.
        weights: how much each member counts, above 0; None = all the same. Those of the members that answered count
            in proportion.

    Raises:
        InvalidQueryError: a member refused the query as one that the task does not take.
        ModelPredictError: members replied, but predict() failed in all of them.
        NoPredictionError: no member replied.
    """
    good = [i for i, r in enumerate(replies) if r is not None and r.status == "ok"]
    if len(good) == 1:
        return replies[good[0]].payload  # type: ignore[union-attr]
    if good:
        predictions = [_decode(replies[i].payload) for i in good]  # type: ignore[union-attr]
        return _encode(task.ensemble(predictions, None if weights is None else [weights[i] for i in good]))
    answered = [r for r in replies if r is not None]
    for reply in answered:
        if reply.status == "invalid_query":
            raise InvalidQueryError(reply.payload.decode())
    if answered:
        raise ModelPredictError(answered[0].payload.decode())
    raise NoPredictionError
