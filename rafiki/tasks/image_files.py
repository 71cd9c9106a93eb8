"""The dataset format of image classification: a zip with ``images.csv`` and the image files that it lists."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, overload

from rafiki.data.images import as_seen
from rafiki.errors import InvalidDatasetError
from rafiki.tasks.table_files import iter_rows, place
from rafiki.tasks.zip_files import open_dataset_zip, read_member

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels: TypeAlias = npt.NDArray[np.uint8]

IMAGES_CSV = "images.csv"
_MAX_CSV_BYTES = 256 << 20
_MAX_CLASS = 999_999_999
_FORMATS = ("PNG", "JPEG")
_MAX_IMAGE_BYTES = 512 << 20
_HELD_BYTES = 64 << 20


def why_no_image(error: Exception) -> str:
    """Why an image cannot be opened or decoded, in words of our own: those of the decoder name its own objects."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "it is no image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return "it has too many pixels"
    return "it is cut off" if "truncated" in str(error).lower() else "its data is damaged"


class ImageRow(NamedTuple):
    row_no: int
    """Counted as spreadsheets do: the header is row 1."""
    path: str
    image_class: int


def _read_class(text: str, row_no: int) -> int:
    where = place(IMAGES_CSV, row_no)
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise InvalidDatasetError(f"{where}: class {text[:80]!r} is not an integer.")
    if text.startswith("-"):
        raise InvalidDatasetError(f"{where}: class {text[:20]} is below 0.")
    if len(text) > 20 or int(text) > _MAX_CLASS:
        raise InvalidDatasetError(f"{where}: class {text[:20]} is above {_MAX_CLASS:,}.")
    return int(text)


def read_image_rows(archive: zipfile.ZipFile) -> list[ImageRow]:
    """The rows of ``images.csv`` in their order.

    Raises:
        InvalidDatasetError: when it is missing, empty, has no header ``path,class``, or a row is wrong.
    """
    table = iter_rows(io.BytesIO(read_member(archive, IMAGES_CSV, _MAX_CSV_BYTES)), IMAGES_CSV)
    header = [name.strip() for name in next(table, (1, []))[1]]
    if header.count("path") != 1 or header.count("class") != 1:
        raise InvalidDatasetError(
            f"{place(IMAGES_CSV, 1)}: the header must be path,class; it is {','.join(header)[:200]!r}."
        )
    path_at, class_at = header.index("path"), header.index("class")
    rows = []
    for row_no, row in table:
        if not row:
            continue
        if len(row) != len(header):
            raise InvalidDatasetError(
                f"{place(IMAGES_CSV, row_no)} has {len(row)} values where row 1 names {len(header)} columns."
            )
        path = row[path_at].strip()
        if not path:
            raise InvalidDatasetError(f"{place(IMAGES_CSV, row_no)}: the path is empty.")
        rows.append(ImageRow(row_no, path, _read_class(row[class_at].strip(), row_no)))
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
    except (OSError, ValueError, SyntaxError, IndexError, Image.DecompressionBombError) as e:
        # What a cut-off or damaged png raises depends on where it ends, and what it lacks.
        raise InvalidDatasetError(f"{origin}is not a readable png or jpg image.") from e
    if width * height > max_pixels:
        raise InvalidDatasetError(f"{origin}has {width} x {height} pixels; at most {max_pixels:,} are taken.")
    if image.format == "JPEG" and b"\xff\xd9" not in data[-4096:]:
        raise InvalidDatasetError(f"{origin}is cut off: the end of the jpg is missing.")
    return width, height


class ImageQueries(Sequence["Pixels"]):
    """Images of a dataset as ``predict()`` gets them, W x H x 3 of uint8; decoded when they are asked for.

    The first ones are held, up to 64 MiB of pixels: small images are decoded once.
    """

    def __init__(self, path: Path, rows: Sequence[ImageRow]) -> None:
        self._path, self._rows = path, rows
        self._held: dict[int, Pixels] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pixels]: ...  # type: ignore[explicit-any]
    def __getitem__(self, index: int | slice) -> Pixels | list[Pixels]:  # type: ignore[explicit-any]
        """
        Raises:
            InvalidDatasetError: when an image cannot be decoded.
        """
        if not isinstance(index, slice):
            return self[index : index + 1 or None][0]
        wanted = range(len(self._rows))[index]
        if all(i in self._held for i in wanted):
            return [self._held[i] for i in wanted]
        with open_dataset_zip(self._path) as archive:
            return [self._decode(archive, i) for i in wanted]

    def _decode(self, archive: zipfile.ZipFile, i: int) -> Pixels:
        import numpy as np
        from PIL import Image

        if i in self._held:
            return self._held[i]
        row = self._rows[i]
        origin = f"{place(IMAGES_CSV, row.row_no)}: "
        try:
            image = Image.open(io.BytesIO(read_member(archive, row.path, _MAX_IMAGE_BYTES, origin)))
            pixels = np.array(as_seen(image).convert("RGB"), dtype=np.uint8)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
            raise InvalidDatasetError(f"{origin}{row.path!r} cannot be decoded: {why_no_image(e)}.") from e
        if self._held_bytes + pixels.nbytes <= _HELD_BYTES:
            self._held[i] = pixels
            self._held_bytes += pixels.nbytes
        return pixels
