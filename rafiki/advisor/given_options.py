"""Options of what is registered by name, as a job gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from rafiki.errors import InvalidTrainJobError
from rafiki.utils.mismatch import explain_mismatch
from rafiki.utils.nearest import ROUGHLY_ALIKE, did_you_mean

Options = TypeVar("Options", bound=msgspec.Struct)


def read_options(owner: str, kind: type[Options], given: Mapping[str, object]) -> Options:
    """The options as the struct that their owner has for them.

    Args:
        owner: whose they are, for people: ``search scheme 'grid'``.

    Raises:
        InvalidTrainJobError: naming the option that there is none of, or whose value is wrong.
    """
    known = {f.name for f in msgspec.structs.fields(kind)}
    if unknown := sorted(given.keys() - known):
        hint = did_you_mean(unknown[0], known, f"It has {', '.join(sorted(known)) or 'none'}.", ROUGHLY_ALIKE)
        raise InvalidTrainJobError(f"The {owner} has no option {unknown[0]!r}. {hint}")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as e:
        raise InvalidTrainJobError(f"The options of the {owner}: {explain_mismatch(given, kind, e)}.") from e
