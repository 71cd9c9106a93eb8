import io
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.image_classification import ImageClassificationTask
from rafiki.tasks.zip_files import ZipLimits

TASK = ImageClassificationTask()


def image_bytes(format: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 50).save(out, format=format)
    return out.getvalue()


PNG, JPG = image_bytes(), image_bytes("JPEG")
TWO = "path,class\na.png,0\nb.jpg,1\n"


def make_zip(folder: Path, files: Mapping[str | zipfile.ZipInfo, bytes | str]) -> Path:
    path = folder / "dataset.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "table",
    [
        TWO,
        "class,path\n0,a.png\n1,b.jpg\n",
        "\ufeffpath,class,note\r\na.png,0,x\r\n\r\nb.jpg, 1,y\r\n",
        TWO + "a.png,1\n",
    ],
    ids=["plain", "other order", "BOM, CRLF, blank line, spare column", "twice"],
)
def test_a_good_dataset_is_taken(tmp_path: Path, table: str) -> None:
    TASK.validate_dataset(make_zip(tmp_path, {"images.csv": table, "a.png": PNG, "b.jpg": JPG, "readme": "x"}))


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("", "row 1: the header must be path,class"),
        ("file,label\na.png,0\n", "row 1: the header must be path,class; it is 'file,label'"),
        ("path,class\n", "lists no images"),
        ("path,class\na.png,0\nb.jpg,x\n", "row 3: class 'x' is not an integer"),
        ("path,class\na.png,0\nb.jpg\n", "row 3 has 1 values where row 1 names 2 columns"),
        ("path,class\na.png,0.5\n", "row 2: class '0.5' is not an integer"),
        ("path,class\na.png,-1\n", "row 2: class -1 is below 0"),
        ("path,class\n,0\n", "row 2: the path is empty"),
        ("path,class\na.png,0\nc.png,1\n", "row 3: there is no file 'c.png'"),
        ("path,class\na.png,0\n../b.jpg,1\n", "row 3: there is no file"),
        ("path,class\na.png,0\nb.jpg,2019001\n", "class 2019001 occurs, but only 2 of the classes up to it do"),
        ("path,class\na.png,0\nb.jpg,1000000000\n", "row 3: class 1000000000 is above 999,999,999"),
        (b"path,class\n\xff.png,0\n", "no UTF-8"),
    ],
)
def test_a_wrong_table_is_refused_with_its_row(tmp_path: Path, table: str | bytes, why: str) -> None:
    with pytest.raises(InvalidDatasetError, match=why):
        TASK.validate_dataset(make_zip(tmp_path, {"images.csv": table, "a.png": PNG, "b.jpg": JPG}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        PNG[:40],
        PNG[:-20],
        PNG[:60] + b"\0" + PNG[61:],
        JPG[:50],
        JPG[:-60],
        image_bytes("GIF"),
        image_bytes("BMP"),
    ],
    ids=["empty", "text", "png header", "png cut off", "png damaged", "jpg header", "jpg cut off", "gif", "bmp"],
)
def test_a_file_that_is_no_readable_png_or_jpg_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidDatasetError, match=r"images.csv, row 3: 'b.jpg' is "):
        TASK.validate_dataset(make_zip(tmp_path, {"images.csv": TWO, "a.png": PNG, "b.jpg": data}))


def test_an_image_that_claims_too_many_pixels_is_refused(tmp_path: Path) -> None:
    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = PNG[:12] + header + struct.pack(">I", zlib.crc32(header)) + PNG[33:]
    with pytest.raises(InvalidDatasetError, match="row 2"):
        TASK.validate_dataset(make_zip(tmp_path, {"images.csv": "path,class\na.png,0\n", "a.png": bomb}))
    with pytest.raises(InvalidDatasetError, match="8 x 8 pixels; at most 63"):
        TASK.validate_dataset(make_zip(tmp_path, {"images.csv": "path,class\na.png,0\n", "a.png": PNG}), max_pixels=63)


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png"])
def test_a_zip_with_an_unsafe_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidDatasetError, match="unsafe path"):
        TASK.validate_dataset(make_zip(tmp_path, {"images.csv": TWO, "a.png": PNG, "b.jpg": JPG, name: PNG}))


