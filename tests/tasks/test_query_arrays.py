"""Queries that come as arrays in the npy format: the same values as from JSON, and the same refusals."""

import io
import json
import random
import struct
from typing import Any

import numpy as np
import pytest

from rafiki.errors import InvalidQueryError
from rafiki.tasks.query_arrays import decode_value, read_array
from rafiki.tasks.registry import get_task
from rafiki.utils.npy import NpyError, join_arrays, read_header, split_first_axis, write_header

IMAGES, CUSTOM = get_task("IMAGE_CLASSIFICATION"), get_task("CUSTOM")
KINDS = ["?", "b", "B", "<i2", ">i4", "<u8", "<f2", ">f4", "<f8", "<U5", ">U3"]


def as_npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def sample(dtype: str, shape: tuple[int, ...]) -> Any:
    numbers = np.arange(int(np.prod(shape))).reshape(shape) % 100
    return numbers.astype(dtype)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (4, 2, 3), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("dtype", KINDS)
def test_what_numpy_writes_is_read_as_numpy_reads_it(dtype: str, shape: tuple[int, ...]) -> None:
    array = sample(dtype, shape)
    for given in (array, np.array(array, order="F")):
        found = read_array(as_npy(given))
        np.testing.assert_array_equal(found, array)
        assert found.dtype.isnative
        assert CUSTOM.decode_query(json.dumps(array.tolist()).encode()) == decode_value(CUSTOM, as_npy(given))


@pytest.mark.parametrize("dtype", KINDS)
def test_what_is_written_without_numpy_is_read_by_numpy(dtype: str) -> None:
    array = sample(dtype, (2, 3))
    written = write_header(array.dtype.str, array.shape) + array.tobytes()
    np.testing.assert_array_equal(np.load(io.BytesIO(written), allow_pickle=False), array)
    assert len(write_header(array.dtype.str, array.shape)) % 64 == 0


@pytest.mark.parametrize("is_fortran", [False, True], ids=["rows first", "columns first"])
@pytest.mark.parametrize("dtype", ["B", "<i2", ">f4", "<f8", "?"])
def test_an_array_is_split_along_its_first_axis_and_joined_again(dtype: str, is_fortran: bool) -> None:
    array = sample(dtype, (5, 4, 3))
    raw = as_npy(np.asfortranarray(array) if is_fortran else array)
    parts = list(split_first_axis(raw, read_header(raw)))
    assert len(parts) == 5
    for part, expected in zip(parts, array, strict=True):
        np.testing.assert_array_equal(read_array(part), expected)
    if not is_fortran:
        joined = join_arrays(parts)
        assert joined is not None
        np.testing.assert_array_equal(read_array(joined), array)
    assert join_arrays([as_npy(sample(dtype, (2,))), as_npy(sample(dtype, (3,)))]) is None


def test_headers_of_other_programs_are_read() -> None:
    for text in (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        '{"shape": (2,), "descr": "<f4", "fortran_order": False}\n',
        "{'descr':'<f4','fortran_order':False,'shape':(2,)}   \n",
    ):
        raw = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + struct.pack("<2f", 1.5, -2)
        assert read_array(raw).tolist() == [1.5, -2]


def headed(text: str, data: bytes = b"\0" * 8, version: bytes = b"\x01\x00") -> bytes:
    length = 2 if version[:1] == b"\x01" else 4
    return b"\x93NUMPY" + version + len(text).to_bytes(length, "little") + text.encode("latin-1") + data


def of_shape(shape: str, descr: str = "'<f8'", data: bytes = b"\0" * 8) -> bytes:
    return headed(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", data)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x93NUMPY", "no version"),
        (b"\x93NUMPY\x01\x00\xff\xff", "header is too long"),
        (b"\x93NUMPY\x01\x00\x50\x00{}", "cut off in its header"),
        (headed("{}", version=b"\x09\x00"), "its format is 9.0"),
        (headed("[" * 900), "header is damaged"),
        (headed("__import__('os').system('true')"), "header is damaged"),
        (headed("{'descr': '<f8'}"), "names descr"),
        (of_shape("(-1,)"), "is no shape"),
        (of_shape("(1.0,)"), "is no shape"),
        (of_shape("(True,)"), "is no shape"),
        (of_shape("[1]"), "is no shape"),
        (of_shape("(2,)"), "has 16 bytes, and 8 came"),
        (of_shape("(1,)", data=b""), "has 8 bytes, and 0 came"),
        (of_shape("(1,)", data=b"\0" * 9), "has 8 bytes, and 9 came"),
        (of_shape("(99999999999, 99999999999)"), "bytes, and 8 came"),
        (of_shape("(999999999999999999, 0)", data=b""), "it is empty"),
        (of_shape("(999999999999999999,)", "'<U0'", b""), "is no type"),
        (of_shape("(" + "1," * 40 + ")"), "40 dimensions"),
        (of_shape("(1,)", "'|O'"), "Python objects"),
        (of_shape("(1,)", "'<c8'"), "complex numbers"),
        (of_shape("(1,)", "'<M8[ns]'"), "no type of elements"),
        (of_shape("(1,)", "'|V8'"), "raw bytes"),
        (of_shape("(1,)", "'<f16'"), "no type of elements that is taken"),
        (of_shape("(1,)", "'<i3'"), "no type of elements that is taken"),
        (of_shape("(1,)", "[('a', '<f4'), ('b', '<f4')]"), "structured array"),
        (of_shape("(1,)", "'<U1'", b"\xff\xff\xff\x7f"), "no Unicode text"),
        (of_shape("(1,)", "'<U1'", b"\0\xd8\0\0"), "no Unicode text"),
        (of_shape("(1,)", "'|S1'", b"\xff"), "no UTF-8"),
        (headed("{'descr': '<f8', 'fortran_order': 1, 'shape': (1,)}"), "neither True nor False"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_no_array_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    with pytest.raises(InvalidQueryError, match=why):
        decode_value(CUSTOM, raw)


def test_what_would_run_code_when_it_is_unpickled_is_never_unpickled() -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("it was unpickled",))

    with pytest.raises(InvalidQueryError, match="Python objects"):
        decode_value(CUSTOM, as_npy(np.array([Trap()], dtype=object)))


