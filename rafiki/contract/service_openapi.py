"""The calls of services, as the OpenAPI document describes them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rafiki.contract.service_calls import SERVICE_CALLS, ServiceCall, refusals_of

SCHEME = "service_token"
SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "The token of a service that runs elsewhere. The admin makes it and hands it to the service; it is "
    "void when the service has ended. The tokens of users are refused here, and this one everywhere else.",
}
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def json_types() -> list[object]:
    """The types whose schemas the calls refer to."""
    found: list[object] = []
    for call in SERVICE_CALLS.values():
        found += [kind for kind in (call.request, call.response) if kind not in (None, bytes)]
    return list(dict.fromkeys(found))


def requests() -> set[str]:
    """The names of the structs of requests: their fields are told with their calls."""
    return {call.request.__name__ for call in SERVICE_CALLS.values() if call.request is not None}


def paths(
    schema_of: Mapping[str, object], refusal: object, components: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """The part ``paths`` of the document.

    Args:
        schema_of: schemas by the ``repr`` of their types.
        refusal: the answer that every refusal is.
        components: the schemas of structs by name.
    """
    found: dict[str, dict[str, object]] = {}
    for call in SERVICE_CALLS.values():
        operations = found.setdefault(call.path, {})
        operations[call.method.lower()] = _operation(call, schema_of, refusal, components)
        if call.has_head:
            operations["head"] = {
                **_operation(call, schema_of, refusal, components),
                "operationId": f"head_{call.name}",
                "summary": f"The headers of `{call.name}` alone.",
                "responses": {
                    "200": {"description": "OK"},
                    "4XX": {"description": "Refused"},
                    "503": {"description": "Refused"},
                },
            }
    return found


def _operation(
    call: ServiceCall, schema_of: Mapping[str, object], refusal: object, components: Mapping[str, object]
) -> dict[str, object]:
    answer: object = {"application/json": {"schema": {"type": "null"}}}
    if call.response is bytes:
        answer = _BYTES
    elif call.response is not None:
        answer = {"application/json": {"schema": schema_of[repr(call.response)]}}
    responses: dict[str, object] = {"200": {"description": "OK", "content": answer}}
    if call.is_ranged:
        responses["206"] = {"description": "A part, as `Range` asks for", "content": answer}
    if call.redirects:
        headers = {"Location": {"schema": {"type": "string"}}}
        responses["307"] = {"description": "To be fetched from there, without the token", "headers": headers}
    names = ", ".join(kind.__name__ for kind in refusals_of(call))
    responses["4XX"] = {**_mapping(refusal), "description": f"Refused: {names}"}
    if any(kind.http_status >= 500 for kind in call.refusals):
        responses["503"] = refusal
    operation: dict[str, object] = {
        "operationId": call.name,
        "summary": call.summary,
        "description": f"For {call.who}.",
        "tags": ["services"],
        "parameters": _parameters(call, components),
        "responses": responses,
        "security": [{SCHEME: []}],
    }
    if call.takes_bytes:
        operation["requestBody"] = {"required": True, "content": _BYTES}
    elif call.method == "POST" and call.request is not None:
        fields = _fields(call, components)
        body = {name: schema for name, schema in fields.items() if name != "id"}
        schema = {"type": "object", "properties": body, "required": list(body), "additionalProperties": False}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _parameters(call: ServiceCall, components: Mapping[str, object]) -> list[dict[str, object]]:
    if call.request is None:
        return []
    required = {field.name for field in msgspec.structs.fields(call.request) if field.required}
    found: list[dict[str, object]] = []
    for name, schema in _fields(call, components).items():
        if name == "id" or call.method == "GET":
            where = "path" if name == "id" else "query"
            found.append({"name": name, "in": where, "required": name in required, "schema": schema})
    if call.is_ranged:
        pattern = {"type": "string", "pattern": r"^bytes=\d+-\d*$"}
        found.append({"name": "Range", "in": "header", "required": False, "schema": pattern})
    return found


def _fields(call: ServiceCall, components: Mapping[str, object]) -> Mapping[str, object]:
    assert call.request is not None
    return _mapping(_mapping(components[call.request.__name__])["properties"])


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, dict)
    return value
