"""The dataset format of image classification: a zip with ``images.csv`` and the image files that it lists."""

from __future__ import annotations

import csv
import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.zip_files import read_member

IMAGES_CSV = "images.csv"
_MAX_CSV_BYTES = 256 << 20
_FORMATS = ("PNG", "JPEG")


class ImageRow(NamedTuple):
    row_no: int
    """Counted as spreadsheets do: the header is row 1."""
    path: str
    image_class: int


def _rows_of_csv(archive: zipfile.ZipFile) -> Iterator[tuple[int, dict[str, str | None]]]:
    data = read_member(archive, IMAGES_CSV, _MAX_CSV_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InvalidDatasetError(f"{IMAGES_CSV} is no UTF-8 text ({e}).") from e
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        header = [name.strip() for name in reader.fieldnames or []]
        if not {"path", "class"} <= set(header):
            raise InvalidDatasetError(
                f"{IMAGES_CSV}, row 1: the header must be path,class; it is {','.join(header)!r}."
            )
        reader.fieldnames = header
        for row in reader:
            yield reader.line_num, row
    except csv.Error as e:
        raise InvalidDatasetError(f"{IMAGES_CSV}, row {reader.line_num}: {e}.") from e


def read_image_rows(archive: zipfile.ZipFile) -> list[ImageRow]:
    """The rows of ``images.csv`` in their order.

    Raises:
        InvalidDatasetError: when it is missing, empty, has no header ``path,class``, or a row is wrong.
    """
    rows = []
    for row_no, row in _rows_of_csv(archive):
        path, text = (row["path"] or "").strip(), (row["class"] or "").strip()
        if not path:
            raise InvalidDatasetError(f"{IMAGES_CSV}, row {row_no}: the path is empty.")
        try:
            image_class = int(text)
        except ValueError:
            raise InvalidDatasetError(f"{IMAGES_CSV}, row {row_no}: class {text!r} is not an integer.") from None
        if image_class < 0:
            raise InvalidDatasetError(f"{IMAGES_CSV}, row {row_no}: class {image_class} is below 0.")
        rows.append(ImageRow(row_no, path, image_class))
    if not rows:
        raise InvalidDatasetError(f"{IMAGES_CSV} lists no images.")
    return rows


def check_image(data: bytes, origin: str, max_pixels: int) -> tuple[int, int]:
    """The width and height of a png or jpg file, from its header and structure; its pixels are not decoded.

    Raises:
        InvalidDatasetError: when it is no png or jpg, is cut off or damaged, or is too large; begins with ``origin``.
    """
    # Loaded here: only the process that checks an upload pays for it.
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Our own limit decides.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            width, height = image.size
            image.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        # What a cut-off or damaged png raises depends on where it ends.
        raise InvalidDatasetError(f"{origin}is not a readable png or jpg image.") from e
    if width * height > max_pixels:
        raise InvalidDatasetError(f"{origin}has {width} x {height} pixels; at most {max_pixels:,} are taken.")
    if image.format == "JPEG" and b"\xff\xd9" not in data[-4096:]:
        raise InvalidDatasetError(f"{origin}is cut off: the end of the jpg is missing.")
    return width, height
