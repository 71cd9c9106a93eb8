"""The OpenAPI document of a server of predictions: its calls, with the query and the prediction of its own app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec

import rafiki
from rafiki.errors import (
    HeadersTooLargeError,
    InternalError,
    InvalidQueryError,
    InvalidRequestError,
    MethodNotAllowedError,
    ModelPredictError,
    NoPredictionError,
    NotFoundError,
    PredictorBusyError,
    RafikiError,
    RequestTimeoutError,
    RequestTooLargeError,
    TooManyConnectionsError,
    UnauthorizedError,
    UnsupportedEncodingError,
)
from rafiki.tasks.base import TaskSpec
from rafiki.utils.values import JsonObject, JsonValue

_REFUSALS: Mapping[int, tuple[type[RafikiError], ...]] = {
    400: (InvalidRequestError, InvalidQueryError),
    401: (UnauthorizedError,),
    404: (NotFoundError,),
    405: (MethodNotAllowedError,),
    408: (RequestTimeoutError,),
    413: (RequestTooLargeError,),
    415: (UnsupportedEncodingError,),
    422: (ModelPredictError,),
    429: (PredictorBusyError,),
    431: (HeadersTooLargeError,),
    500: (InternalError,),
    503: (NoPredictionError, TooManyConnectionsError),
}
"""What a request for predictions may be refused with."""
_OF_PAGES = (405, 408, 431, 500, 503)
_KEY = "key"
_SAMPLES: Mapping[str, JsonValue] = {"number": 1.5, "integer": 1, "string": "text", "boolean": True}
_BINARY: JsonObject = {"schema": {"type": "string", "format": "binary"}}


class ServedApp(NamedTuple):
    """What the document is about."""

    name: str
    version: str
    task: TaskSpec
    query_schema: JsonObject
    """Of this app's queries; empty = what the task says of all of its queries is all that is known."""
    needs_key: bool
    deadline_s: float
    keeps_predictions: bool = False


def describe(app: ServedApp) -> JsonObject:
    """The document, in OpenAPI 3.1."""
    query = app.query_schema or app.task.query_schema
    known = "" if app.query_schema or app.task.query_schema else " What a query holds is known to its models alone."
    example = example_query(app)
    if example is not None:
        query = {**query, "examples": [example]}
    paths: JsonObject = {
        "/": {"get": _page("get_health", "What the server says of itself: task, members, those without a worker.")},
        "/predict": {"post": _predict(app, example)},
        "/openapi.json": {"get": _page("get_openapi", "This document.", needs_key=app.needs_key)},
        "/try": {"get": _page("get_try", "A page to try the app in a browser.", content="text/html")},
    }
    paths |= _inference_paths(app)
    schemas: JsonObject = {
        "Query": {"description": app.task.about_queries + known, **query},
        "Prediction": {"description": app.task.about_queries + known, **app.task.prediction_schema},
        "Answer": _ANSWER, "Refusal": _REFUSAL, **_INFERENCE_SCHEMAS,
    }  # fmt: skip
    components: JsonObject = {"schemas": schemas}
    if app.needs_key:
        components["securitySchemes"] = {
            _KEY: {"type": "http", "scheme": "bearer", "description": "A key of the app: `rafiki key create`."}
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": app.name, "version": app.version or rafiki.__version__,
            "description": f"Predictions of {app.name}, an app of the task {app.task.name}. {app.task.about_queries}",
        },
        "paths": paths,
        "components": components,
        "x-rafiki": {
            "app": app.name, "version": app.version, "task": app.task.name, "about": app.task.about_queries,
            "example": example, "query_file": app.task.query_file, "needs_key": app.needs_key,
        },
    }  # fmt: skip


