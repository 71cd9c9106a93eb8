"""What an endpoint is, and how the fields of its request travel."""

from __future__ import annotations

import json
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Generic, Literal, TypeAlias, TypeVar, cast

import msgspec

from rafiki.constants import UserType
from rafiki.errors import InvalidRequestError
from rafiki.utils.values import JsonValue

if TYPE_CHECKING:
    from rafiki.utils.mismatch import Mismatch

Request = TypeVar("Request", bound="RequestStruct")
Answer = TypeVar("Answer")
RequestOf = TypeVar("RequestOf", bound="RequestStruct", covariant=True)
AnswerOf = TypeVar("AnswerOf", covariant=True)

ADMINS = frozenset({UserType.SUPERADMIN, UserType.ADMIN})
MODEL_DEVELOPERS = ADMINS | {UserType.MODEL_DEVELOPER}
ALL_USERS = frozenset(UserType)
SUPERADMIN = frozenset({UserType.SUPERADMIN})

Number: TypeAlias = Annotated[int, msgspec.Meta(le=2**63 - 1)]
"""A whole number that every database holds."""

Labels: TypeAlias = Annotated[
    dict[
        Annotated[str, msgspec.Meta(min_length=1, max_length=63)],
        Annotated[str, msgspec.Meta(max_length=1000)],
    ],
    msgspec.Meta(max_length=32),
]
"""Notes on a job: at most 32 names of at most 63 characters, each with a text of at most 1,000."""

CALL_TIMEOUT_S = 30.0
JOB_TIMEOUT_S = 60.0
"""For calls that start or stop services."""
INSTALL_TIMEOUT_S = 3600.0
"""For calls that may wait until packages are installed; the admin ends its own wait before."""
CHECK_TIMEOUT_S = 600.0
"""For uploads: the longest time that the admin may take to check and store a file after its last byte."""

_MAX_DEPTH = 64
"""Levels of lists and objects in a JSON value. What can just be read on Python's stack could not be written again."""


def decode_json(data: bytes | str, what: str) -> JsonValue:
    """Plain values from JSON of a request.

    Args:
        data: the JSON.
        what: begins the message of a refusal: ``"The body"``.

    Raises:
        InvalidRequestError: when it is no JSON, nested too deeply, or gives a field of an object twice.
    """
    try:
        value: JsonValue = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError) as e:
        from rafiki.utils.json_text import why_not_json

        raise InvalidRequestError(f"{what} is no valid JSON: {why_not_json(data) or 'it cannot be read'}.") from e
    except RecursionError as e:
        raise _too_deep(what) from e
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
        ]
        if not level:
            _refuse_twice(data, what)
            return value
    raise _too_deep(what)


