"""The reference of the REST interface, from the endpoints that server and client bind to."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import typing
from typing import Any

import msgspec

from docs._generate.call_errors import errors_of
from docs._generate.fields import field_docs
from docs._generate.markdown import anchor, code, table
from docs._generate.notes import notes
from docs._generate.types import type_name
from rafiki.contract.all import ENDPOINTS
from rafiki.contract.endpoint import ADMINS, ALL_USERS, MODEL_DEVELOPERS, SUPERADMIN, AnyEndpoint

WHO = {
    None: "anyone, without a token",
    ALL_USERS: "every user who is logged in",
    MODEL_DEVELOPERS: "model developers and admins",
    ADMINS: "admins",
    SUPERADMIN: "the superadmin",
}

FIELDS = {
    "id": "Id.",
    "key": "Key of the environment.",
    "name": "Name.",
    "app": "Name of the app.",
    "app_version": "Version of the app, from 1 on; -1 is the latest where one is asked for.",
    "task": "Name of the [task](tasks.md).",
    "user_id": "Id of the user.",
    "dataset_id": "Id of the dataset.",
    "model_id": "Id of the model.",
    "trial_id": "Id of the trial.",
    "train_job_id": "Id of the train job.",
    "inference_job_id": "Id of the inference job.",
    "train_dataset_id": "Id of the training dataset.",
    "val_dataset_id": "Id of the validation dataset.",
    "job_id": "Id of the train or inference job.",
    "model_name": "Name of the model.",
    "model_class": "Name of the class in the model file.",
    "email": "Email address.",
    "password": "Password.",
    "user_type": "Role of the user.",
    "status": "State.",
    "error": "Why it is `ERRORED`, else null.",
    "datetime_created": "When it was made.",
    "datetime_started": "When it started.",
    "datetime_stopped": "When it ended; null before.",
    "datetime_expires": "When it ends to be valid.",
    "is_expired": "Whether it has ended to be valid.",
    "token_id": "Id of the API token.",
    "labels": "Notes of whoever made it: name -> text.",
    "deployment": "How it serves.",
    "ensemble": "How the members are chosen.",
    "method": "How the members are chosen.",
    "model_file_sha256": "SHA-256 of the file, in hexadecimal digits.",
    "no": "1, 2, 3 ... within its model's search.",
    "score": "Of the trial; null until it is `COMPLETED`.",
    "size": "Trials at most; null is by the method.",
    "reason": "Why; null where nothing went wrong.",
    "requirements": "As pip takes them.",
    "p95_ms": "95% of the answers of the last ten seconds took no longer; null without an answer.",
    "errors": "Requests without a prediction as their answer.",
    "knobs": "Name -> value.",
    "weight": "How much its predictions count; those of all members sum up to 1.",
    "models": "The models of the members.",
    "dependencies": "PyPI package -> version.",
    "file_sha256": "SHA-256 of the file, in hexadecimal digits.",
    "params_sha256": "SHA-256 of the parameters, in hexadecimal digits.",
    "rafiki_version": "Version of Rafiki.",
    "kind": "What it is.",
    "items": "What is freed, or would be.",
    "size_bytes": "Its size on disk.",
    "is_applied": "Whether it was freed, or only listed.",
    "is_freed": "Whether it is freed.",
    "job": "The job as it is now.",
    "trial": "The trial as it is now.",
    "trials": "The trials of the job.",
    "members": "The served trials.",
    "services": "The live services.",
    "environment": "The environment as it stands now.",
    "lines": "Lines of text.",
    "messages": "What was logged as text.",
    "metrics": "`time` and the numbers by name, one entry a call of `log()`.",
    "plots": "The charts that were asked for.",
}
"""Fields that mean the same everywhere, where the struct says nothing of its own."""


def meaning(kind: type, field: str) -> str:
    """The docstring of a field; empty where nobody said what it means."""
    own = field_docs(kind).get(field, "").replace("``", "`")
    return re.sub(r"\bNone\b", "null", own) or FIELDS.get(field, "")


def groups() -> dict[str, list[AnyEndpoint]]:
    """Module of the contract -> its endpoints."""
    contract = importlib.import_module("rafiki.contract.all")
    modules = [m for m in vars(contract).values() if inspect.ismodule(m) and hasattr(m, "ENDPOINTS")]
    order = list(ENDPOINTS)
    modules.sort(key=lambda m: order.index(m.ENDPOINTS[0].name))
    found = {m.__name__.rpartition(".")[2]: list(m.ENDPOINTS) for m in modules}
    assert sorted(e.name for es in found.values() for e in es) == sorted(ENDPOINTS)
    return found


def _title(group: str) -> str:
    docs = importlib.import_module(f"rafiki.contract.{group}").__doc__ or group
    return docs.splitlines()[0].rstrip(".")


# ---- records


def structs_of(response: Any) -> list[type]:
    """The structs in ``response``: itself, those of a list, or the events of a stream."""
    kinds = _leaves(response) or [response]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]


def parts_of(kind: type) -> list[type]:
    """The structs that the fields of one hold, and theirs."""
    found: list[type] = []

    def look(part: Any) -> None:
        if isinstance(part, type) and issubclass(part, msgspec.Struct) and part not in found:
            found.append(part)
            for field in msgspec.structs.fields(part):
                look(field.type)
        for argument in typing.get_args(part):
            look(argument)

    for field in msgspec.structs.fields(kind):
        look(field.type)
    return found


def records() -> list[type]:
    """Every struct that an answer or a request holds, once, by name. Requests themselves stand with their calls."""
    found: dict[str, type] = {}
    for endpoint in ENDPOINTS.values():
        answers = structs_of(endpoint.response)
        for kind in [*answers, *(p for a in answers for p in parts_of(a)), *parts_of(endpoint.request)]:
            if kind.__name__ != "FilePart":
                found[kind.__name__] = kind
    return [found[name] for name in sorted(found, key=record_title)]


def record_title(name: str) -> str:
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name.removesuffix("View").removesuffix("Setting"))
    return (words.strip().capitalize() + (" setting" if name.endswith("Setting") else "")).replace("  ", " ")


def record_label(kind: type) -> str:
    return f"record-{kind.__name__.lower()}"


def _type(kind: Any) -> str:
    """The name of a type, with links to the records in it."""
    text = type_name(kind)
    structs = [kind] if isinstance(kind, type) else []
    structs += _leaves(kind)
    for struct in structs:
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and struct.__name__ != "FilePart":
            text = text.replace(struct.__name__, f"[{record_title(struct.__name__).lower()}](#{record_label(struct)})")
    return text.replace("FilePart", "file")


def _leaves(kind: Any) -> list[Any]:
    arguments = typing.get_args(kind)
    return [leaf for a in arguments for leaf in ([a] if not typing.get_args(a) else _leaves(a))]


def _tag(kind: Any) -> str | None:
    """The ``type`` of an event; None of what is none."""
    return typing.cast("str | None", kind.__struct_config__.tag)


def _record(kind: type) -> str:
    title = record_title(kind.__name__)
    rows = [(code(f.name), _type(f.type), meaning(kind, f.name)) for f in msgspec.structs.fields(kind)]
    about = inspect.cleandoc(kind.__doc__ or "").replace("``", "`") if "__doc__" in vars(kind) else ""
    if tag := _tag(kind):
        rows.insert(0, ("`type`", f"`{tag}`", "Which event it is."))
    parts = [anchor(record_label(kind)), f"### {title}", "", about, "", table(["field", "type", "meaning"], rows)]
    return "\n".join(parts)


# ---- calls


def _place(endpoint: AnyEndpoint, field: str) -> str:
    if field in endpoint.path_fields:
        return "path"
    if endpoint.method == "GET":
        return "query"
    return "form" if endpoint.is_form else "body"


def _default(field: Any) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        return code(json.dumps(msgspec.to_builtins(field.default_factory())))
    return code(json.dumps(msgspec.to_builtins(field.default)))


def _request(endpoint: AnyEndpoint) -> str:
    rows = [
        (code(f.name), _place(endpoint, f.name), _type(f.type), _default(f), meaning(endpoint.request, f.name))
        for f in msgspec.structs.fields(endpoint.request)
    ]
    return table(["field", "in", "type", "default", "meaning"], rows) if rows else ""


def _answer(endpoint: AnyEndpoint) -> str:
    if endpoint.response is bytes:
        return "bytes"
    if getattr(endpoint, "is_stream", False):
        events = [f"[`{_tag(kind)}`](#{record_label(kind)})" for kind in structs_of(endpoint.response)]
        return f"a stream of events: {', '.join(events)}"
    return _type(endpoint.response)


def call(endpoint: AnyEndpoint) -> str:
    """The section of one call."""
    parts = [
        anchor(f"rest-{endpoint.name}"),
        f"### `{endpoint.method} {endpoint.path}`",
        "",
        endpoint.summary,
        "",
        f"**Who:** {WHO.get(endpoint.roles, ', '.join(sorted(endpoint.roles or [])))} · "
        f"**Answer:** {_answer(endpoint)} · **Client:** `{endpoint.name}()`",
        "",
        _request(endpoint),
    ]
    if getattr(endpoint, "is_login_only", False):
        parts += ["Refused to API tokens: it takes the token of a login.", ""]
    if names := errors_of(endpoint):
        parts += [f"**Refused with:** {', '.join(f'[`{name}`](#error-{name.lower()})' for name in names)}", ""]
    if note := notes("rest").get(endpoint.name):
        parts += [note, ""]
    return "\n".join(parts)


def page() -> str:
    parts = []
    for group, endpoints in groups().items():
        parts += [anchor(f"rest-{group}"), f"## {_title(group)}", "", notes("rest").get(group, ""), ""]
        parts += [call(endpoint) for endpoint in endpoints]
    parts += ["(rest-records)=", "## Records", ""]
    return "\n".join([*parts, *map(_record, records())])