def test_no_bytes_whatever_raise_anything_but_a_refusal() -> None:
    rng = random.Random(0)
    good = [as_npy(sample(kind, (2, 3))) for kind in KINDS]
    for _ in range(3000):
        raw = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 6)):
            match rng.randrange(3):
                case 0:
                    raw[rng.randrange(6, len(raw))] = rng.randrange(256)
                case 1:
                    del raw[rng.randrange(7, len(raw) + 1) :]
                case _:
                    at = rng.randrange(6, len(raw) + 1)
                    raw[at:at] = rng.choice([b"(", b",", b"9" * 20, b"-1", b"'", b"\0", b"None", b"O"])
            if len(raw) < 8:
                break
        for task in (CUSTOM, IMAGES, get_task("TABULAR_REGRESSION"), get_task("POS_TAGGING")):
            try:
                value = decode_value(task, bytes(raw))
            except InvalidQueryError:
                continue
            assert value is not None or task is CUSTOM
        try:
            list(split_first_axis(bytes(raw), read_header(bytes(raw))))
        except NpyError:
            continue


# ---- by task


def outcome(task: Any, raw: bytes) -> Any:
    try:
        value = decode_value(task, raw)
    except InvalidQueryError as e:
        return str(e)
    return (value.dtype.str, value.tolist()) if hasattr(value, "dtype") else value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        np.arange(12, dtype=np.int64).reshape(2, 2, 3),
        np.arange(4, dtype=">i2").reshape(2, 2),
        np.full((2, 2, 1), 7, np.uint8),
        np.arange(8, dtype=np.uint8).reshape(1, 2, 4),
        np.full((1, 2, 3), 0.5, np.float64),
        np.full((1, 2), 0.5, np.float32),
        np.zeros((0,), np.uint8),
        np.zeros((1, 0), np.uint8),
        np.zeros((3,), np.uint8),
        np.zeros((1, 1, 1, 1), np.uint8),
        np.zeros((1, 1, 2), np.uint8),
        np.array(5),
        np.array([[1, 256]]),
        np.array([[-1, 2]]),
        np.array([[0.5, 255.5]]),
        np.array([[True]]),
        np.array([["x"]]),
    ],
    ids=lambda a: f"{a.dtype.str} {a.shape}",
)
def test_an_image_is_the_same_from_npy_and_from_json(array: Any) -> None:
    assert outcome(IMAGES, as_npy(array)) == outcome(IMAGES, json.dumps(array.tolist()).encode())


def test_numbers_that_json_lacks_are_no_image() -> None:
    for number in (np.nan, np.inf):
        with pytest.raises(InvalidQueryError, match="the number"):
            decode_value(IMAGES, as_npy(np.full((1, 1, 3), number)))


def test_a_model_may_write_into_an_image() -> None:
    image: Any = decode_value(IMAGES, as_npy(np.zeros((2, 2, 3), np.uint8)))
    image[:] = 1
    assert image.flags.c_contiguous


@pytest.mark.parametrize("task", ["POS_TAGGING", "TABULAR_CLASSIFICATION", "SPEECH_RECOGNITION"])
@pytest.mark.parametrize(
    "array", [np.array(["a", "b"]), np.array([b"a"]), np.array(["", "b"]), np.array([1.5])], ids=str
)
def test_other_tasks_take_and_refuse_arrays_as_they_do_json(task: str, array: Any) -> None:
    listed = array.astype(str).tolist() if array.dtype.kind == "S" else array.tolist()
    assert outcome(get_task(task), as_npy(array)) == outcome(get_task(task), json.dumps(listed).encode())


def test_the_bytes_of_a_recording_are_what_its_base64_is() -> None:
    import base64

    wav = b"RIFF\0\0\0\0WAVEfmt data"
    task = get_task("SPEECH_RECOGNITION")
    encoded = base64.b64encode(wav).decode()
    assert (
        decode_value(task, as_npy(np.frombuffer(wav, np.uint8)))
        == encoded
        == task.decode_query(json.dumps(encoded).encode())
    )