def example_query(app: ServedApp) -> JsonValue:
    """A query for people to change; None where nothing is known of one. Its values are nobody's."""
    properties = app.query_schema.get("properties")
    if isinstance(properties, dict):
        return {name: _sample(form) for name, form in properties.items()}
    task = app.task
    sample: JsonValue = msgspec.to_builtins(task.sample_query if task.example_query is None else task.example_query)
    return sample


def _sample(form: JsonValue) -> JsonValue:
    kinds = form.get("type") if isinstance(form, dict) else None
    listed = kinds if isinstance(kinds, list) else [kinds]
    return next((_SAMPLES[kind] for kind in listed if isinstance(kind, str) and kind in _SAMPLES), None)


def _refused(statuses: Iterable[int], schema: str = "Refusal") -> JsonObject:
    return {
        str(status): {
            "description": ", ".join(kind.__name__ for kind in _REFUSALS[status]),
            "content": {"application/json": {"schema": _ref(schema)}},
        }
        for status in statuses
    }


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _page(
    name: str, summary: str, *, content: str = "application/json", schema: JsonObject | None = None,
    needs_key: bool = False, refusal: str = "Refusal",
) -> JsonObject:  # fmt: skip
    kind: JsonObject = {"type": "string"} if content == "text/html" else {"type": "object"}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "OK", "content": {content: {"schema": schema or kind}}},
            **_refused((401, *_OF_PAGES) if needs_key else _OF_PAGES, refusal),
        },
        "security": _security(needs_key=needs_key),
    }


def _security(*, needs_key: bool) -> list[JsonValue]:
    return [{_KEY: []}] if needs_key else []


def _parameter(where: str, name: str, about: str, schema: JsonObject) -> JsonObject:
    return {"name": name, "in": where, "required": False, "description": about, "schema": schema}


def _common_parameters(app: ServedApp) -> list[JsonValue]:
    found: list[JsonValue] = [
        _parameter(
            "header",
            "x-rafiki-key",
            "Requests with the same value get the same version of the app.",
            {"type": "string"},
        )
    ]
    if app.keeps_predictions:
        found.append(
            _parameter(
                "header", "Cache-Control", "no-cache: the prediction is made anew. no-store: nor is it kept.",
                {"type": "string", "enum": ["no-cache", "no-store"]},
            )
        )  # fmt: skip
    return found


def _predict(app: ServedApp, example: JsonValue) -> JsonObject:
    timeout: JsonObject = {
        "type": "number", "exclusiveMinimum": 0,
        "description": f"Milliseconds to wait, if that is less than the {app.deadline_s:g} s of the server.",
    }  # fmt: skip
    one: JsonObject = {
        "type": "object", "required": ["query"], "additionalProperties": False,
        "properties": {"query": _ref("Query"), "timeout_ms": timeout},
    }  # fmt: skip
    many: JsonObject = {
        "type": "object", "required": ["queries"], "additionalProperties": False,
        "properties": {"queries": {"type": "array", "items": _ref("Query")}, "timeout_ms": timeout},
    }  # fmt: skip
    content: JsonObject = {"schema": {"oneOf": [one, many]}}
    if example is not None:
        content["example"] = {"query": example}
    return {
        "operationId": "predict",
        "summary": "Predictions for one query, or for several.",
        "parameters": [
            _parameter(
                "query", "batch", "The parts of an npy array along its first axis are the queries.", {"type": "boolean"}
            ),
            _parameter("query", "timeout_ms", "As in the body.", {"type": "number", "exclusiveMinimum": 0}),
            *_common_parameters(app),
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": content, "application/x-npy": _BINARY, "application/x-npz": _BINARY},
        },
        "responses": {
            "200": {
                "description": "OK",
                "headers": {
                    "x-rafiki-version": {"description": "Of the app, that has answered.", "schema": {"type": "string"}},
                    "x-rafiki-job": {"description": "Its inference job.", "schema": {"type": "string"}},
                },
                "content": {"application/json": {"schema": _ref("Answer")}},
            },
            **_refused(s for s in _REFUSALS if s not in (404, 405) and (s != 401 or app.needs_key)),
        },
        "security": _security(needs_key=app.needs_key),
    }


