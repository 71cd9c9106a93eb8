"""Harmful and broken uploads: refused with what is wrong in which file and row, and nothing of them stays."""

from __future__ import annotations

import io
import stat
import zipfile

import pytest
from admin_people import Hostile
from image_zip import image_zip, png
from raw_http import check_refusal, unique

IMAGES = "IMAGE_CLASSIFICATION"


def zip_with_link() -> bytes:
    out = io.BytesIO(image_zip())
    with zipfile.ZipFile(out, "a") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return out.getvalue()


def encrypted() -> bytes:
    data = bytearray(image_zip())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


GOOD = image_zip()
WRONG: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "empty"),
    "not a zip": (b"this is no zip" * 99, "no zip file"),
    "a zip that is cut off": (GOOD[: len(GOOD) // 2], "no zip file"),
    "a zip with damaged bytes": (GOOD[:45] + b"\0" * 10 + GOOD[55:], "a.png"),
    "a zip in a password": (encrypted(), "encrypted"),
    "without images.csv": (image_zip(csv=None), "images.csv"),
    "images.csv empty": (image_zip(csv=""), "path,class"),
    "images.csv without rows": (image_zip(csv="path,class\n"), "no images"),
    "images.csv with other columns": (image_zip(csv="file,label\na.png,0\n"), "path,class"),
    "images.csv in no text": (image_zip(csv=b"path,class\na.png,\xff\xfe\n"), "no UTF-8 text"),
    "a class as text": (image_zip(csv="path,class\na.png,cat\n"), "row 2"),
    "a class below 0": (image_zip(csv="path,class\na.png,0\nb.png,-1\n"), "row 3"),
    "classes with a gap": (image_zip(csv="path,class\na.png,0\nb.png,2\n"), "class 1"),
    "a class as fraction": (image_zip(csv="path,class\na.png,0.5\n"), "'0.5'"),
    "an image missing": (image_zip(csv="path,class\na.png,0\nc.png,1\n"), "c.png"),
    "an image broken": (image_zip(files={"b.png": png()[:-20]}), "row 3"),
    "an image of another kind": (image_zip(files={"b.png": b"GIF89a" + b"\0" * 50}), "png or jpg"),
    "an image that is a script": (image_zip(files={"b.png": b"#!/bin/sh\nreboot\n"}), "png or jpg"),
    "a path out of the zip": (image_zip(files={"../../evil.png": png()}), "unsafe path"),
    "an absolute path": (image_zip(files={"/etc/evil.png": png()}), "unsafe path"),
    "a path of Windows": (image_zip(files={"C:\\evil.png": png()}), "unsafe path"),
    "a symbolic link": (zip_with_link(), "symbolic link"),
    "a decompression bomb": (image_zip(files={"bomb.png": b"\0" * (80 << 20)}), "times its size"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_dataset_is_refused_with_what_is_wrong_in_it(hostile: Hostile, what: str) -> None:
    data, words = WRONG[what]
    before = sorted((hostile.stack.root / "datasets").iterdir())
    answer = hostile.me.send(
        "POST", "/datasets", data={"name": unique("bad"), "task": IMAGES}, files={"dataset": ("d.zip", data)}
    )
    assert words in check_refusal(answer, "InvalidDatasetError")
    assert sorted((hostile.stack.root / "datasets").iterdir()) == before, "something of it stays on the disk"


def test_a_good_dataset_passes_the_same_checks(hostile: Hostile) -> None:
    hostile.me.upload_dataset(task=IMAGES, data=GOOD)


@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("POS_TAGGING", image_zip()),
        ("SPEECH_RECOGNITION", image_zip()),
        ("TABULAR_CLASSIFICATION", b"only_one_column\n1\n"),
        ("TABULAR_CLASSIFICATION", b"a,b\n1,2,3\n"),
        ("TABULAR_REGRESSION", b"a,a\n1,2\n"),
        ("TABULAR_REGRESSION", bytes(range(256))),
        ("TABULAR_REGRESSION", b"a,b\n" + b'"' + b"x" * 200_000 + b'",1\n'),
    ],
)
def test_each_task_checks_its_own_format(hostile: Hostile, task: str, data: bytes) -> None:
    answer = hostile.me.send(
        "POST", "/datasets", data={"name": unique("bad"), "task": task}, files={"dataset": ("d", data)}
    )
    check_refusal(answer, "InvalidDatasetError")


def test_a_path_in_the_file_name_of_an_upload_leads_nowhere(hostile: Hostile) -> None:
    files = {"dataset": ("../../../../tmp/evil\\..\\evil.bin", b"x")}
    made = hostile.me.ok("POST", "/datasets", data={"name": unique("data"), "task": "CUSTOM"}, files=files)
    [stored] = (hostile.stack.root / "datasets").glob(f"*.{made['sha256']}")
    assert stored.read_bytes() == b"x"
