import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rafiki.errors import InvalidDatasetError
from rafiki.model import utils

SIZES = [(4, 4), (6, 10), (10, 6), (20, 20)]


def png(size: tuple[int, int], grey: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(out, format="PNG")
    return out.getvalue()


@pytest.fixture
def dataset_path(tmp_path: Path) -> str:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        rows = [f"{i}.png,{i % 3}" for i in range(len(SIZES))]
        archive.writestr("images.csv", "path,class\n" + "\n".join(rows))
        for i, size in enumerate(SIZES):
            archive.writestr(f"{i}.png", png(size, 10 * i))
    return str(path)


def test_images_come_with_their_classes_in_one_size_again_and_again(dataset_path: str) -> None:
    dataset = utils.dataset.load_dataset_of_image_files(dataset_path)
    assert (len(dataset), dataset.size, dataset.classes, dataset.image_size) == (4, 4, 3, 10)
    for _ in range(2):
        images, classes = zip(*dataset, strict=True)
        assert classes == (0, 1, 2, 0)
        assert np.stack(images).shape == (4, 10, 10, 3)
        assert [int(image.mean()) for image in images] == [0, 10, 20, 30]


@pytest.mark.parametrize(("low", "high", "size"), [(None, 8, 8), (12, None, 12), (1, 100, 10), (5, 5, 5)])
def test_the_size_stays_within_the_limits(dataset_path: str, low: int | None, high: int | None, size: int) -> None:
    dataset = utils.dataset.load_dataset_of_image_files(dataset_path, low, high, mode="L")
    assert dataset.image_size == size
    assert {image.shape for image, _ in dataset} == {(size, size)}


def test_shuffling_keeps_each_image_with_its_class(dataset_path: str) -> None:
    shuffled = utils.dataset.load_dataset_of_image_files(dataset_path, if_shuffle=True)
    assert sorted((int(image.mean()), c) for image, c in shuffled) == [(0, 0), (10, 1), (20, 2), (30, 0)]


def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.csv", "path,class\na.png,0\n")
        archive.writestr("a.png", np.random.default_rng(0).bytes(200))
    with pytest.raises(InvalidDatasetError, match=r"row 2: 'a\.png'"):
        utils.dataset.load_dataset_of_image_files(str(path))


def test_image_files_are_loaded_as_one_array(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, size in zip(paths, [(4, 2), (4, 2), (5, 5)], strict=True):
        path.write_bytes(png(size, 7))
    assert utils.dataset.load_images(paths[:2]).shape == (2, 2, 4, 3)
    assert utils.dataset.load_images(paths[:1], mode="L").tolist() == [[[7] * 4] * 2]
    with pytest.raises(InvalidDatasetError, match="2 x 4, 5 x 5"):
        utils.dataset.load_images(paths)
    with pytest.raises(InvalidDatasetError, match="cannot be read"):
        utils.dataset.load_images([tmp_path / "gone.png"])


def test_normalized_images_have_mean_0_and_deviation_1_and_others_follow_them() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3)).astype(np.uint8)
    images[..., 2] = 100
    normal, mean, std = utils.dataset.normalize_images(images)
    assert mean.shape == std.shape == (3,)
    np.testing.assert_allclose(normal.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=(0, 1, 2)), [1, 1, 0], atol=1e-5)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)) / 255, rtol=1e-5)
    again, _, _ = utils.dataset.normalize_images(images[:5], mean, std)
    np.testing.assert_array_equal(again, normal[:5])


@pytest.mark.parametrize(
    ("image", "mode", "shape"),
    [
        (np.zeros((8, 8, 3)), None, (6, 6, 3)),
        (np.zeros((8, 8, 3)), "L", (6, 6)),
        (np.zeros((5, 9)), "RGB", (6, 6, 3)),
        (np.zeros((6, 6)), None, (6, 6)),
        (np.zeros((4, 4, 1)), None, (6, 6)),
        (np.zeros((4, 4, 4)), "RGB", (6, 6, 3)),
        ([[[1, 2, 3]]], "L", (6, 6)),
    ],
)
def test_images_of_any_form_are_brought_to_one(image: object, mode: str | None, shape: tuple[int, ...]) -> None:
    out = utils.dataset.transform_images([image, image], image_size=6, mode=mode)
    assert out.shape == (2, *shape)
    assert out.dtype == np.uint8


def test_a_grey_image_survives_rgb_and_back_and_fractions_are_rounded() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    rgb = utils.dataset.transform_images(grey, mode="RGB")
    np.testing.assert_array_equal(utils.dataset.transform_images(rgb, mode="L"), grey)
    assert utils.dataset.transform_images([[[1.6, -3.0], [300.0, 2.4]]]).tolist() == [[[2, 0], [255, 2]]]


@pytest.mark.parametrize(
    "images", [[np.zeros(3)], [np.zeros((2, 2, 2))], [np.zeros((0, 2))], [np.zeros((2, 2)), np.zeros((3, 3))]]
)
def test_what_is_no_set_of_images_is_refused(images: list[object]) -> None:
    with pytest.raises(InvalidDatasetError):
        utils.dataset.transform_images(images)
