"""Every endpoint by name, and the OpenAPI document made from them."""

from __future__ import annotations

from typing import Any

import msgspec

from rafiki.contract import (
    api_tokens,
    audit,
    datasets,
    environments,
    exports,
    garbage,
    inference_jobs,
    metrics,
    models,
    nodes,
    oidc,
    predictor_keys,
    probes,
    rollouts,
    service_openapi,
    stack,
    train_jobs,
    users,
    webhooks,
)
from rafiki.contract.endpoint import AnyEndpoint, ErrorBody, FilePart

ENDPOINTS: dict[str, AnyEndpoint] = {
    e.name: e
    for group in (
        stack,
        users,
        oidc,
        api_tokens,
        datasets,
        models,
        environments,
        nodes,
        train_jobs,
        inference_jobs,
        rollouts,
        predictor_keys,
        webhooks,
        exports,
        garbage,
        audit,
    )
    for e in group.ENDPOINTS
}

PAGES = {**oidc.PAGES, **probes.PAGES, **metrics.PAGES}
"""What is no call of a client: path -> name."""


def _json_types() -> list[object]:
    types: list[object] = [ErrorBody, probes.ReadyView]
    for e in ENDPOINTS.values():
        types += [e.request, *([] if e.response is bytes else [e.response])]
    return types + service_openapi.json_types()


def _parameters(e: AnyEndpoint, schema: dict[str, Any]) -> list[dict[str, Any]]:
    in_query = e.fields.keys() if e.method == "GET" else e.path_fields
    return [
        {
            "name": name,
            "in": "path" if name in e.path_fields else "query",
            "required": name in e.path_fields or name in schema.get("required", []),
            "schema": schema["properties"][name],
        }
        for name in e.fields
        if name in in_query
    ]


def _body(e: AnyEndpoint, schema: dict[str, Any]) -> dict[str, Any] | None:
    names = [n for n in e.fields if n not in e.path_fields]
    if e.method == "GET" or not names:
        return None
    properties = {
        n: {"type": "string", "format": "binary"} if n in e.file_fields else schema["properties"][n] for n in names
    }
    required = [n for n in schema.get("required", []) if n in names]
    kind = "multipart/form-data" if e.is_form else "application/json"
    content = {"schema": {"type": "object", "properties": properties, "required": required}}
    return {"required": bool(required), "content": {kind: content}}


def openapi(version: str) -> dict[str, object]:
    """The OpenAPI 3.1 document of the admin."""
    schemas, components = msgspec.json.schema_components(_json_types(), ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(repr, _json_types()), schemas, strict=True))
    components.pop(FilePart.__name__, None)
    paths: dict[str, dict[str, object]] = {}
    refusal = {
        "description": "Refused",
        "content": {"application/json": {"schema": by_type[repr(ErrorBody)]}},
    }
    for e in ENDPOINTS.values():
        request_schema = components[e.request.__name__]
        if e.is_stream:
            content = {"text/event-stream": {"schema": by_type[repr(e.response)]}}
        elif e.response is bytes:
            content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        else:
            content = {"application/json": {"schema": by_type[repr(e.response)]}}
        responses = {"200": {"description": "OK", "content": content}, "4XX": refusal}
        operation: dict[str, object] = {
            "operationId": e.name,
            "summary": e.summary,
            "parameters": _parameters(e, request_schema),
            "responses": responses,
            "security": [] if e.roles is None else [{"token": []}],
        }
        if e.asks_provider:
            operation["responses"] = {**responses, "503": refusal}
        if body := _body(e, request_schema):
            operation["requestBody"] = body
        paths.setdefault(e.path, {})[e.method.lower()] = operation
    paths |= oidc.page_paths(by_type[repr(oidc.OidcLoginView)], refusal)
    paths |= probes.page_paths(by_type[repr(probes.ReadyView)])
    paths |= metrics.page_paths(refusal)
    paths |= service_openapi.paths(by_type, refusal, components)
    for name in {e.request.__name__ for e in ENDPOINTS.values()} | service_openapi.requests():
        components.pop(name, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rafiki admin", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of a login (`POST /tokens`), or an API token (`POST /api_tokens`).",
                },
                service_openapi.SCHEME: service_openapi.SECURITY_SCHEME,
            },
        },
    }
