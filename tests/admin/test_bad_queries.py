"""Queries that fail harm no others. What a predictor says to each wrong query is in `tests/wrong_inputs`."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.data.image_zip import image_zip
from support.http.raw_http import unique
from support.stacks.admin_people import Hostile

Rows = list[list[list[int]]]


def picture(*pixel: int, size: int = 2) -> Rows:
    return [[list(pixel)] * size] * size


GREY, DARK = picture(128, 128, 128), picture(0, 0, 0)
POISON, SPOILS = picture(255, 255, 255), picture(255, 0, 0)


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