def _refuse_twice(data: bytes | str, what: str) -> None:
    """Readers of JSON differ in which of two values of one field they take, so neither is taken."""

    def look(pairs: list[tuple[str, object]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
            raise InvalidRequestError(f"{what} gives the field {twice[:80]!r} twice.")

    json.loads(data, object_pairs_hook=look, parse_int=str, parse_float=str)


def _too_deep(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{what} is nested deeper than {_MAX_DEPTH} levels.")


class RequestStruct(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Every field of a request: those of the path, the query string and the body together."""


class Empty(RequestStruct, frozen=True, kw_only=True):
    """A request without fields."""


if TYPE_CHECKING:
    ArrivedFile: TypeAlias = BinaryIO
else:
    ArrivedFile = Any  # never part of a message


class FilePart(msgspec.Struct, frozen=True):
    """A file in form data, streamed on both sides."""

    path: str
    """Where the client reads it from; empty on the server."""
    file_name: str
    file: ArrivedFile | None = None
    """What arrived, on the server: a binary file object at its start."""

    @property
    def arrived(self) -> BinaryIO:
        """What arrived; only the server has it."""
        assert self.file is not None
        return self.file


class Audited(msgspec.Struct, frozen=True):
    """What the audit log tells of a call."""

    action: str
    """Noun and verb: ``user.ban``."""
    fields: tuple[str, ...] = ()
    """Those of the request and of its answer that say what it was about; none that may hold a secret."""


class Endpoint(msgspec.Struct, Generic[RequestOf, AnswerOf], frozen=True, kw_only=True, dict=True):
    """One call: its request and the answer to it. ``name`` is the name of the client method and of the admin operation
    that serve it."""

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    """With ``{field}`` for fields that travel in the path."""
    request: type[RequestOf]
    response: object
    """The type of the JSON answer; ``bytes`` for ``application/octet-stream``; of a stream, the union of its events."""
    roles: frozenset[UserType] | None
    """Who may call it; None = anyone, without a token. Ownership is checked by the operation."""
    summary: str
    timeout_s: float = CALL_TIMEOUT_S
    """How long a client waits for the answer."""
    is_form: bool = False
    """The body is form data, because a file travels."""
    is_login_only: bool = False
    """Refused to API tokens: what would outlive their revocation takes the token of a login."""
    is_stream: bool = False
    """The answer is a stream of events (``text/event-stream``) that goes on until what is watched has ended. The
    ``data`` of each is JSON with its kind as ``type``; a refusal is an answer like any other."""
    asks_provider: bool = False
    """Whether a provider of logins is asked, which may be down: then the answer is a 503."""
    audited: Audited | None = None
    """None = it is not in the audit log, because it changes nothing."""

    @property
    def answer_type(self) -> type[AnswerOf]:
        """``response`` for a reader of answers; a union is no ``type`` for mypy."""
        return cast("type[AnswerOf]", self.response)

    @cached_property
    def path_fields(self) -> frozenset[str]:
        return frozenset(re.findall(r"{(\w+)}", self.path))

    @cached_property
    def fields(self) -> dict[str, object]:
        """Field name -> its type."""
        return {f.name: f.type for f in msgspec.structs.fields(self.request)}

    @cached_property
    def file_fields(self) -> frozenset[str]:
        return frozenset(n for n, t in self.fields.items() if FilePart in (t, *typing.get_args(t)))

    @cached_property
    def readers(self) -> dict[str, Callable[[object], object]]:
        """Field name -> what reads it, of those whose type reads what people write, with refusals of its own."""
        found: dict[str, Callable[[object], object]] = {}
        for name, kind in self.fields.items():
            for member in _members(kind):
                if hasattr(member, "from_request"):
                    found[name] = member.from_request
        return found

    def parse_request(self, body: Mapping[str, object], texts: Mapping[str, str]) -> RequestOf:
        """The request from its JSON ``body`` and from ``texts`` (path, query string, form fields).

        Raises:
            InvalidRequestError: naming the field that is missing, unknown, given twice or of the wrong type.
        """
        values = dict(body)
        for name, text in texts.items():
            if name in values:
                raise InvalidRequestError(f"Field {name!r} is given twice, in the body and in the address.")
            values[name] = _from_text(name, text, self.fields[name]) if name in self.fields else text
        if unknown := values.keys() - self.fields.keys():
            known = ", ".join(sorted(self.fields)) or "none"
            raise InvalidRequestError(
                f"Unknown field(s) {', '.join(map(repr, sorted(unknown)[:10]))}. This call takes: {known}."
            )
        files = {n: values.pop(n) for n in self.file_fields if isinstance(values.get(n), FilePart)}
        values |= files
        # What has the right form goes to its reader; the rest is refused as any field is.
        to_read = {n: values.pop(n) for n in self.readers if _may_be_read(values.get(n), self.fields[n])}
        try:
            request = msgspec.convert(values, self.request)
        except msgspec.ValidationError as e:
            from rafiki.utils.mismatch import explain_mismatch

            raise InvalidRequestError(_say(explain_mismatch(values, self.request, e))) from e
        read = {name: self.readers[name](value) for name, value in to_read.items()}
        return msgspec.structs.replace(request, **read) if read else request


AnyEndpoint: TypeAlias = Endpoint[RequestStruct, object]


def _say(mismatch: Mismatch) -> str:
    where = mismatch.where.removeprefix("$").removeprefix(".")
    if mismatch.problem == "missing":
        return f"Field {'.'.join(filter(None, (where, mismatch.name)))!r} is missing."
    return f"Field {where!r}: {mismatch.reason}." if where else f"{mismatch.reason}."


def _may_be_read(value: object, kind: object) -> bool:
    """Whether it has the form that a reader takes. One that takes texts too refuses other forms in its own words."""
    return isinstance(value, dict) or (value is not None and str in _members(kind))


def _members(kind: object) -> tuple[object, ...]:
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return typing.get_args(kind)
    return (kind,)


def _from_text(name: str, text: str, kind: object) -> object:
    """A field that travelled as text, as its declared type; JSON for lists and objects."""
    members = [m for m in _members(kind) if m is not type(None)]
    if members == [str]:
        return text
    if text == "" and type(None) in _members(kind):
        return None
    if any(typing.get_origin(m) in (dict, list) for m in members):
        return decode_json(text, f"Field {name!r}")
    try:
        return msgspec.to_builtins(msgspec.convert(text, kind, strict=False))
    except msgspec.ValidationError as e:
        from rafiki.utils.mismatch import explain_mismatch

        reason = explain_mismatch(_scalar(text), kind, e).reason
        raise InvalidRequestError(f"Field {name!r}: cannot read {text[:80]!r}: {reason}.") from e


def _scalar(text: str) -> JsonValue:
    """The number, the truth or the null that a text writes; else the text."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    return text if isinstance(value, (str, list, dict)) else value


class ErrorBody(msgspec.Struct, frozen=True):
    """The JSON body of every refusal. ``error`` is the class name in :mod:`rafiki.errors`."""

    error: str
    message: str
