"""What the bodies of requests ask for, in every form that they have."""

import io
import json
import random
import struct
from typing import Any

import numpy as np
import pytest

from rafiki.errors import InvalidRequestError, PredictorBusyError, RafikiError, RequestTooLargeError
from rafiki.predictor.bodies import BodyForm, read_body
from rafiki.predictor.open_inference import InferenceModel
from rafiki.predictor.protocol import Asked, SlowBodyError, write_answer
from rafiki.predictor.routes import Routes, refusal_of
from rafiki.tasks.query_arrays import decode_value
from rafiki.tasks.registry import get_task

MB = 1 << 20
BATCH = BodyForm(is_batch=True)


def of_task(task: str) -> BodyForm:
    rules = get_task(task)
    return BodyForm(model=InferenceModel("digits", rules.query_tensor, rules.prediction_tensor))


IMAGES, TABLES, CUSTOM, TAGS = map(of_task, ("IMAGE_CLASSIFICATION", "TABULAR_CLASSIFICATION", "CUSTOM", "POS_TAGGING"))


def read(body: bytes, form: BodyForm, most_queries: int = 100, **more: Any) -> Asked:
    return read_body(body, form, 10.0, most_queries=most_queries, most_bytes=MB, **more)


def values(asked: Asked) -> list[Any]:
    found = (decode_value(get_task("CUSTOM"), query) for query in asked.queries)
    return [v.tolist() if hasattr(v, "tolist") else v for v in found]


def as_npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def as_npz(*arrays: Any, is_packed: bool = False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if is_packed else np.savez)(file, *arrays)
    return file.getvalue()


# ---- npy and npz


def test_an_array_is_one_query_and_passed_on_as_it_came() -> None:
    body = as_npy(np.arange(6).reshape(2, 3))
    asked = read(body, BodyForm())
    assert (asked.queries, asked.is_one) == ([body], True)


def test_an_array_of_queries_is_split_along_its_first_axis() -> None:
    array = np.arange(6).reshape(2, 3)
    for body in (as_npy(array), as_npy(np.asfortranarray(array))):
        asked = read(body, BATCH)
        assert (values(asked), asked.is_one) == ([[0, 1, 2], [3, 4, 5]], False)
    assert read(as_npy(np.zeros((0, 3))), BATCH).queries == []


@pytest.mark.parametrize("is_packed", [False, True])
def test_an_npz_file_holds_a_query_in_each_array(is_packed: bool) -> None:
    asked = read(as_npz(np.zeros(2), np.ones((1, 1)), is_packed=is_packed), BodyForm())
    assert (values(asked), asked.is_one) == ([[0.0, 0.0], [[1.0]]], False)


