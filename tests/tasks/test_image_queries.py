import json
import random
from typing import Any

import numpy as np
import pytest

from rafiki.errors import InvalidQueryError
from rafiki.tasks.registry import get_task

TASK = get_task("IMAGE_CLASSIFICATION")


@pytest.mark.parametrize("separators", [(",", ":"), (" ,\n", ":")], ids=["dense", "spaced"])
@pytest.mark.parametrize("shape", [(32, 32, 3), (5, 7, 3), (1, 1, 3), (9, 1, 3), (1, 9, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_rgb_image_arrives_as_it_is(shape: tuple[int, ...], dtype: type, separators: tuple[str, str]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    query = TASK.decode_query(json.dumps(image.tolist(), separators=separators).encode())
    assert query.dtype == dtype
    np.testing.assert_array_equal(query, image)


@pytest.mark.parametrize(
    ("raw", "pixels"),
    [
        ("[[0, 255]]", [[[0, 0, 0], [255, 255, 255]]]),
        ("[[[7], [8]]]", [[[7, 7, 7], [8, 8, 8]]]),
        ("[[[1, 2, 3, 128]]]", [[[1, 2, 3]]]),
        ("[[1.5], [2e1]]", [[[1.5] * 3], [[20] * 3]]),
    ],
    ids=["W x H", "one channel", "alpha", "fractions"],
)
def test_other_images_become_rgb(raw: str, pixels: Any) -> None:
    assert TASK.decode_query(raw.encode()).tolist() == pixels


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("[]", "shape 0"),
        ("[[]]", "shape 1 x 0"),
        ("[[[]]]", "shape 1 x 1 x 0"),
        ("[1, 2, 3]", "shape 3 came"),
        ("[[[[1]]]]", "1 x 1 x 1 x 1"),
        ("[[[1, 2]]]", "1 x 1 x 2"),
        ("[[[1, 2, 3, 4, 5]]]", "1 x 1 x 5"),
        ("[[1, 2], [3]]", "ragged list came: it starts as 2 x 2"),
        ("[[1, 2], 3]", "ragged"),
        ("[[[1], [2]], [[3]]]", "ragged"),
        ('[[1, "x"]]', '"x" came where a number belongs'),
        ("[[1, null]]", "null came where a number belongs"),
        ("[[1, true]]", "true came where a number belongs"),
        ("[[1], [[2]]]", r"\[2\] came where a number belongs"),
        ("[[1, 256]]", "the number 256 came"),
        ("[[-1, 2]]", "the number -1 came"),
        ("[[0.5, 255.5]]", "the number 255.5 came"),
        ("[[-0.5]]", "the number -0.5 came"),
        ("[[123456789012345678901234567890]]", "the number 1234"),
        ("5", "; 5 came"),
        ('"abc"', '"abc" came'),
        ("{}", "{} came"),
        ("[[NaN]]", "no valid JSON"),
        ("[[1e999]]", "no valid JSON"),
        ("[[1,,2]]", "no valid JSON"),
        ("[[1,2", "no valid JSON"),
        ("", "no valid JSON"),
    ],
)
def test_what_is_no_image_is_refused_with_what_came(raw: str, why: str) -> None:
    with pytest.raises(InvalidQueryError, match=why):
        TASK.decode_query(raw.encode())


def _reference(raw: str) -> Any:
    """The array by the plain way: json, then numpy."""
    value = json.loads(raw)
    try:
        image = np.array(value)
    except ValueError:
        return None
    if image.dtype.kind not in "iuf" or "true" in raw or "false" in raw or image.size == 0:
        return None
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        return None
    if image.min() < 0 or image.max() > 255:
        return None
    image = image[:, :, None] if image.ndim == 2 else image[:, :, :3]
    return np.broadcast_to(image, (*image.shape[:2], 3))


def test_decoding_agrees_with_json_and_numpy_on_thousands_of_broken_images() -> None:
    rng = random.Random(0)
    n_images = 0
    for _ in range(5000):
        shape = [rng.randint(1, 3) for _ in range(rng.choice([1, 2, 3, 3, 4]))]
        text = json.dumps(np.random.default_rng(rng.randrange(99)).integers(0, 256, shape).tolist())
        for _ in range(rng.choice([0, 1, 2])):
            at = rng.randrange(len(text))
            text = (
                text[:at] + rng.choice(["", "[", "]", ",", "1", ".5", "-", "[]", "[1]", "null", " "]) + text[at + 1 :]
            )
        try:
            expected = _reference(text)
        except json.JSONDecodeError:
            continue  # the predictor has refused it before
        if expected is None:
            with pytest.raises(InvalidQueryError):
                TASK.decode_query(text.encode())
        else:
            n_images += 1
            np.testing.assert_array_equal(TASK.decode_query(text.encode()), expected.astype(np.float32))
    assert n_images > 500
