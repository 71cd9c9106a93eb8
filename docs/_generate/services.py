"""The reference of the calls of services, from the declarations that the admin serves."""

from __future__ import annotations

import typing

import msgspec

from docs._generate.fields import field_docs
from docs._generate.markdown import anchor, code, table
from docs._generate.types import type_name
from rafiki.contract.service_calls import SERVICE_CALLS, ServiceCall, refusals_of


def meaning(kind: type, field: str) -> str:
    """The docstring of a field; empty where nobody said what it means."""
    return field_docs(kind).get(field, "").replace("``", "`")


def _place(call: ServiceCall, field: str) -> str:
    if field == "id":
        return "path"
    return "query" if call.method == "GET" else "body"


def answers(call: ServiceCall) -> list[type]:
    """The structs that a call answers with, and those in them."""
    found: list[type] = []

    def look(kind: object) -> None:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            found.append(kind)
            for field in msgspec.structs.fields(kind):
                look(field.type)
        for argument in typing.get_args(kind):
            look(argument)

    look(call.response)
    return found


def _rows(kind: type, place: typing.Callable[[str], str]) -> list[tuple[str, ...]]:
    return [
        (code(f.name), place(f.name), type_name(f.type), meaning(kind, f.name)) for f in msgspec.structs.fields(kind)
    ]


def call(declared: ServiceCall) -> str:
    """The section of one call."""
    answer = "bytes" if declared.response is bytes else "null"
    if kinds := answers(declared):
        answer = f"`{kinds[0].__name__}`"
    also = [
        text
        for holds, text in (
            (declared.has_head, "`HEAD` is answered too."),
            (declared.is_ranged, "`Range: bytes=N-M` is answered with 206 and that part."),
            (declared.redirects, "With `direct=true` the answer may be 307: fetch `Location`, without the token."),
            (declared.takes_bytes, "The body is the bytes."),
        )
        if holds
    ]
    parts = [
        anchor(f"service-{declared.name}"),
        f"## `{declared.method} {declared.path}`",
        "",
        " ".join([declared.summary, *also]),
        "",
        f"**Who:** {declared.who} · **Answer:** {answer}",
        "",
    ]
    if declared.request is not None:
        rows = _rows(declared.request, lambda field: _place(declared, field))
        parts += [table(["field", "in", "type", "meaning"], rows), ""]
    for kind in kinds:
        parts += [table([f"`{kind.__name__}`", "", "type", "meaning"], _rows(kind, lambda _: "answer")), ""]
    refusals = ", ".join(f"[`{e.__name__}`](#error-{e.__name__.lower()})" for e in refusals_of(declared))
    return "\n".join([*parts, f"**Refused with:** {refusals}", ""])


def page() -> str:
    return "\n".join(map(call, SERVICE_CALLS.values()))
