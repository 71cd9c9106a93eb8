"""What predict() has to return, told where it returns something else: in checks, in workers and in local runs alike."""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import islice

from rafiki.errors import ModelPredictError
from rafiki.utils.words import count

HINT = "Return a list with one prediction for each query, in their order."
# Iterables whose items are no predictions: letters, bytes, keys, and what has no order.
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping, Set)
_MOST_SHOWN = 60


def listed_predictions(returned: object, n_queries: int) -> list[object]:
    """The predictions for ``n_queries`` queries, as a list; a generator is read, and as far as is needed.

    Raises:
        ModelPredictError: when it is no list of one prediction a query, saying what it is and what is expected.
    """
    each = "" if n_queries == 1 else f" for each of {n_queries:,} queries"
    wanted = f"a list with one prediction{each} is expected"
    # The columns of a table are not its rows.
    is_table = hasattr(returned, "columns") and hasattr(returned, "iloc")
    if isinstance(returned, _NO_LISTS) or is_table or not _is_iterable(returned):
        raise ModelPredictError(f"predict() returned {_described(returned)}, and {wanted}.")
    found: list[object] = list(islice(iter(returned), n_queries + _MOST_SHOWN))  # type: ignore[call-overload]
    if len(found) == n_queries:
        return found
    more = "at least " if len(found) == n_queries + _MOST_SHOWN else ""
    predictions = count(len(found), "prediction")
    raise ModelPredictError(f"predict() returned {more}{predictions} ({_described(returned)}), and {wanted}.")


def _is_iterable(value: object) -> bool:
    # An array without a dimension has __iter__, and refuses.
    has_items = hasattr(value, "__iter__") or hasattr(value, "__getitem__")
    return has_items and getattr(value, "shape", None) != ()


def _described(value: object) -> str:
    """``a str ('cat')``, ``an ndarray of shape (5, 10)``, ``None``."""
    if value is None:
        return "None (is a `return` missing?)"
    name = type(value).__name__
    text = f"{'an' if name[0].lower() in 'aeio' or name == 'ndarray' else 'a'} {name}"
    if (shape := getattr(value, "shape", None)) is not None:
        return f"{text} of shape {shape!s:.40}"
    if isinstance(value, (str, bytes, bool, int, float)):
        shown = repr(value)
        return f"{text} ({shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + '...'})"
    if isinstance(value, Mapping):
        keys = ", ".join(f"{key!r:.20}" for key in islice(value, 3))
        return f"{text} with the keys {keys}{', ...' if len(value) > 3 else ''}" if value else f"an empty {name}"
    return text
