"""``utils.dataset``: image datasets and images. Images are uint8 arrays from 0 to 255 unless said otherwise.

Shapes: one image is H x W x C, or H x W in the mode ``L`` (grey); several are N x H x W (x C).
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from rafiki.data.images import as_seen
from rafiki.errors import InvalidDatasetError
from rafiki.tasks.image_files import ImageRow, read_image_rows, why_no_image
from rafiki.tasks.zip_files import open_dataset_zip, read_member

ImageArray: TypeAlias = npt.NDArray[np.uint8]

_MAX_IMAGE_BYTES = 512 << 20
# The common size follows from this many files at most: opening every file of a large dataset twice is slow.
_N_SIZED = 1000


def _open(data: bytes, origin: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as e:
        raise InvalidDatasetError(f"{origin} is not a readable image: {why_no_image(e)}.") from e


def _to_array(image: Image.Image, mode: str, image_size: int | None, origin: str) -> ImageArray:
    try:
        image = as_seen(image, keeps_alpha=mode.endswith("A"))
        if image.mode != mode:
            image = image.convert(mode)
        if image_size is not None and image.size != (image_size, image_size):
            image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.uint8)
    except (OSError, ValueError, SyntaxError) as e:
        raise InvalidDatasetError(f"{origin} cannot be decoded as a {mode} image: {why_no_image(e)}.") from e


class ImageFilesDataset:
    """The images of an IMAGE_CLASSIFICATION dataset, all of one square size; decoded while iterating.

    Iterating gives ``(image, class)``; it may be done again and again, and is faster than asking for one after the
    other by its index.

    Attributes:
        path: where the images are read from.
        classes: k, the number of classes.
        size: the number of images.
        image_size: the side of every image in pixels: the median of the longer sides of the files, within the limits
            that the caller gave.
    """

    def __init__(
        self,
        path: str,
        min_image_size: int | None = None,
        max_image_size: int | None = None,
        mode: str = "RGB",
        if_shuffle: bool = False,
    ) -> None:
        self.path, self._mode = path, mode
        with open_dataset_zip(path) as archive:
            self._rows = read_image_rows(archive)
            side = self._median_side(archive)
        if max_image_size is not None:
            side = min(side, max_image_size)
        if min_image_size is not None:
            side = max(side, min_image_size)
        if if_shuffle:
            random.shuffle(self._rows)
        self.image_size = side
        self.size = len(self._rows)
        self.classes = 1 + max(row.image_class for row in self._rows)

    def _median_side(self, archive: zipfile.ZipFile) -> int:
        step = -(-len(self._rows) // _N_SIZED)
        sides = sorted(max(_open(*self._read(archive, row)).size) for row in self._rows[::step])
        return sides[len(sides) // 2]

    def _read(self, archive: zipfile.ZipFile, row: ImageRow) -> tuple[bytes, str]:
        origin = f"images.csv, row {row.row_no}: "
        return read_member(archive, row.path, _MAX_IMAGE_BYTES, origin), f"{origin}{row.path!r}"

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[tuple[ImageArray, int]]:
        with open_dataset_zip(self.path) as archive:
            for row in self._rows:
                yield self._load(archive, row)

    def __getitem__(self, index: int) -> tuple[ImageArray, int]:
        row = self._rows[index]
        with open_dataset_zip(self.path) as archive:
            return self._load(archive, row)

    def _load(self, archive: zipfile.ZipFile, row: ImageRow) -> tuple[ImageArray, int]:
        data, origin = self._read(archive, row)
        return _to_array(_open(data, origin), self._mode, self.image_size, origin), row.image_class


def load_dataset_of_image_files(
    path: str,
    min_image_size: int | None = None,
    max_image_size: int | None = None,
    mode: str = "RGB",
    if_shuffle: bool = False,
) -> ImageFilesDataset:
    """The dataset at ``path`` in the format of IMAGE_CLASSIFICATION.

    Args:
        path: a zip with ``images.csv`` and png or jpg files.
        min_image_size: the smallest side in pixels that images are brought to.
        max_image_size: the largest side in pixels that images are brought to.
        mode: a mode of Pillow: ``RGB``, ``L`` (grey) ...
        if_shuffle: whether to put the images in a random order, once; ``random.seed`` makes it repeatable.

    Raises:
        InvalidDatasetError: says what is wrong, in which file and row.
    """
    return ImageFilesDataset(str(path), min_image_size, max_image_size, mode, if_shuffle)


def load_images(paths: Iterable[str | Path], mode: str = "RGB") -> ImageArray:
    """The image files at ``paths`` as N x H x W (x C).

    Raises:
        InvalidDatasetError: when a file cannot be read, or the images have several sizes.
    """
    images = []
    for path in paths:
        try:
            data = Path(path).read_bytes()
        except OSError as e:
            raise InvalidDatasetError(f"The image {path} cannot be read: {e.strerror}.") from e
        images.append(_to_array(_open(data, str(path)), mode, None, str(path)))
    sizes = sorted({image.shape[:2] for image in images})
    if len(sizes) > 1:
        raise InvalidDatasetError(
            f"The images have several sizes (H x W): {', '.join(f'{h} x {w}' for h, w in sizes[:4])}. "
            "Load them one by one and bring them to one size with transform_images(images, image_size=...)."
        )
    return np.stack(images) if images else np.empty((0, 0, 0), dtype=np.uint8)


def normalize_images(
    images: npt.ArrayLike, mean: npt.ArrayLike | None = None, std: npt.ArrayLike | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Images from 0 to 255, scaled to 0 to 1, less the mean, over the standard deviation.

    Args:
        images: N x H x W (x C).
        mean: of each channel on the scale 0 to 1; computed from ``images`` when None.
        std: as ``mean``. A channel without any variation is left undivided.

    Returns:
        The images as float32; mean and std (shape C, or a 0-d array for grey images), for other images.
    """
    array = np.asarray(images, dtype=np.float32) / np.float32(255)
    axes = tuple(range(min(array.ndim, 3)))
    mean = np.asarray(array.mean(axis=axes, dtype=np.float64) if mean is None else mean, dtype=np.float32)
    std = np.asarray(array.std(axis=axes, dtype=np.float64) if std is None else std, dtype=np.float32)
    array -= mean
    array /= np.where(std == 0, np.float32(1), std)
    return array, mean, std


