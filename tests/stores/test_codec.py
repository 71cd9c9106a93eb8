import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from rafiki.errors import InvalidParamsError
from rafiki.param_store.codec import decode_params, encode_params


def there_and_back(value: Any) -> Any:
    return decode_params(encode_params({"key": value}))["key"]


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        2**80,
        -(10**5000),
        True,
        False,
        0.1,
        -0.0,
        1e-320,
        float("inf"),
        "",
        "text",
        "é\0\ud800",
        "long é" * 400_000,
    ],
    ids=lambda value: hex(value)[:8] if type(value) is int else f"{type(value).__name__}-{str(value)[:8]!a}",
)
def test_scalars_come_back_exactly_with_their_type(value: Any) -> None:
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back == value


def test_nan_and_the_sign_of_zero_survive() -> None:
    assert np.isnan(there_and_back(float("nan")))
    assert np.signbit(there_and_back(-0.0))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float64(1), float),
        (np.float32(0.5), float),
        (np.int64(2**62), int),
        (np.bool_(True), bool),
        (np.str_("a"), str),
    ],
)
def test_numpy_scalars_come_back_as_python_ones(value: Any, kind: type) -> None:
    back = there_and_back(value)
    assert type(back) is kind
    assert back == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(2, 3, 4)[:, ::2].T,
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(3.5),
        np.array("zero-d"),
        np.empty((0, 3), dtype=np.float32),
        np.array([], dtype="U3"),
        np.array(["", ""]),
        np.array(["a", "é\U0001f600"]),
        np.array([b"a", b"xyz"]),
        np.array(["2020-01-01", "NaT"], dtype="M8[ns]"),
        np.array([1, -2], dtype="m8[s]"),
        np.array([1 + 2j], dtype=np.complex64),
        np.array([1 + 2j], dtype=np.complex128),
        np.arange(3, dtype=">f8"),
        np.arange(3, dtype=">u2"),
        *(np.array([0, 1], dtype=t) for t in ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")),
    ],
    ids=lambda a: f"{a.dtype.str}-{a.shape}",
)
def test_arrays_come_back_with_dtype_and_shape_and_can_be_written(array: np.ndarray[Any, Any]) -> None:
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable


def test_no_choice_of_keys_collides() -> None:
    keys = ["", "a", "a.b", "__metadata__", "__metadata__'", "__metadata__''", "rafiki", "t0", "é"]
    params: dict[str, Any] = {key: np.full(2, i) for i, key in enumerate(keys)} | {"text": "x" * 5000, "n": 1}
    back = decode_params(encode_params(params))
    assert list(back) == list(params)
    assert [back[key].tolist() for key in keys] == [[i, i] for i in range(len(keys))]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (None, "leave the key out"),
        ([1], r"np\.array"),
        ({"a": 1}, r"json\.dumps"),
        (b"x", "base64"),
        (np.array([object()]), "Python objects"),
        (np.zeros(2, dtype=np.longdouble), "float64"),
        (np.longdouble(1), "convert it"),
        (np.zeros(2, dtype=[("a", "i4")]), "cannot be stored"),
        (np.ma.masked_array([1], [True]), "mask"),
        (1j, "convert it"),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, str) else None,
)
def test_what_cannot_be_stored_names_its_key_and_a_way_out(value: Any, hint: str) -> None:
    with pytest.raises(InvalidParamsError, match=f"'bad'.*{hint}"):
        encode_params({"good": 1, "bad": value})


@pytest.mark.parametrize("params", [[("a", 1)], {1: 2}])
def test_parameters_must_be_a_dict_of_str(params: Any) -> None:
    with pytest.raises(InvalidParamsError):
        encode_params(params)


@pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"x" * 100, encode_params({"a": np.ones(9)})[:-1]])
def test_bytes_that_are_no_parameters_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidParamsError):
        decode_params(data)


def test_the_store_itself_loads_neither_numpy_nor_torch() -> None:
    code = "import sys, rafiki.param_store.folder; sys.exit(bool({'numpy', 'torch'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
