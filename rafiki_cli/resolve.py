"""What people write for a dataset or a model: its id, its name, or the beginning of its id."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rafiki.errors import InvalidDatasetError, InvalidModelError, RafikiError

if TYPE_CHECKING:
    from rafiki.client import Client

Json = dict[str, Any]
_MIN_PREFIX = 4


def choose(rows: Sequence[Json], wanted: str, what: str, error: type[RafikiError]) -> Json:
    """The row that ``wanted`` means; of several with the same name the first (``rows`` come newest first).

    Raises:
        RafikiError: of the class ``error``, when no row fits, or the beginning of an id fits several.
    """
    for row in rows:
        if row["id"] == wanted:
            return row
    for row in rows:
        if row["name"] == wanted:
            return row
    if len(wanted) >= _MIN_PREFIX:
        found = [row for row in rows if row["id"].startswith(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise error(f"{wanted!r} begins the ids of {len(found)} {what}s. Write more of the id.")
    names = list(dict.fromkeys(row["name"] for row in rows))
    close = difflib.get_close_matches(wanted, names, n=1)
    if close:
        hint = f"Did you mean {close[0]!r}?"
    elif names:
        hint = f"There are: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}."
    else:
        hint = f"Upload one with `rafiki {what} upload`."
    raise error(f"There is no {what} {wanted!r} that you can use. {hint}")


def dataset(client: Client, wanted: str) -> Json:
    """One of your datasets."""
    return choose(client.get_datasets(), wanted, "dataset", InvalidDatasetError)


def model(client: Client, wanted: str, task: str | None = None) -> Json:
    """A model that you can use; your own go before public ones of the same name."""
    me = client.get_current_user()["id"]
    rows = sorted(client.get_available_models(task), key=lambda row: row["user_id"] != me)
    return choose(rows, wanted, "model", InvalidModelError)
