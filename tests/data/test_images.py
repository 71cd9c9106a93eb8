"""Images are read as people see them, wherever they are read."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from rafiki.data.images import as_seen
from rafiki.exported import predict as exported
from rafiki.model import utils
from rafiki.tasks.image_files import ImageQueries, read_image_rows
from rafiki.tasks.zip_files import open_dataset_zip
from rafiki_cli.commands.predict import read_image

ROOT = Path(__file__).resolve().parents[2]
SIDE = 8


def seen(data: bytes) -> np.ndarray:
    return np.asarray(as_seen(Image.open(io.BytesIO(data))).convert("RGB"))


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def ramp() -> np.ndarray:
    return np.linspace(0, 65535, SIDE * SIDE).reshape(SIDE, SIDE)


def half_red() -> Image.Image:
    """Red above, blue below."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[: SIDE // 2, :, 0] = 255
    pixels[SIDE // 2 :, :, 2] = 255
    return Image.fromarray(pixels)


def oriented(orientation: int) -> bytes:
    """As a camera that was held otherwise saves what is red above."""
    turn = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    image = half_red() if turn is None else half_red().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, "JPEG", exif=exif, quality=95)


def test_16_bits_become_8() -> None:
    values = ramp().astype(np.uint16)
    found = seen(saved(Image.fromarray(values)))
    np.testing.assert_array_equal(found[:, :, 0], np.rint(values / 257.0))
    assert (found[0, 0, 0], found[-1, -1, 0]) == (0, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright(orientation: int) -> None:
    found = seen(oriented(orientation)).astype(int)
    assert found[0, 0, 0] > 200, "red is above"
    assert found[-1, -1, 2] > 200, "blue is below"


def test_what_is_transparent_is_white() -> None:
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[0, 0] = (255, 0, 0, 255)
    found = seen(saved(Image.fromarray(pixels)))
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[1, 1].tolist() == [255, 255, 255]
    grey = seen(saved(Image.fromarray(pixels).convert("LA")))
    assert grey[1, 1].tolist() == [255, 255, 255]
    palette = half_red().convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    at_bottom = palette.getpixel((0, SIDE - 1))
    assert seen(saved(palette, transparency=at_bottom))[-1, -1].tolist() == [255, 255, 255]
    assert seen(saved(half_red(), transparency=(0, 0, 255)))[-1, -1].tolist() == [255, 255, 255]
    kept = as_seen(Image.fromarray(pixels), keeps_alpha=True)
    assert (kept.mode, kept.getpixel((1, 1))[3]) == ("RGBA", 0)


def test_palettes_bits_and_inks_are_colours() -> None:
    red, blue = [255, 0, 0], [0, 0, 255]
    palette = seen(saved(half_red().convert("P", palette=Image.Palette.ADAPTIVE, colors=2)))
    assert (palette[0, 0].tolist(), palette[-1, -1].tolist()) == (red, blue)
    bits = seen(saved(half_red().convert("1", dither=Image.Dither.NONE)))
    assert set(np.unique(bits)) <= {0, 255}
    inks = seen(saved(half_red().convert("CMYK"), "JPEG", quality=95)).astype(int)
    assert inks[0, 0, 0] > 200
    assert inks[-1, -1, 2] > 200


def test_colours_are_those_of_the_profile() -> None:
    # Of the same numbers, those of a wider space are stronger colours.
    lab = ImageCms.createProfile("LAB")
    grey = Image.new("RGB", (SIDE, SIDE), (200, 100, 100))
    plain = seen(saved(grey))
    named = seen(saved(grey, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()))
    np.testing.assert_array_equal(plain, named)
    # One that does not fit, or is none, changes nothing.
    np.testing.assert_array_equal(seen(saved(grey, icc_profile=ImageCms.ImageCmsProfile(lab).tobytes())), plain)
    np.testing.assert_array_equal(seen(saved(grey, icc_profile=b"none")), plain)


def test_of_several_frames_the_first_counts() -> None:
    frames = [Image.new("RGB", (SIDE, SIDE), color) for color in ("red", "blue")]
    data = saved(frames[0], save_all=True, append_images=frames[1:])
    assert isinstance(Image.open(io.BytesIO(data)), PngImagePlugin.PngImageFile)
    assert seen(data)[0, 0].tolist() == [255, 0, 0]


def test_every_reader_reads_alike(tmp_path: Path) -> None:
    deep, lying = saved(Image.fromarray(ramp().astype(np.uint16))), oriented(6)
    file = tmp_path / "d.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.csv", "path,class\na.png,0\nb.jpg,1\n")
        archive.writestr("a.png", deep)
        archive.writestr("b.jpg", lying)
    with open_dataset_zip(file) as archive:
        queries = list(ImageQueries(file, read_image_rows(archive)))
    trained = [image for image, _ in utils.dataset.load_dataset_of_image_files(str(file))]
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from common import read_images
    finally:
        sys.path.remove(str(ROOT / "examples"))
    scripts, _ = read_images(file)
    for i, (name, data) in enumerate((("a.png", deep), ("b.jpg", lying))):
        (tmp_path / name).write_bytes(data)
        expected = seen(data)
        for found in (queries[i], trained[i], scripts[i], read_image(tmp_path / name)):
            np.testing.assert_array_equal(np.asarray(found), expected)
        np.testing.assert_array_equal(json.loads(exported._read(tmp_path / name)), expected)
