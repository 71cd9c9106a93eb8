import json
import subprocess
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

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


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal with all their types, arrays and keys of dicts included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return [*map(type, a)] == [*map(type, b)] and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x80\x04.",
        bytes(range(256)) * 1000,
        [],
        (),
        {},
        [None, True, 1, 1.0, "1", b"1", -(2**70), float("inf")],
        (1, (2.5, [3, (4,)])),
        {"z": 1, "a": None, "": [], "é\ud800": b"x"},
        {1: "a", 1.5: "b", None: "c", False: "d", -(2**70): "e", "1": "f"},
        {"layers": [{"w": np.ones((2, 0)), "b": np.array(3)}, {"w": np.arange(3, dtype=">i2"), "s": np.array("text")}]},
        {"text": "x" * 5000, "many": list(range(20_000)), "words": {f"word {i}": i for i in range(5000)}},
        [[["a/b", np.zeros(2)], {"a": np.ones(1), "a/0": np.ones(2)}]],
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:12]!a}",
)
def test_none_bytes_and_containers_come_back_as_they_were(value: Any) -> None:
    assert same(there_and_back(value), value)


def test_what_the_xgboost_samples_store_comes_back() -> None:
    params = {
        "clf_base64": "gASV",
        "encoding_dict": json.dumps({"a": {"x": 1}}),
        "features": ["a", "b"],
        "target": None,
    }
    assert decode_params(encode_params(params)) == params


def test_arrays_within_others_are_tensors_that_any_reader_shows_and_take_nobodys_name() -> None:
    params = {"net": {"w": np.ones(2), "b": [np.zeros(1)]}, "net/w": np.arange(3), "net/b/0": np.arange(4)}
    data = encode_params(params)
    assert same(decode_params(data), params)
    tensors = load_tensors(data)
    assert tensors["net/w"].tolist() == [0, 1, 2]
    assert tensors["net/w'"].tolist() == [1, 1]


def test_classes_that_derive_from_plain_types_come_back_as_these() -> None:
    back = there_and_back([OrderedDict(a=np.float32(0.5)), np.int8(3), {np.int64(7): np.bool_(True)}, np.bytes_(b"x")])
    assert same(back, [{"a": 0.5}, 3, {7: True}, b"x"])


def test_bytes_with_an_index_that_never_ends_are_refused() -> None:
    deep = '["list", [' * 50_000 + "]]" * 50_000
    with pytest.raises(InvalidParamsError):
        decode_params(save_tensors({}, metadata={"rafiki": f'[["a", "list", [{deep}]]]'}))


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
        ({1}, "use a list"),
        (bytearray(b"x"), r"bytes\("),
        (object(), "convert it"),
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


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ([1, {2}], r"'bad'\[1\] is a set"),
        ({"layers": [{"w": 1}, {"w": 1j}]}, r"'bad'\['layers'\]\[1\]\['w'\] is a complex"),
        ((0, [np.array([object()])]), r"'bad'\[1\]\[0\] is an array of Python objects"),
        ({"a": {(1, 2): 3}}, r"'bad'\['a'\] has a key that is a tuple"),
    ],
)
def test_within_others_the_way_to_what_cannot_be_stored_is_named(value: Any, where: str) -> None:
    with pytest.raises(InvalidParamsError, match=where):
        encode_params({"bad": value})


def test_what_contains_itself_or_is_too_deep_is_refused() -> None:
    itself: list[Any] = [1]
    itself += [itself, itself]
    with pytest.raises(InvalidParamsError, match=r"'bad'\[1\] contains itself"):
        encode_params({"bad": itself})
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(InvalidParamsError, match="'bad' has more than"):
        encode_params({"bad": deep})


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
