"""Types of the values that Rafiki carries for others: JSON of any form, and the parameters of a trained model.

A query as ``predict()`` gets it, and a prediction as it returns it, are of the model's own types: ``object`` here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
    """What JSON holds, as a decoder returns it."""
    Array: TypeAlias = npt.NDArray[np.generic]
    """A numpy array of any shape and type."""
    ParamValue: TypeAlias = bool | int | float | str | np.generic | Array
    """One named part of a model's trained state; a numpy scalar is kept as a plain number."""
else:
    from typing import Any as JsonValue  # msgspec reads this type's fields, and knows no recursive types.

JsonObject: TypeAlias = dict[str, JsonValue]
"""A JSON object of any form: its fields are its owner's, not Rafiki's."""
