"""Types of the values that Rafiki carries for others.

What travels as JSON is a ``JsonValue``. A query as ``predict()`` gets it, a prediction as it returns it and the
parameters of a trained model are of the model's own types: ``object``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
    """What JSON holds, as a decoder returns it."""
    Array: TypeAlias = npt.NDArray[np.generic]  # type: ignore[explicit-any]  # in numpy's own alias
    """A numpy array of any shape and type."""
else:
    from typing import Any as JsonValue  # msgspec reads this type's fields, and knows no recursive types.

JsonObject: TypeAlias = dict[str, JsonValue]
"""A JSON object of any form: its fields are its owner's, not Rafiki's."""