@pytest.mark.parametrize(
    ("body", "form", "error", "why"),
    [
        (as_npy(np.array(5)), BATCH, InvalidRequestError, "no first axis"),
        (as_npy(np.zeros((101, 2))), BATCH, PredictorBusyError, "101 queries"),
        (as_npy(np.zeros((2, 2)))[:-1], BATCH, InvalidRequestError, "bytes, and 31 came"),
        (as_npy(np.array([["abc"] * 2] * 2, order="F")), BATCH, InvalidRequestError, "ascontiguousarray"),
        (as_npz(*range(101)), BodyForm(), PredictorBusyError, "101 queries"),
        (as_npz(np.zeros(2 * MB), is_packed=True), BodyForm(), RequestTooLargeError, "when it is unpacked"),
        (as_npz(np.zeros(9))[:-30], BodyForm(), InvalidRequestError, "no npz file"),
        (b"PK\x03\x04", BodyForm(), InvalidRequestError, "no npz file"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_arrays_that_cannot_be_taken_are_refused(
    body: bytes, form: BodyForm, error: type[RafikiError], why: str
) -> None:
    with pytest.raises(error, match=why):
        read(body, form)


def test_a_zip_of_something_else_is_no_npz_file() -> None:
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(InvalidRequestError, match=r"'a\.txt' in the npz file is no npy array"):
        read(file.getvalue(), BodyForm())


@pytest.mark.parametrize(
    ("query", "is_batch", "timeout_s"),
    [
        (b"", False, 10),
        (b"batch=true", True, 10),
        (b"batch", True, 10),
        (b"batch=1&timeout_ms=500", True, 0.5),
        (b"batch=false", False, 10),
        (b"timeout_ms=99999999", False, 10),
        (b"other=1", False, 10),
    ],
)
def test_the_query_string_says_what_json_says_in_its_body(query: bytes, is_batch: bool, timeout_s: float) -> None:
    asked = read(as_npy(np.zeros((1, 2))), BodyForm().told(query, []))
    assert (asked.is_one, asked.timeout_s) == (not is_batch, timeout_s)
    assert read(b'{"query": 1}', BodyForm().told(query, [])).timeout_s == timeout_s


@pytest.mark.parametrize("query", [b"batch=maybe", b"timeout_ms=0", b"timeout_ms=soon", b"timeout_ms=nan"])
def test_a_query_string_that_makes_no_sense_is_refused(query: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        BodyForm().told(query, [])


# ---- the Open Inference Protocol


def request(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def tensor(name: str, datatype: str, shape: list[int], data: Any = None, **parameters: Any) -> dict[str, Any]:
    made = {"name": name, "datatype": datatype, "shape": shape}
    if data is not None:
        made["data"] = data
    return made | ({"parameters": parameters} if parameters else {})


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]], ids=["flat", "nested"])
@pytest.mark.parametrize("datatype", ["UINT8", "INT64", "FP32", "FP64"])
def test_a_tensor_of_numbers_is_a_query_for_each_part_along_its_first_axis(datatype: str, data: Any) -> None:
    asked = read(request(tensor("x", datatype, [2, 3], data)), CUSTOM)
    assert (values(asked), asked.is_one) == ([[1, 2, 3], [4, 5, 6]], False)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
def test_binary_tensors_follow_the_json(dtype: str) -> None:
    array = (np.arange(6).reshape(3, 2) % 2).astype(dtype)
    names = {"?": "BOOL", "u": "UINT", "i": "INT", "f": "FP"}
    datatype = names[dtype[0]] + ("" if dtype == "?" else str(8 * array.itemsize))
    head = request(tensor("x", datatype, [3, 2], binary_data_size=array.nbytes))
    form = CUSTOM.told(b"", [(b"inference-header-content-length", str(len(head)).encode())])
    assert values(read(head + array.tobytes(), form)) == array.tolist()


def test_several_features_are_a_tensor_each() -> None:
    texts = b"".join(struct.pack("<I", len(t)) + t for t in (b"red", b"", "grün".encode()))
    numbers = np.array([1.5, np.nan, -2], np.float32).tobytes()
    head = request(
        tensor("size", "FP32", [3], binary_data_size=len(numbers)),
        tensor("colour", "BYTES", [3, 1], binary_data_size=len(texts)),
        tensor("rooms", "INT32", [3], [1, 2, 3]),
        tensor("new", "BOOL", [3], [True, False, True]),
    )
    form = TABLES.told(b"", [(b"inference-header-content-length", str(len(head)).encode())])
    asked = read(head + numbers + texts, form)
    assert [json.loads(query) for query in asked.queries] == [
        {"size": 1.5, "colour": "red", "rooms": 1, "new": True},
        {"size": None, "colour": "", "rooms": 2, "new": False},
        {"size": -2.0, "colour": "grün", "rooms": 3, "new": True},
    ]


def test_a_tensor_of_texts_is_json() -> None:
    asked = read(request(tensor("tokens", "BYTES", [2, 2], [["a", "b"], ["c", "d"]])), TAGS)
    assert [json.loads(query) for query in asked.queries] == [["a", "b"], ["c", "d"]]
    asked = read(request(tensor("audio", "BYTES", [1], ["UklGRg=="])), of_task("SPEECH_RECOGNITION"))
    assert [json.loads(query) for query in asked.queries] == ["UklGRg=="]


ONE = tensor("x", "FP32", [1, 2], [1, 2])


@pytest.mark.parametrize(
    ("body", "form", "why"),
    [
        (b"", CUSTOM, "it is empty"),
        (b"[]", CUSTOM, "no inference request"),
        (b"{}", CUSTOM, "inputs"),
        (request(), CUSTOM, '"inputs" is empty'),
        (request(tensor("x", "FP32", [1, 2])), CUSTOM, "neither data nor binary_data_size"),
        (request(tensor("x", "FP32", [], [1])), CUSTOM, "first axis is that of the queries"),
        (request(tensor("x", "FP32", [1, -1], [1])), CUSTOM, "no length is negative"),
        (request(tensor("x", "FP32", [1] * 40, [1])), CUSTOM, "the shape 1 x"),
        (request(tensor("x", "FP32", [1, 2], [1])), CUSTOM, "2 elements, and 1 came"),
        (request(tensor("x", "FP32", [1, 2], [1, "a"])), CUSTOM, "not all of FP32"),
        (request(tensor("x", "UINT8", [1, 2], [1, 256])), CUSTOM, "not all of UINT8"),
        (request(tensor("x", "UINT8", [1, 2], [1, 1.5])), CUSTOM, "not all of UINT8"),
        (request(tensor("x", "BOOL", [1, 2], [1, 0])), CUSTOM, "not all of BOOL"),
        (request(tensor("x", "FP16", [1, 2], [1, 0])), CUSTOM, "JSON does not carry"),
        (request(tensor("x", "BF16", [1, 2], [1, 0])), CUSTOM, "known are BOOL"),
        (request(tensor("x", "BYTES", [1, 2], ["a", 1])), CUSTOM, "not all texts"),
        (request(tensor("x", "BYTES", [1, 2], ["a"])), CUSTOM, "2 elements, and 1 came"),
        (request(tensor("x", "FP32", [9**18], [])), CUSTOM, "queries are more"),
        (request(tensor("x", "FP32", [1, 9**18], [])), CUSTOM, "elements, and 0 came"),
        (request(ONE, ONE), CUSTOM, "2 tensors came"),
        (request(tensor("x", "UINT8", [2, 2, 3], [0] * 12)), IMAGES, "4 axes"),
        (request(ONE), TABLES, "a tensor a feature"),
        (request(tensor("a", "FP32", [1], [1]), tensor("b", "FP32", [2], [1, 2])), TABLES, "'b' has 2 queries"),
        (request(tensor("a", "FP32", [1], [1]), tensor("a", "FP32", [1], [1])), TABLES, "Two tensors"),
        (request(ONE, outputs=[{"name": "other"}]), CUSTOM, "no output 'other'"),
        (request(ONE, parameters={"timeout": -1}), CUSTOM, "above 0"),
        (request(ONE) + b"more", CUSTOM, "cannot stand"),
        (request(tensor("x", "FP32", [1], binary_data_size=4)), CUSTOM, "0 bytes are left"),
        (request(tensor("x", "FP32", [1], binary_data_size="4")), CUSTOM, "binary_data_size '4'"),
        (request(tensor("x", "FP32", [1], [1], binary_data_size=0)), CUSTOM, "both data and"),
        (request(tensor("x", "FP32", [1], shared_memory_region="r")), CUSTOM, "shared memory"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_request_that_is_none_of_the_protocol_is_refused_with_the_reason(
    body: bytes, form: BodyForm, why: str
) -> None:
    with pytest.raises((InvalidRequestError, PredictorBusyError), match=why):
        read(body, form)


@pytest.mark.parametrize(
    ("length", "extra", "why"),
    [("5000", b"", "the whole body has"), ("x", b"", "a number of bytes"), (None, b"1234", "4 bytes follow the last")],
)
def test_the_length_of_the_json_is_that_of_the_header(length: str | None, extra: bytes, why: str) -> None:
    body = request(ONE)
    with pytest.raises(InvalidRequestError, match=why):
        form = CUSTOM.told(b"", [(b"inference-header-content-length", (length or str(len(body))).encode())])
        read(body + extra, form)


@pytest.mark.parametrize(
    ("datatype", "binary", "why"),
    [
        ("FP32", b"123", "4 bytes, and 3 came"),
        ("BYTES", b"\x05\0\0\0a", "cut off in element 0"),
        ("BYTES", b"\x05\0", "cut off in element 0"),
        ("BYTES", b"\x01\0\0\0\xff", "no UTF-8"),
        ("BYTES", b"\0\0\0\0" * 2, "1 elements, and 2 came"),
    ],
)
def test_binary_data_that_are_not_those_of_the_shape_are_refused(datatype: str, binary: bytes, why: str) -> None:
    head = request(tensor("x", datatype, [1], binary_data_size=len(binary)))
    form = CUSTOM.told(b"", [(b"inference-header-content-length", str(len(head)).encode())])
    with pytest.raises(InvalidRequestError, match=why):
        read(head + binary, form)


def test_no_request_whatever_raises_anything_but_a_refusal() -> None:
    rng = random.Random(0)
    pieces = [0, 1, -1, 2**63, 1e308, "x", "", None, True, [], [1], {}, "FP32", "BYTES", "UINT8", [1, 2], {"a": 1}]
    for _ in range(3000):
        given = tensor("x", rng.choice(["FP32", "BYTES", "UINT8", "BOOL"]), [rng.randrange(3), rng.randrange(3)], [1])
        for _ in range(rng.randrange(4)):
            given[rng.choice(["name", "datatype", "shape", "data", "parameters"])] = rng.choice(pieces)
        body = bytearray(request(given, given) if rng.random() < 0.2 else request(given))
        if rng.random() < 0.3:
            body[rng.randrange(len(body))] = rng.randrange(256)
        form = rng.choice([IMAGES, TABLES, CUSTOM, TAGS])
        if rng.random() < 0.3:
            form = form.told(b"", [(b"inference-header-content-length", str(rng.randrange(300)).encode())])
        try:
            asked = read(bytes(body), form)
        except RafikiError:
            continue
        assert len(asked.queries) <= 100


def test_what_takes_long_to_read_is_left_to_another() -> None:
    many = request(tensor("x", "UINT8", [1, 200_000], [7] * 200_000))
    with pytest.raises(SlowBodyError):
        read(many, CUSTOM, is_hurried=True)
    assert len(read(many, CUSTOM).queries) == 1
    texts = request(tensor("x", "BYTES", [1, 30_000], ["a"] * 30_000))
    with pytest.raises(SlowBodyError):
        read(texts, CUSTOM, is_hurried=True)


def answered(form: BodyForm, *predictions: str, request_id: str | None = None, **left_out: str) -> Any:
    first = form.model.query if form.model else None
    given = ONE if first else tensor("a", "FP32", [1], [1])
    asked = read(request(given, **({"id": request_id} if request_id else {})), form)
    return json.loads(write_answer(asked, [p.encode() for p in predictions], left_out, "3"))


@pytest.mark.parametrize(
    ("form", "predictions", "output"),
    [
        (TABLES, ["[0.25,0.75]", "[1,0]"],
         {"name": "probabilities", "datatype": "FP64", "shape": [2, 2], "data": [0.25, 0.75, 1.0, 0.0]}),
        (of_task("TABULAR_REGRESSION"), ["1.5"], {"name": "value", "datatype": "FP64", "shape": [1], "data": [1.5]}),
        (CUSTOM, ["[[1,2]]"], {"name": "prediction", "datatype": "FP64", "shape": [1, 1, 2], "data": [1.0, 2.0]}),
        (CUSTOM, ["true"], {"name": "prediction", "datatype": "BOOL", "shape": [1], "data": [True]}),
        (CUSTOM, ['"a"', '"b"'], {"name": "prediction", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}),
        (CUSTOM, ['{"a":1}', "null"], {"name": "prediction", "datatype": "BYTES", "shape": [2],
         "data": ['{"a":1}', "null"], "parameters": {"content_type": "application/json"}}),
        (CUSTOM, ["[1]", "[1,2]"], {"name": "prediction", "datatype": "BYTES", "shape": [2],
         "data": ["[1]", "[1,2]"], "parameters": {"content_type": "application/json"}}),
    ],
)  # fmt: skip
def test_predictions_are_one_tensor(form: BodyForm, predictions: list[str], output: dict[str, Any]) -> None:
    told = answered(form, *predictions, request_id="r1")
    assert told == {"model_name": "digits", "model_version": "3", "id": "r1", "outputs": [output]}


def test_members_that_are_left_out_are_named() -> None:
    told = answered(CUSTOM, "1", t2="shed")
    assert told["parameters"] == {"left_out": '{"t2":"shed"}'}
    assert "id" not in told


# ---- pages


def pages(why_not_ready: str | None = None) -> Routes:
    made = Routes("predictor")
    made.serve_model("digits", lambda: "3", get_task("IMAGE_CLASSIFICATION"), lambda: why_not_ready)
    return made


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/digits/ready", {"name": "digits", "ready": True}),
        ("/v2/models/digits/versions/3/ready", {"name": "digits", "ready": True}),
        ("/v2/models/digits", {
            "name": "digits", "versions": ["3"], "platform": "rafiki",
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
            "outputs": [{"name": "probabilities", "datatype": "FP64", "shape": [-1, -1]}]}),
    ],
)  # fmt: skip
def test_a_model_is_described_as_the_protocol_says(path: str, told: Any) -> None:
    page = pages().find("GET", path)
    assert not isinstance(page, BodyForm)
    assert json.loads(page().body) == told
    assert isinstance(pages().find("POST", "/v2/models/digits/infer"), BodyForm)


def test_what_is_not_ready_says_so() -> None:
    for path in ("/v2/health/ready", "/v2/models/digits/ready"):
        page = pages("no worker is there").find("GET", path)
        assert not isinstance(page, BodyForm)
        with pytest.raises(RafikiError, match="digits is not ready: no worker is there") as refusal:
            page()
        assert refusal.value.http_status == 503
        assert json.loads(refusal_of(path, refusal.value)).keys() == {"error"}


def test_another_model_is_not_found() -> None:
    with pytest.raises(RafikiError, match="The model of this predictor is digits"):
        pages().find("POST", "/v2/models/other/infer")