def _inference_paths(app: ServedApp) -> JsonObject:
    model = f"/v2/models/{quote(app.name, safe='')}"
    statuses = [s for s in _REFUSALS if s not in (404, 405) and (s != 401 or app.needs_key)]
    infer: JsonObject = {
        "operationId": "infer",
        "summary": "Predictions by the Open Inference Protocol. The first axis of each tensor is that of the queries.",
        "parameters": [
            _parameter(
                "header", "Inference-Header-Content-Length", "The length of the JSON, where binary tensors follow it.",
                {"type": "integer", "minimum": 0},
            ),
            *_common_parameters(app),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref("InferenceRequest")}, "application/octet-stream": _BINARY,
            },
        },
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": _ref("InferenceAnswer")}}},
            **_refused(statuses, "InferenceRefusal"),
        },
        "security": _security(needs_key=app.needs_key),
    }  # fmt: skip

    def page(name: str, summary: str) -> JsonObject:
        return {"get": _page(name, summary, refusal="InferenceRefusal")}

    return {
        "/v2": page("get_server", "The server, in the Open Inference Protocol."),
        "/v2/health/live": page("get_live", "Whether the server runs."),
        "/v2/health/ready": page("get_ready", "Whether an inference worker is there; 503 while none is."),
        model: page("get_model", "Names, datatypes and shapes of the model's tensors."),
        f"{model}/ready": page("get_model_ready", "As /v2/health/ready."),
        f"{model}/infer": {"post": infer},
    }


_ANSWER: JsonObject = {
    "type": "object",
    "required": ["prediction", "predictions"],
    "properties": {
        "prediction": {"description": "Null for several queries.", "anyOf": [_ref("Prediction"), {"type": "null"}]},
        "predictions": {"description": "For several, in their order.", "type": "array", "items": _ref("Prediction")},
        "left_out": {
            "description": "Ids of the members that took no part in every prediction, where there are any.",
            "type": "array", "items": {"type": "string"},
        },
        "left_out_reasons": {
            "description": "Why, by their ids.", "type": "object",
            "additionalProperties": {"type": "string", "enum": ["shed", "late", "absent", "failed"]},
        },
    },
}  # fmt: skip
_REFUSAL: JsonObject = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {
        "error": {
            "type": "string",
            "enum": [kind.__name__ for kinds in _REFUSALS.values() for kind in kinds],
        },
        "message": {"description": "What is wrong, where, and what to do.", "type": "string"},
    },
}
_PARAMETERS: JsonObject = {"type": "object"}
_TENSOR: JsonObject = {
    "name": {"type": "string"}, "datatype": {"type": "string"},
    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    "parameters": _PARAMETERS, "data": {"type": "array"},
}  # fmt: skip
_INFERENCE_SCHEMAS: JsonObject = {
    "InputTensor": {"type": "object", "required": ["name", "datatype", "shape"], "properties": _TENSOR},
    "OutputTensor": {"type": "object", "required": ["name", "datatype", "shape", "data"], "properties": _TENSOR},
    "InferenceRequest": {
        "type": "object", "required": ["inputs"],
        "properties": {
            "id": {"type": "string"}, "parameters": _PARAMETERS,
            "inputs": {"type": "array", "minItems": 1, "items": _ref("InputTensor")},
            "outputs": {
                "type": "array",
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
            },
        },
    },
    "InferenceAnswer": {
        "type": "object", "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"}, "model_version": {"type": "string"}, "id": {"type": "string"},
            "parameters": _PARAMETERS, "outputs": {"type": "array", "items": _ref("OutputTensor")},
        },
    },
    "InferenceRefusal": {
        "type": "object", "required": ["error"], "properties": {"error": {"type": "string"}},
    },
}  # fmt: skip
