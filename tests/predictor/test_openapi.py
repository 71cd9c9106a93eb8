"""What a server of predictions says of its calls, and its page to try them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rafiki.constants import Task
from rafiki.predictor import try_page
from rafiki.predictor.bodies import BodyForm
from rafiki.predictor.openapi import ServedApp, describe
from rafiki.predictor.routes import Content, Routes
from rafiki.tasks.registry import get_task

TASKS = [*Task, "SOMETHING_ELSE"]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def served(task: str, query_schema: Any = None, *, needs_key: bool = False, **more: Any) -> ServedApp:
    return ServedApp("an app", "3", get_task(task), query_schema or {}, needs_key, 10.0, **more)


def routes(app: ServedApp) -> Routes:
    made = Routes("predictor")
    made.add("/", lambda: Content(b"{}"))
    made.serve_model(app.name, lambda: app.version, app.task, lambda: None)
    made.describe_app(lambda: app)
    return made


def get(made: Routes, path: str) -> Content:
    page = made.find("GET", path)
    assert not isinstance(page, BodyForm)
    return page()


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


def validator(document: Any, name: str) -> Any:
    schema = {"$schema": DIALECT, "$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("needs_key", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_the_document_is_whole(task: str, needs_key: bool) -> None:
    app = served(task, needs_key=needs_key, keeps_predictions=needs_key)
    document: Any = json.loads(get(routes(app), "/openapi.json").body)
    assert document["openapi"].startswith("3.1")
    assert (document["info"]["title"], document["info"]["version"]) == ("an app", "3")
    references = [n["$ref"] for n in nodes(document) if "$ref" in n]
    for reference in references:
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
    assert {r.rpartition("/")[2] for r in references} == set(document["components"]["schemas"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            assert "200" in operation["responses"]
            assert all(p["schema"] for p in operation.get("parameters", []))
    secured = {p for p, item in document["paths"].items() for o in item.values() if o["security"]}
    assert secured == ({"/predict", "/openapi.json", "/v2/models/an%20app/infer"} if needs_key else set())
    assert ("securitySchemes" in document["components"]) == needs_key


def test_the_document_has_the_pages_that_there_are() -> None:
    app = served("IMAGE_CLASSIFICATION")
    made = routes(app)
    document: Any = describe(app)
    told = {path.replace("%20", " "): set(item) for path, item in document["paths"].items()}
    for path, methods in told.items():
        assert made.allowed_methods(path) == ("POST, OPTIONS" if methods == {"post"} else "GET, HEAD, OPTIONS")
    assert made.paths() == set(told) | {"/try.css", "/try.js"}


@pytest.mark.parametrize("task", [t for t in TASKS if t not in ("SPEECH_RECOGNITION", "SOMETHING_ELSE")])
def test_the_example_of_a_task_is_a_query_of_it(task: str) -> None:
    document: Any = json.loads(json.dumps(describe(served(task))))
    example = document["x-rafiki"]["example"]
    validator(document, "Query").validate(example)
    get_task(task).decode_query(json.dumps(example).encode())
    [media] = [c for c in document["paths"]["/predict"]["post"]["requestBody"]["content"].values() if "example" in c]
    assert media["example"] == {"query": example}


@pytest.mark.parametrize(
    ("task", "good", "bad"),
    [
        ("IMAGE_CLASSIFICATION", [[[1, 2, 3]]], [[[256]]]),
        ("IMAGE_CLASSIFICATION", [[0, 255]], []),
        ("POS_TAGGING", ["a"], [1]),
        ("TABULAR_CLASSIFICATION", {"a": 1, "b": None, "c": "x"}, {"a": [1]}),
        ("SPEECH_RECOGNITION", "UklGRg==", 5),
    ],
)
def test_the_schema_of_a_query_takes_and_refuses_what_the_task_does(task: str, good: Any, bad: Any) -> None:
    document = describe(served(task))
    assert validator(document, "Query").is_valid(good)
    assert not validator(document, "Query").is_valid(bad)


def test_answers_and_refusals_are_what_the_document_says() -> None:
    document = describe(served("TABULAR_CLASSIFICATION"))
    for answer in (
        {"prediction": [0.1, 0.9], "predictions": []},
        {"prediction": None, "predictions": [[1.0]], "left_out": ["t"], "left_out_reasons": {"t": "shed"}},
    ):
        validator(document, "Answer").validate(answer)
    assert not validator(document, "Answer").is_valid({"prediction": "x", "predictions": []})
    validator(document, "Refusal").validate({"error": "InvalidQueryError", "message": "No."})
    statuses = {"400", "408", "413", "415", "422", "429", "431", "500", "503"}
    for path in ("/predict", "/v2/models/an%20app/infer"):
        assert statuses <= set(document["paths"][path]["post"]["responses"])  # type: ignore[index,call-overload]


@pytest.mark.parametrize("train_args", [{}, {"features": ["area", "new"]}, {"target": "town"}])
def test_the_features_of_a_table_are_named_and_none_of_its_values(tmp_path: Path, train_args: Any) -> None:
    (tmp_path / "t.csv").write_text("area,town,new,price\n96,Aarau,true,310\n,Bern,false,120\n")
    task = get_task("TABULAR_REGRESSION")
    schema: Any = task.read_query_schema(tmp_path / "t.csv", train_args)
    expected = {"area": "number", "town": "string", "new": "string", "price": "number"}
    target = train_args.get("target", "price")
    assert {name: form["type"][0] for name, form in schema["properties"].items()} == {
        name: kind for name, kind in expected.items() if name != target and name in train_args.get("features", expected)
    }
    assert "Aarau" not in json.dumps(schema)
    document = describe(served("TABULAR_REGRESSION", schema))
    example: Any = document["x-rafiki"]["example"]  # type: ignore[index,call-overload]
    validator(document, "Query").validate(example)
    assert example.keys() == schema["properties"].keys()


# ---- the page


def test_the_page_is_of_this_server_alone() -> None:
    made = routes(served("IMAGE_CLASSIFICATION"))
    for path in ("/try", "/try.css", "/try.js"):
        page = get(made, path)
        headers = dict(page.headers)
        assert b"default-src 'none'" in headers[b"content-security-policy"]
        assert b"unsafe" not in headers[b"content-security-policy"]
        assert headers[b"x-content-type-options"] == b"nosniff"
        assert not re.search(rb"https?://", page.body)
    html = get(made, "/try").body.decode()
    assert not re.search(r"<script(?![^>]* src=)|<style| on\w+=| style=", html)
    for used in re.findall(r'(?:src|href)="([^"]+)"', html):
        get(made, f"/{used}")
    script = try_page.JS.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|localStorage|cookie", script)
    ids = set(re.findall(r'id="(\w+)"', html))
    assert set(re.findall(r'\$\("(\w+)"\)', script)) <= ids


def test_where_a_key_is_asked_for_the_description_needs_it_and_the_page_does_not() -> None:
    made = routes(served("POS_TAGGING", needs_key=True))
    assert made.asks_for_key("/openapi.json")
    assert not made.asks_for_key("/try")