def transform_images(
    images: Iterable[npt.ArrayLike], image_size: int | None = None, mode: str | None = None
) -> ImageArray:
    """Images of any sizes and modes, brought to one square size and one mode.

    Args:
        images: arrays or nested lists of H x W (x C), from 0 to 255; fractions are rounded.
        image_size: the side in pixels; None keeps the sizes, which must then be equal.
        mode: a mode of Pillow: ``RGB``, ``L`` (grey) ...; None keeps the modes.

    Raises:
        InvalidDatasetError: when an image is none, or the results differ in shape.
    """
    out = [_transform(image, image_size, mode) for image in images]
    if len({image.shape for image in out}) > 1:
        raise InvalidDatasetError("The images have several sizes or modes; say which with image_size and mode.")
    return np.stack(out) if out else np.empty((0, 0, 0), dtype=np.uint8)


def _transform(image: npt.ArrayLike, image_size: int | None, mode: str | None) -> ImageArray:
    array = np.asarray(image)
    if array.dtype != np.uint8:
        array = np.clip(np.rint(array), 0, 255).astype(np.uint8)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    found = "L" if array.ndim == 2 else {3: "RGB", 4: "RGBA"}.get(array.shape[-1]) if array.ndim == 3 else None
    if found is None or 0 in array.shape:
        raise InvalidDatasetError(f"An array of the shape {array.shape} is no image; it takes H x W or H x W x 3.")
    if mode in (None, found) and image_size in (None, array.shape[0]) and array.shape[0] == array.shape[1]:
        return array
    return _to_array(Image.fromarray(array), mode or found, image_size, "The image")
