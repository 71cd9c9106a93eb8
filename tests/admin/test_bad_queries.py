"""What the predictor gets: wrong queries are refused one by one, and what fails in the model harms nobody else."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from admin_people import Hostile
from image_zip import image_zip
from raw_http import check_refusal, unique

Rows = list[list[list[int]]]


def picture(*pixel: int, size: int = 2) -> Rows:
    return [[list(pixel)] * size] * size


GREY, DARK = picture(128, 128, 128), picture(0, 0, 0)
POISON, SPOILS, NOT_A_NUMBER = picture(255, 255, 255), picture(255, 0, 0), picture(0, 0, 255)


@pytest.fixture(scope="module")
def predictor(hostile: Hostile) -> Iterator[str]:
    """URL of a predictor for images of two classes."""
    me = hostile.me
    task = "IMAGE_CLASSIFICATION"
    dataset_id = me.upload_dataset(task=task, data=image_zip())
    model_id = me.upload_model("picture.py", "Picture", task=task)
    app = me.run_job(app=unique("pictures"), task=task, dataset_id=dataset_id, model_id=model_id)
    yield f"http://{me.ok('POST', '/inference_jobs', json={'app': app})['predictor_host']}"
    me.ok("POST", f"/inference_jobs/{app}/-1/stop")


def ask(url: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/predict", json=body, timeout=30)


def test_one_query_gets_one_prediction_and_many_get_theirs_in_order(predictor: str) -> None:
    one = ask(predictor, query=DARK)
    assert one.status_code == 200
    assert one.headers["content-type"] == "application/json"
    assert one.json() == {"prediction": [1.0, 0.0], "predictions": []}
    many = ask(predictor, queries=[DARK, GREY, picture(51, 51, 51)]).json()
    assert many["prediction"] is None
    assert [p[1] for p in many["predictions"]] == pytest.approx([0.0, 128 / 255, 0.2])


def test_no_queries_get_no_predictions(predictor: str) -> None:
    answer = ask(predictor, queries=[])
    assert (answer.status_code, answer.json()) == (200, {"prediction": None, "predictions": []})


def test_the_predictor_says_that_it_is_up(predictor: str) -> None:
    answer = httpx.get(predictor)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["task"] == "IMAGE_CLASSIFICATION"


WRONG: dict[str, tuple[str, Callable[[str], httpx.Response]]] = {
    **{
        f"query {what}": ("InvalidQueryError", lambda url, q=query: ask(url, query=q))
        for what, query in {
            "a text": "picture", "a number": 3, "an object": {"pixels": GREY}, "empty": [], "flat": [1, 2, 3],
            "ragged": [[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]], "of 5 channels": [[[1, 2, 3, 4, 5]]],
            "too deep": [[[[1]]]], "of texts": [[["1", "2", "3"]]], "with null": [[[1, None, 3]]],
            "below 0": [[[0, -1, 0]]], "above 255": [[[0, 256, 0]]], "of truth": [[[True, False, True]]],
        }.items()
    },
    "one query of many": ("InvalidQueryError", lambda url: ask(url, queries=[GREY, "picture", GREY])),
    "a poison query": ("ModelPredictError", lambda url: ask(url, query=POISON)),
    "a query without an answer": ("ModelPredictError", lambda url: ask(url, query=SPOILS)),
    "a query with a wrong answer": ("ModelPredictError", lambda url: ask(url, query=NOT_A_NUMBER)),
    "a query nested without end": (
        "InvalidRequestError",
        lambda url: httpx.post(f"{url}/predict", content=b'{"query": ' + b"[" * 50_000 + b"]" * 50_000 + b"}")),
    "no body": ("InvalidRequestError", lambda url: httpx.post(f"{url}/predict")),
    "no JSON": ("InvalidRequestError", lambda url: httpx.post(f"{url}/predict", content=b"query=3")),
    "JSON that is cut off": ("InvalidRequestError", lambda url: httpx.post(f"{url}/predict", content=b'{"query": [[')),
    "no UTF-8": ("InvalidQueryError", lambda url: httpx.post(f"{url}/predict", content=b'{"query": "\xff"}')),
    "a list": ("InvalidRequestError", lambda url: httpx.post(f"{url}/predict", json=[GREY])),
    "neither": ("InvalidRequestError", lambda url: ask(url)),
    "null": ("InvalidRequestError", lambda url: ask(url, query=None)),
    "both": ("InvalidRequestError", lambda url: ask(url, query=GREY, queries=[GREY])),
    "queries that are no list": ("InvalidRequestError", lambda url: ask(url, queries={"0": GREY})),
    "an unknown field": ("InvalidRequestError", lambda url: ask(url, query=GREY, model="best")),
    "no time": ("InvalidRequestError", lambda url: ask(url, query=GREY, timeout_ms=0)),
    "time as text": ("InvalidRequestError", lambda url: ask(url, query=GREY, timeout_ms="soon")),
    "more queries than wait at once": ("PredictorBusyError", lambda url: ask(url, queries=[GREY] * 65)),
    "a huge body": ("RequestTooLargeError", lambda url: ask(url, query="x" * (2 << 20))),
    "a wrong path": ("NotFoundError", lambda url: httpx.post(f"{url}/predictions", json={"query": GREY})),
    "GET": ("MethodNotAllowedError", lambda url: httpx.get(f"{url}/predict")),
    "POST to the root": ("MethodNotAllowedError", lambda url: httpx.post(url, json={})),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_query_is_refused_with_its_error_and_a_reason(predictor: str, what: str) -> None:
    error, call = WRONG[what]
    check_refusal(call(predictor), error)
    assert ask(predictor, query=DARK).status_code == 200, "the next good query fails"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("query ragged", ["W x H x 3", "ragged"]),
        ("query above 255", ["0 to 255", "256"]),
        ("one query of many", ["Query 1"]),
        ("a poison query", ["predict() failed: ValueError: a white picture (line "]),
        ("a query without an answer", ["0 predictions for 1 queries"]),
        ("a query with a wrong answer", ["finite probability", "nan"]),
        ("both", ['"query"', '"queries"']),
    ],
)
def test_the_reason_tells_what_would_be_right(predictor: str, what: str, words: list[str]) -> None:
    message = check_refusal(WRONG[what][1](predictor))
    assert [w for w in words if w not in message] == [], message


def test_poison_among_good_queries_of_the_same_moment_fails_alone(predictor: str) -> None:
    bad = {7: (POISON, 422), 20: (SPOILS, 422), 33: ("picture", 400)}

    async def ask_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=30) as http:
            queries = [bad[i][0] if i in bad else picture(i, i, i) for i in range(48)]
            return await asyncio.gather(*(http.post(f"{predictor}/predict", json={"query": q}) for q in queries))

    for i, answer in enumerate(asyncio.run(ask_all())):
        if i in bad:
            assert answer.status_code == bad[i][1], answer.text
        else:
            assert answer.json()["prediction"][1] == pytest.approx(i / 255)


@pytest.mark.parametrize("sent", [1.0, 0.5], ids=["after its query", "in the middle of its query"])
def test_a_client_that_hangs_up_harms_nobody(predictor: str, sent: float) -> None:
    body = json.dumps({"query": picture(1, 2, 3, size=100)}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    host, _, port = predictor.removeprefix("http://").partition(":")
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head + body[: int(len(body) * sent)])
    assert ask(predictor, query=DARK).status_code == 200
