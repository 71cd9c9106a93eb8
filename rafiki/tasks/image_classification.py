"""IMAGE_CLASSIFICATION: one of k classes for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from rafiki.constants import Task
from rafiki.errors import InvalidDatasetError, InvalidQueryError
from rafiki.tasks.base import TensorForm, decode_json
from rafiki.tasks.image_files import IMAGES_CSV, ImageQueries, ImageRow, check_image, read_image_rows
from rafiki.tasks.probabilities import ProbabilityTask
from rafiki.tasks.validation import ValidationSample, draw_evenly
from rafiki.tasks.zip_files import DEFAULT_LIMITS, ZipLimits, open_dataset_zip, read_member
from rafiki.utils.npy import told_shape
from rafiki.utils.values import JsonObject, JsonValue

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rafiki.utils.values import Array

_TAKES = "An image query is a list of rows of pixels, W x H x 3 (RGB) or W x H (grey), of numbers from 0 to 255"
_MANY_CLASSES = 10_000
_MOST_LISTED = 10
_CHANNEL: JsonObject = {"type": "number", "minimum": 0, "maximum": 255}
_IMAGE: JsonObject = {
    "type": "array", "minItems": 1,
    "items": {
        "type": "array", "minItems": 1,
        "items": {"anyOf": [_CHANNEL, {"type": "array", "minItems": 1, "maxItems": 4, "items": _CHANNEL}]},
    },
}  # fmt: skip
_NOT_STRUCTURE = b"0123456789.-+eE \t\r\n"
_decode_ints = msgspec.json.Decoder(list[int]).decode
_decode_floats = msgspec.json.Decoder(list[float]).decode


def _regular_shape(raw: bytes) -> tuple[int, ...] | None:
    """The shape of a regular nested list of numbers, 2 or 3 deep, from its brackets and commas; None for all else."""
    structure = raw.translate(None, _NOT_STRUCTURE)
    width = structure.find(b"]") - structure.rfind(b"[", 0, structure.find(b"]"))
    inner = b"[" + b"," * (width - 1) + b"]"
    if structure.startswith(b"[[["):
        n_columns = (structure.find(b"]]") + 2) // (len(inner) + 1)
        row = b"[" + b",".join([inner] * n_columns) + b"]"
        n_rows = (len(structure) - 1) // (len(row) + 1)
        shape: tuple[int, ...] = (n_rows, n_columns, width)
    else:
        row = inner
        n_rows = (len(structure) - 1) // (len(row) + 1)
        shape = (n_rows, width)
    is_regular = n_rows > 0 and structure == b"[" + b",".join([row] * n_rows) + b"]"
    return shape if is_regular else None


def _decode_regular(raw: bytes) -> npt.NDArray[np.uint8 | np.float32] | None:
    """The array of a regular nested list of numbers; None when it is not one, or a number is out of range.

    Parsing one flat list and shaping it afterwards takes a third of the time of a nested list's numpy.array().
    """
    import numpy as np

    shape = _regular_shape(raw)
    if shape is None:
        return None
    flat = raw.translate(None, b"[]")
    try:
        if b"." in flat or b"e" in flat or b"E" in flat:
            numbers = _decode_floats(b"[%b]" % flat)
            array = np.fromiter(numbers, np.float32, len(numbers))
            if not (array.min() >= 0 and array.max() <= 255):
                return None
        else:
            array = np.frombuffer(bytearray(_decode_ints(b"[%b]" % flat)), np.uint8)
        return array.reshape(shape)
    except (msgspec.DecodeError, ValueError):
        return None


def _shape_of(value: JsonValue) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _excerpt(value: JsonValue) -> str:
    return msgspec.json.encode(value)[:40].decode(errors="replace")


def _why_invalid(value: JsonValue) -> str:
    """What keeps ``value`` from being an image."""
    if not isinstance(value, list):
        return f"{_excerpt(value)} came"
    shape = _shape_of(value)
    found = " x ".join(map(str, shape))
    if 0 in shape:
        return f"an empty list came (shape {found})"
    if len(shape) not in (2, 3):
        return f"a list of the shape {found} came"
    level: list[JsonValue] = [value]
    for depth, length in enumerate(shape):
        for part in level:
            if not isinstance(part, list) or len(part) != length:
                return f"a ragged list came: it starts as {found}, but not all parts at depth {depth} have that length"
        level = [item for part in level if isinstance(part, list) for item in part]
    for number in level:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            return f"{_excerpt(number)} came where a number belongs (shape {found})"
        if not 0 <= number <= 255:
            return f"the number {number} came (shape {found})"
    return f"a list of the shape {found} came"


def _why_no_image(array: Array) -> str | None:
    """What keeps an array from being an image, in the words of :func:`_why_invalid`; None when only its number of
    channels may."""
    shape = told_shape(array.shape)
    if not array.ndim:
        return f"{_excerpt(array.tolist())} came"
    if 0 in array.shape:
        return f"an empty list came (shape {shape})"
    if array.ndim not in (2, 3):
        return f"a list of the shape {shape} came"
    if array.dtype.kind not in "iuf":
        return f"{_excerpt(array.flat[0].item())} came where a number belongs (shape {shape})"
    if array.min() >= 0 and array.max() <= 255:
        return None
    numbers = cast("npt.NDArray[np.float64]", array.ravel())
    return f"the number {numbers[~((numbers >= 0) & (numbers <= 255))][0]} came (shape {shape})"


def _with_three_channels(
    image: npt.NDArray[np.uint8 | np.float32],
) -> npt.NDArray[np.uint8 | np.float32] | None:
    """A grey image repeated, an alpha channel dropped; None for any other number of channels."""
    import numpy as np

    if image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)
    match image.shape[2]:
        case 3:
            return image
        case 1:
            return np.repeat(image, 3, axis=2)
        case 4:
            return np.ascontiguousarray(image[:, :, :3])
    return None


def _refuse_ids(rows: Sequence[ImageRow]) -> None:
    """Refuse numbers that name things rather than classes: a probability is given for each number below the highest.

    Raises:
        InvalidDatasetError: nearly all classes below the highest are missing, and they are many.
    """
    highest, n_found = max(row.image_class for row in rows), len({row.image_class for row in rows})
    if highest >= _MANY_CLASSES and n_found < (highest + 1) / 10:
        raise InvalidDatasetError(
            f"{IMAGES_CSV}: class {highest} occurs, but only {n_found:,} of the classes up to it do. Number the "
            "classes from 0 to k-1."
        )


def _listed(numbers: Sequence[int]) -> str:
    """The first of them, for people."""
    more = len(numbers) - _MOST_LISTED
    return ", ".join(map(str, numbers[:_MOST_LISTED])) + (f" and {more:,} more" if more > 0 else "")


class ImageClassificationTask(ProbabilityTask):
    """Datasets: zip with ``images.csv`` and png/jpg files. Predictions: k probabilities; the ensemble: their mean."""

    name = Task.IMAGE_CLASSIFICATION
    about_queries = (
        "A query is an image: nested lists of RGB values, rows first. A prediction is one probability a class."
    )
    query_tensor = TensorForm("image", "UINT8", (-1, -1, -1, 3))
    query_file = "image.png"
    example_query = (((255, 0, 0), (0, 255, 0)), ((0, 0, 255), (9, 9, 9)))
    query_schema = _IMAGE

    def validate_dataset(self, path: Path, limits: ZipLimits = DEFAULT_LIMITS, max_pixels: int = 64_000_000) -> None:
        """Checks every row and the header and structure of every listed file; pixels are not decoded.

        Raises:
            InvalidDatasetError: says what is wrong, in which file and row.
        """
        with open_dataset_zip(path, limits) as archive:
            rows = read_image_rows(archive)
            _refuse_ids(rows)
            # A file may be listed many times; it is read once.
            for row in {row.path: row for row in reversed(rows)}.values():
                origin = f"{IMAGES_CSV}, row {row.row_no}: "
                data = read_member(archive, row.path, max_bytes=8 * max_pixels, origin=origin)
                check_image(data, f"{origin}{row.path!r} ", max_pixels)

    def find_oddities(self, path: Path) -> list[str]:
        """Classes below the highest that have no image, as in a part of a larger dataset."""
        with open_dataset_zip(path) as archive:
            rows = read_image_rows(archive)
        found = {row.image_class for row in rows}
        missing = [c for c in range(max(found)) if c not in found]
        if not missing:
            return []
        return [
            f"{IMAGES_CSV}: no image is of the class{'es' if len(missing) > 1 else ''} {_listed(missing)}. Classes are "
            f"0 to {max(found)}, so models give {max(found) + 1} probabilities."
        ]

    def decode_query(self, raw: bytes) -> npt.NDArray[np.uint8 | np.float32]:
        """The image as an array of W x H x 3 from 0 to 255: uint8 when all numbers are integers, else float32.

        A grey image (W x H, or W x H x 1) is repeated to three channels; an alpha channel is dropped.

        Raises:
            InvalidQueryError: when it is ragged, empty, no numbers, out of range, or of another shape.
        """
        image = _decode_regular(raw)
        if image is not None and (found := _with_three_channels(image)) is not None:
            return found
        raise InvalidQueryError(f"{_TAKES}; {_why_invalid(decode_json(raw))}.")

    def decode_array(self, array: Array) -> npt.NDArray[np.uint8 | np.float32]:
        """As :meth:`decode_query`: uint8 of any integers, float32 of any floats."""
        import numpy as np

        if reason := _why_no_image(array):
            raise InvalidQueryError(f"{_TAKES}; {reason}.")
        # A copy, in rows: models may write into what they are given.
        image: npt.NDArray[np.uint8 | np.float32] = np.array(
            array, np.float32 if array.dtype.kind == "f" else np.uint8, order="C"
        )
        if (found := _with_three_channels(image)) is None:
            raise InvalidQueryError(f"{_TAKES}; a list of the shape {told_shape(array.shape)} came.")
        return found

    def read_validation(
        self, val_path: Path, train_path: Path, train_args: Mapping[str, JsonValue], max_examples: int
    ) -> ValidationSample:
        """Labels are classes of the training dataset: one that is above all of those is none, and nobody's to know."""
        with open_dataset_zip(train_path) as archive:
            highest = max(row.image_class for row in read_image_rows(archive))
        with open_dataset_zip(val_path) as archive:
            rows = draw_evenly(read_image_rows(archive), max_examples)
        labels = [row.image_class if row.image_class <= highest else -1 for row in rows]
        return ValidationSample(ImageQueries(val_path, rows), labels)