def test_a_zip_with_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(InvalidDatasetError, match="symbolic link"):
        TASK.validate_dataset(make_zip(tmp_path, {"images.csv": TWO, link: "/etc/passwd", "b.jpg": JPG}))


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (ZipLimits(max_entries=2), "4 entries; at most 2"),
        (ZipLimits(max_total_bytes=50_000), "unpacks to 10.,... bytes; at most 50,000"),
        (ZipLimits(max_ratio=10, ratio_free_bytes=0), "times its size; at most 10 times"),
    ],
)
def test_a_decompression_bomb_is_refused(tmp_path: Path, limits: ZipLimits, why: str) -> None:
    path = make_zip(tmp_path, {"images.csv": TWO, "a.png": PNG, "b.jpg": JPG, "zeros": bytes(100_000)})
    TASK.validate_dataset(path)
    with pytest.raises(InvalidDatasetError, match=why):
        TASK.validate_dataset(path, limits=limits)


def test_a_file_that_is_no_zip_and_a_zip_without_a_table_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.zip"
    for data in (b"", b"path,class\n"):
        path.write_bytes(data)
        with pytest.raises(InvalidDatasetError, match="no zip file"):
            TASK.validate_dataset(path)
    with pytest.raises(InvalidDatasetError, match=r"there is no file 'images\.csv'"):
        TASK.validate_dataset(make_zip(tmp_path, {"a.png": PNG}))


def test_a_zip_whose_bytes_were_changed_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path, {"images.csv": TWO, "a.png": PNG, "b.jpg": JPG})
    data = bytearray(path.read_bytes())
    data[data.index(b"a.png") + 40] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InvalidDatasetError, match=r"'a\.png' in the zip is damaged"):
        TASK.validate_dataset(path)


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ((0, 1), []),
        ((0, 0), []),
        (
            (0, 2),
            ["images.csv: no image is of the class 1. Classes are 0 to 2, so models give 3 probabilities."],
        ),
        (
            (1, 13),
            [
                "images.csv: no image is of the classes 0, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more. Classes are 0 to 13, "
                "so models give 14 probabilities."
            ],
        ),
    ],
)
def test_a_part_that_lacks_classes_is_taken_and_they_are_named(
    tmp_path: Path, classes: tuple[int, int], told: list[str]
) -> None:
    table = f"path,class\na.png,{classes[0]}\nb.jpg,{classes[1]}\n"
    path = make_zip(tmp_path, {"images.csv": table, "a.png": PNG, "b.jpg": JPG})
    TASK.validate_dataset(path)
    assert TASK.find_oddities(path) == told


def test_a_label_that_training_did_not_have_is_none_of_the_classes(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    train = make_zip(tmp_path / "train", {"images.csv": "path,class\na.png,0\na.png,3\n", "a.png": PNG})
    val = make_zip(tmp_path, {"images.csv": "path,class\na.png,2\na.png,3\na.png,4\n", "a.png": PNG})
    assert TASK.read_validation(val, train, {}, 10).labels == [2, 3, -1]


@pytest.mark.parametrize(("entry", "listed"), [("./a.png", "a.png"), ("a.png", "./a.png"), ("x/a.png", "x//a.png")])
def test_steps_that_lead_nowhere_change_no_path(tmp_path: Path, entry: str, listed: str) -> None:
    table = f"path,class\n{listed},0\n"
    TASK.validate_dataset(make_zip(tmp_path, {"./images.csv": table, entry: PNG, "__MACOSX/._a.png": b"x", "x/": b""}))


def test_a_folder_that_was_packed_instead_of_what_is_in_it_is_named(tmp_path: Path) -> None:
    path = make_zip(tmp_path, {"data/images.csv": "path,class\na.png,0\n", "data/a.png": PNG})
    with pytest.raises(InvalidDatasetError, match=r"There is 'data/images\.csv': put what is in that folder"):
        TASK.validate_dataset(path)
