"""The loaders of examples/datasets: public formats in, datasets of Rafiki out."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.data.dataset_loaders import LOADERS, load, refuse, table, write
from support.data.task_files import make_zip

from rafiki.model import utils

NAMES = sorted(path.stem for path in LOADERS.glob("[a-z]*.py"))


def picture(value: int, image_format: str = "PNG", size: int = 4) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), (value, value, value)).save(out, image_format)
    return out.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_a_loader_tells_how_it_is_used(name: str) -> None:
    done = subprocess.run([sys.executable, LOADERS / f"{name}.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--out" in done.stdout
    assert f"{name}.py" in done.stdout


def test_a_loader_run_as_a_program_names_its_files_or_what_is_wrong(tmp_path: Path) -> None:
    source = write(tmp_path, {"a.csv": b"x,y\n" + b"1,2\n" * 10})
    command = [sys.executable, LOADERS / "csv_split.py", source / "a.csv", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert [Path(line).name for line in done.stdout.split()] == ["a_train.csv", "a_val.csv", "a_test.csv"]
    assert "rows" in done.stderr
    done = subprocess.run([*command, "--stratify", "z"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "no column 'z'" in done.stderr


# Images


def flowers(n: int = 10) -> dict[str, bytes]:
    kinds = {"rose": (0, "PNG"), "aster": (90, "JPEG"), "lily": (200, "BMP")}
    return {
        f"{name}/{i}.{kind.lower()}": picture(value + i, kind)
        for name, (value, kind) in kinds.items()
        for i in range(n)
    }


@pytest.mark.parametrize("is_zip", [False, True])
def test_folders_of_images_become_numbered_classes(tmp_path: Path, is_zip: bool) -> None:
    files = {f"flowers/{name}": data for name, data in flowers().items()}
    source = make_zip(tmp_path / "in.zip", files) if is_zip else write(tmp_path / "in", files)
    paths = load("image_folders", tmp_path / "out", source, "--split", "60,20,20", task="IMAGE_CLASSIFICATION")
    for path, n in zip(paths, (6, 2, 2), strict=True):
        assert Counter(row["class"] for row in table(path, "images.csv")) == {"0": n, "1": n, "2": n}
        assert [row["name"] for row in table(path, "classes.csv")] == ["aster", "lily", "rose"]
        for image, image_class in utils.dataset.load_dataset_of_image_files(str(path)):
            assert image.mean() == pytest.approx((95, 205, 5)[image_class], abs=8)


def test_folders_that_are_split_already_stay_so(tmp_path: Path) -> None:
    files = {f"{part}/{name}": data for part in ("train", "valid") for name, data in flowers(2).items()}
    paths = load("image_folders", tmp_path / "out", write(tmp_path / "in", files), task="IMAGE_CLASSIFICATION")
    assert [path.name for path in paths] == ["images_train.zip", "images_val.zip"]
    assert [len(table(path, "images.csv")) for path in paths] == [6, 6]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    source = write(tmp_path / "in", flowers())
    contents = [
        load("image_folders", tmp_path / out, source, "--seed", seed, task="IMAGE_CLASSIFICATION")[0].read_bytes()
        for out, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert contents[0] == contents[1] != contents[2]


def test_images_are_brought_to_one_size(tmp_path: Path) -> None:
    source = write(tmp_path / "in", flowers(3))
    path = load("image_folders", tmp_path / "out", source, "--size", 7, task="IMAGE_CLASSIFICATION")[0]
    assert utils.dataset.load_dataset_of_image_files(str(path)).image_size == 7


def test_a_damaged_image_is_named_or_left_out(tmp_path: Path) -> None:
    source = write(tmp_path / "in", flowers() | {"rose/broken.png": picture(1)[:40]})
    assert "rose/broken.png is not a readable image" in refuse("image_folders", tmp_path / "out", source)
    paths = load("image_folders", tmp_path / "out", source, "--skip-damaged", task="IMAGE_CLASSIFICATION")
    assert sum(len(table(path, "images.csv")) for path in paths) == 30


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    source = write(tmp_path / "in", flowers())
    (tmp_path / "secret.png").write_bytes(picture(1))
    (source / "rose" / "link.png").symlink_to(tmp_path / "secret.png")
    paths = load("image_folders", tmp_path / "out", source, task="IMAGE_CLASSIFICATION")
    assert sum(len(table(path, "images.csv")) for path in paths) == 30


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"a/1.txt": b"x"}, "no images"),
        ({"a/1.png": picture(1), "2.png": picture(2)}, "2.png lies in no class's folder"),
        (
            {"a/1.png": picture(1), "b/1.png": picture(1), "b/2.png": picture(1), "b/3.png": picture(1)},
            "'a' has 1 item",
        ),
    ],
)
def test_folders_of_images_that_make_no_dataset_are_refused(tmp_path: Path, files: dict[str, bytes], why: str) -> None:
    assert why in refuse("image_folders", tmp_path / "out", write(tmp_path / "in", files))


@pytest.mark.parametrize("name", ["absent", "a.tar.gz"])
def test_what_is_neither_folder_nor_zip_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b")
    assert name in refuse("image_folders", tmp_path / "out", tmp_path / name)


def idx(values: Any, kind: int = 8) -> bytes:
    array = np.asarray(values, np.uint8)
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IDX_IMAGES = np.arange(20 * 3 * 5).reshape(20, 3, 5) % 256
IDX_LABELS = [3, 7] * 10


@pytest.mark.parametrize("is_packed", [False, True])
def test_idx_files_become_images_with_classes_from_0(tmp_path: Path, is_packed: bool) -> None:
    pack = gzip.compress if is_packed else bytes
    source = write(tmp_path, {"images": pack(idx(IDX_IMAGES)), "labels": pack(idx(IDX_LABELS))})
    out = tmp_path / "out"
    paths = load("idx", out, source / "images", source / "labels", "--split", "70,30,0", task="IMAGE_CLASSIFICATION")
    seen = {}
    for path in paths:
        assert [row["name"] for row in table(path, "classes.csv")] == ["3", "7"]
        with zipfile.ZipFile(path) as archive:
            for row in table(path, "images.csv"):
                number = int(Path(row["path"]).stem)
                seen[number] = int(row["class"])
                image = np.asarray(Image.open(io.BytesIO(archive.read(row["path"]))))
                np.testing.assert_array_equal(image, IDX_IMAGES[number])
    assert seen == {i: i % 2 for i in range(20)}


@pytest.mark.parametrize(
    ("images", "labels", "why"),
    [
        (idx(IDX_IMAGES)[:-1], idx(IDX_LABELS), "images is cut off"),
        (gzip.compress(idx(IDX_IMAGES))[:-20], idx(IDX_LABELS), "images is damaged"),
        (idx(IDX_IMAGES), idx(IDX_LABELS)[:-1], "labels is cut off"),
        (idx(IDX_IMAGES[:19]), idx(IDX_LABELS), "no pair"),
        (idx(IDX_IMAGES, kind=13), idx(IDX_LABELS), "type 0x0d"),
        (b"\x89PNG....", idx(IDX_LABELS), "no IDX file"),
        (idx(IDX_LABELS), idx(IDX_LABELS), "shape (20,)"),
        (idx(IDX_IMAGES), idx(IDX_IMAGES), "labels have one dimension"),
        (b"", idx(IDX_LABELS), "images is cut off"),
    ],
)
def test_idx_files_that_are_damaged_or_no_pair_are_refused(
    tmp_path: Path, images: bytes, labels: bytes, why: str
) -> None:
    source = write(tmp_path, {"images": images, "labels": labels})
    assert why in refuse("idx", tmp_path / "out", source / "images", source / "labels")


def cifar10(n: int = 30) -> dict[str, bytes]:
    record = b"".join(bytes([i % 10]) + bytes([i]) * 1024 + bytes([1]) * 1024 + bytes([2]) * 1024 for i in range(n))
    return {"data_batch_1.bin": record, "data_batch_2.bin": record, "test_batch.bin": record}


def test_cifar_10_is_read_from_its_binary_version(tmp_path: Path) -> None:
    names = [f"kind{i}" for i in range(10)]
    source = write(tmp_path / "in", cifar10() | {"batches.meta.txt": "\n".join(names).encode()})
    paths = load("cifar", tmp_path / "out", source, "--val-share", 0.2, task="IMAGE_CLASSIFICATION")
    assert [len(table(path, "images.csv")) for path in paths] == [50, 10, 30]
    assert [row["name"] for row in table(paths[0], "classes.csv")] == names
    for image, image_class in utils.dataset.load_dataset_of_image_files(str(paths[2])):
        red, green, blue = image[0, 0].tolist()
        assert (red % 10, green, blue) == (image_class, 1, 2)
        assert image.shape == (32, 32, 3)


@pytest.mark.parametrize(("labels", "n_classes"), [("fine", 100), ("coarse", 20)])
def test_cifar_100_has_fine_and_coarse_labels(tmp_path: Path, labels: str, n_classes: int) -> None:
    record = b"".join(bytes([i // 5, i]) + bytes(3072) for i in range(100))
    source = write(tmp_path / "in", {"train.bin": record * 2, "test.bin": record})
    paths = load("cifar", tmp_path / "out", source, "--labels", labels, task="IMAGE_CLASSIFICATION")
    assert {int(row["class"]) for row in table(paths[2], "images.csv")} == set(range(n_classes))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"data_batch_1": b"\x80\x02}q\x00.", "batches.meta": b""}, "pickle"),
        ({"train": b"\x80\x02}q\x00.", "meta": b""}, "pickle"),
        ({"readme": b""}, "neither"),
        (cifar10() | {"data_batch_2.bin": bytes(3072)}, "data_batch_2.bin has 3,072 bytes"),
        (cifar10() | {"test_batch.bin": bytes([10]) + bytes(3072)}, "record 1: there is no class 10"),
        ({"data_batch_1.bin": bytes(3073)}, "test_batch.bin"),
    ],
)
def test_a_folder_that_is_no_binary_cifar_is_refused(tmp_path: Path, files: dict[str, bytes], why: str) -> None:
    assert why in refuse("cifar", tmp_path / "out", write(tmp_path / "in", files))
