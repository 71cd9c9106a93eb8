"""Makes datasets for IMAGE_CLASSIFICATION of a folder (or zip) with one folder of images for each class.

    python image_folders.py flowers/ --name flowers --out data/

Either `flowers/<class>/*.jpg`, which is split, or `flowers/train/<class>/*.jpg` with `val` and `test` beside `train`,
which is kept as it is. Classes are numbered in the order of their names; `classes.csv` in each zip tells which is
which. Png and jpg files are taken as they are; other formats become png files.
"""

from __future__ import annotations

import io
import random
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from _common import (
    PARTS,
    Source,
    make_parser,
    names_table,
    open_parts,
    open_source,
    run,
    split_by_class,
    track,
    zip_path,
)
from PIL import Image, UnidentifiedImageError

from rafiki.data.images import as_seen
from rafiki.errors import InvalidDatasetError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_PART_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def _find(source: Source) -> list[tuple[str, str, str]]:
    """``(path, class, part)`` of each image; the part is empty where the folders tell none."""
    names = source.names(SUFFIXES)
    paths = [name.split("/") for name in names]
    if not paths:
        raise InvalidDatasetError(f"There are no images ({', '.join(SUFFIXES)}).")
    # A folder around everything, as zips often have, tells nothing.
    while len({path[0] for path in paths}) == 1 and all(len(path) > 2 for path in paths):
        if paths[0][0].lower() in _PART_NAMES:
            break
        paths = [path[1:] for path in paths]
    has_parts = all(path[0].lower() in _PART_NAMES and len(path) > 2 for path in paths)
    found = []
    for full, path in zip(names, paths, strict=True):
        if len(path) < 2:
            raise InvalidDatasetError(f"{full} lies in no class's folder; put it into one, or move it away.")
        found.append((full, path[1], _PART_NAMES[path[0].lower()]) if has_parts else (full, path[0], ""))
    return found


def _as_png_or_jpg(data: bytes, name: str, size: int | None) -> tuple[bytes, str]:
    """The bytes of a png or jpg file, and its suffix."""
    try:
        with warnings.catch_warnings():
            # What Pillow warns of, a picture of very many pixels, may become a memory full of them.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(data))
            is_kept = image.format in ("PNG", "JPEG") and size is None
            image.load()
    except (
        UnidentifiedImageError, OSError, ValueError, SyntaxError,
        Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as e:  # fmt: skip
        raise InvalidDatasetError(f"{name} is not a readable image ({e}); --skip-damaged leaves such out.") from e
    if is_kept:
        return data, ".png" if image.format == "PNG" else ".jpg"
    image = as_seen(image)
    if size is not None:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue(), ".png"


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Writes the zips; returns their paths.

    Raises:
        InvalidDatasetError: says which file or class is wrong.
    """
    parser = make_parser(__doc__ or "", default_name="images")
    parser.add_argument("source", type=Path, help="a folder or a zip")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="bring every image to this width and height")
    parser.add_argument("--skip-damaged", action="store_true", help="leave unreadable images out instead of ending")
    args = parser.parse_args(argv)

    with open_source(args.source) as source:
        items = _find(source)
        # Else the first batches of a model that does not shuffle would be of one class.
        random.Random(args.seed).shuffle(items)
        if items[0][2]:
            assigned = [part for _, _, part in items]
        else:
            assigned = split_by_class([image_class for _, image_class, _ in items], args.split, args.seed)
        classes = sorted({image_class for _, image_class, _ in items})
        parts = [part for part in PARTS if part in assigned]
        n_skipped = 0
        written: set[tuple[str, str]] = set()
        with open_parts(args.out, args.name, parts, "images.csv", ["path", "class"]) as writers:
            steps = track(enumerate(zip(items, assigned, strict=True)), len(items), "images", args.quiet)
            for i, ((path, image_class, _), part) in steps:
                try:
                    data, suffix = _as_png_or_jpg(source.read(path), path, args.size)
                except InvalidDatasetError:
                    if not args.skip_damaged:
                        raise
                    n_skipped += 1
                    continue
                name = f"images/{i:07}{suffix}"
                writers[part].add_file(name, data)
                writers[part].add_row(name, classes.index(image_class))
                written.add((part, image_class))
            for part, writer in writers.items():
                if missing := [name for name in classes if (part, name) not in written]:
                    raise InvalidDatasetError(f"The part {part} has no readable image of the class {missing[0]!r}.")
                writer.add_file("classes.csv", names_table(["class", "name"], classes))
    if n_skipped:
        print(f"left out {n_skipped} damaged image(s)", file=sys.stderr)
    return [zip_path(args.out, args.name, part) for part in parts]


if __name__ == "__main__":
    run(main)
