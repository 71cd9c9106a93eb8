"""The admin's HTTP interface: the endpoints of the contract bound to the operations of the same names."""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import cast

import msgspec
from python_multipart.multipart import parse_options_header
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

import rafiki
from rafiki.admin import oidc_pages, watch_pages
from rafiki.admin.auditing import CallRecord
from rafiki.admin.auth import is_api_token
from rafiki.admin.context import AdminContext
from rafiki.admin.events import EventStream, Source
from rafiki.admin.operation import Operation
from rafiki.admin.ops.all import OPERATIONS
from rafiki.admin.watched_app import CALL_KEY, STREAM_KEY, USER_KEY
from rafiki.contract.all import ENDPOINTS, openapi
from rafiki.contract.body_encoding import decode_body
from rafiki.contract.endpoint import AnyEndpoint, FilePart, decode_json
from rafiki.contract.http_headers import STACK_HEADER
from rafiki.contract.refusal import refusal_body, refusal_headers
from rafiki.entities import User
from rafiki.errors import (
    InternalError,
    InvalidRequestError,
    LoginProviderError,
    MethodNotAllowedError,
    NotFoundError,
    OtherStackError,
    RafikiError,
    RequestTooLargeError,
    StoreFullError,
    TooManyLoginsError,
    UnauthorizedError,
)
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)

_MAX_JSON_BYTES = 4 << 20
_MAX_STRANGERS_JSON_BYTES = 64 << 10
"""Of a call that anybody may make, such as a login."""
_SMALL_JSON_BYTES = 64 << 10
"""What is larger is read by a thread, beside other calls."""
_FORM_HEADROOM_BYTES = 1024 * 1024
# Of all that Python knows, some make no text, or half a surrogate pair.
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "iso-8859-1"})


def make_app(context: AdminContext) -> Starlette:
    """The ASGI application."""
    by_path: dict[str, list[AnyEndpoint]] = {}
    for endpoint in ENDPOINTS.values():
        by_path.setdefault(endpoint.path, []).append(endpoint)
    # Paths without fields first, so that `/models/available` is no model called "available".
    routes = [
        Route(path, _serve(context, {e.method: OPERATIONS[e.name] for e in endpoints}), methods=_ALL_METHODS)
        for path, endpoints in sorted(by_path.items(), key=lambda item: "{" in item[0])
    ]
    document = msgspec.json.encode(openapi(rafiki.__version__))

    async def get_openapi(request: Request) -> Response:
        return _json(document)

    routes.append(Route("/openapi.json", get_openapi, methods=["GET"]))
    routes += [*oidc_pages.routes(context), *watch_pages.routes(context)]
    app = Starlette(routes=[*routes, *context.door.routes()], exception_handlers={HTTPException: _http_exception})
    # No redirects: whatever is no success is a refusal that names its error.
    app.router.redirect_slashes = False
    return app


def make_door_app(context: AdminContext) -> Starlette:
    """The ASGI application for boxes of this machine: what a service may call with its token, and nothing else."""
    return Starlette(routes=context.door.routes(), exception_handlers={HTTPException: _http_exception})


_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def _json(body: bytes) -> Response:
    # Response would add a charset, and clients compare the type exactly.
    return Response(body, headers={"content-type": "application/json"})


def _error(e: RafikiError) -> Response:
    return Response(refusal_body(e), e.http_status, refusal_headers(e))


async def _http_exception(request: Request, e: Exception) -> Response:
    """What starlette itself refuses: an unknown path or HTTP method."""
    status = e.status_code if isinstance(e, HTTPException) else 500
    if status == MethodNotAllowedError.http_status:
        return _error(MethodNotAllowedError(f"{request.url.path} does not take {request.method}."))
    if status == NotFoundError.http_status:
        return _error(NotFoundError(f"There is no {request.url.path}. The interface is described in /openapi.json."))
    return _error(InvalidRequestError(str(e)))


def _serve(
    context: AdminContext, by_method: dict[str, Operation]
) -> Callable[[Request], Awaitable[Response | EventStream]]:
    allowed = ", ".join(sorted({*by_method, "OPTIONS", *(["HEAD"] if "GET" in by_method else [])}))

    async def serve(request: Request) -> Response | EventStream:
        record = CallRecord(request.client.host if request.client else None)
        try:
            return await answer(request, record)
        except RafikiError as e:
            record.fail(e)
            if isinstance(e, LoginProviderError):
                _logger.warning("the provider of logins: %s", e.message)
            elif e.http_status >= 500:
                log_unexpected(_logger, e)
            refusal = _error(e)
            if isinstance(e, MethodNotAllowedError):
                refusal.headers["allow"] = allowed
            if isinstance(e, TooManyLoginsError):
                refusal.headers["retry-after"] = str(e.retry_after_s)
            return refusal
        except ClientDisconnect:
            record.result = "ClientDisconnect"
            return Response(status_code=400)
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                record.fail(full := StoreFullError("No space is left on the disk of this stack."))
                return _error(full)
            log_unexpected(_logger, e)
            return _error(InternalError())
        except Exception as e:  # noqa: BLE001 - the edge of the server: no stack trace leaves it
            log_unexpected(_logger, e)
            return _error(InternalError())
        finally:
            if (entry := record.entry()) is not None:
                await run_in_threadpool(context.note, entry)

    async def answer(request: Request, record: CallRecord) -> Response | EventStream:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": allowed})
        method = "GET" if request.method == "HEAD" else request.method
        if method not in by_method:
            raise MethodNotAllowedError(f"{request.url.path} takes {allowed}, not {request.method}.")
        _refuse_other_stack(context, request)
        operation = by_method[method]
        endpoint = record.endpoint = operation.endpoint
        request.scope[CALL_KEY], request.scope[STREAM_KEY] = endpoint.name, endpoint.is_stream
        record.fields = request.path_params
        record.actor = await run_in_threadpool(_authenticate, context, endpoint, request)
        request.scope[USER_KEY] = record.actor.id if record.actor else None
        _refuse_role(endpoint, record.actor, request)
        texts = _address_fields(request)
        form: FormData | None = None
        try:
            if endpoint.is_form:
                if (shortage := context.disk.find_shortage()) is not None:
                    raise StoreFullError(shortage)
                form = await _read_form(request, context.config.admin.max_dataset_mb * 1024 * 1024)
                body = _form_fields(form, texts)
            else:
                body = await _read_json(
                    request, _MAX_STRANGERS_JSON_BYTES if endpoint.roles is None else _MAX_JSON_BYTES
                )
            record.fields = {**body, **texts}
            call = endpoint.parse_request(body, texts)
            if endpoint.is_stream and request.method == "HEAD":
                return Response(media_type="text/event-stream")
            found = await run_in_threadpool(operation.serve, context, record.actor, call, record.address)
        finally:
            if form is not None:
                await form.close()
        record.succeed(found)
        if endpoint.is_stream:
            authorize = functools.partial(_authorize, context, endpoint, request)
            return EventStream(context.hub, cast(Source, found), cast(User, record.actor), authorize)
        if endpoint.response is bytes:
            return Response(cast(bytes, found), headers={"content-type": "application/octet-stream"})
        return _json(msgspec.json.encode(found))

    return serve


def _refuse_other_stack(context: AdminContext, request: Request) -> None:
    """A port may have passed from one stack to another since the client learned of it."""
    meant = request.headers.get(STACK_HEADER)
    if meant is not None and meant != context.stack_id:
        raise OtherStackError(
            "The admin at this address is that of another stack, not of the one that is meant: does that one run? "
            "`rafiki status --all` lists those that do."
        )


def _address_fields(request: Request) -> dict[str, str]:
    """The fields that travel in the path and in the query string."""
    texts: dict[str, str] = dict(request.path_params)
    for name, value in request.query_params.multi_items():
        if name in texts:
            raise InvalidRequestError(f"Field {name!r} is given twice in the address.")
        texts[name] = value
    return texts


def _authorize(context: AdminContext, endpoint: AnyEndpoint, request: Request) -> User | None:
    user = _authenticate(context, endpoint, request)
    _refuse_role(endpoint, user, request)
    return user


def _authenticate(context: AdminContext, endpoint: AnyEndpoint, request: Request) -> User | None:
    """Who calls; None where nobody asks."""
    if endpoint.roles is None:
        return None
    if not (token := _token_of(request)):
        raise UnauthorizedError("No token came with this request. Log in with `rafiki login`.")
    return context.user_of_token(token)


def _token_of(request: Request) -> str:
    """What ``Authorization: Bearer`` holds; empty without."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refuse_role(endpoint: AnyEndpoint, user: User | None, request: Request) -> None:
    if endpoint.is_login_only and is_api_token(_token_of(request)):
        raise UnauthorizedError.forbidden(
            "An API token makes no tokens, users or passwords. Log in with `rafiki login` for that."
        )
    if user is not None and endpoint.roles is not None and user.user_type not in endpoint.roles:
        roles = ", ".join(sorted(endpoint.roles))
        raise UnauthorizedError.forbidden(f"This call is for {roles}; you are {user.user_type}.")


async def _limited(request: Request, most_bytes: int, what: str) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most_bytes:
            raise RequestTooLargeError(f"{what} is larger than {most_bytes:,} bytes, the most that this server takes.")
        yield chunk


async def _read_json(request: Request, most_bytes: int) -> Mapping[str, object]:
    data = b"".join([chunk async for chunk in _limited(request, most_bytes, "The request's body")])
    encoding = request.headers.get("content-encoding", "").strip().lower()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if encoding or len(data) > _SMALL_JSON_BYTES:
        return await run_in_threadpool(_decode_object, data, encoding, kind, most_bytes)
    return _decode_object(data, encoding, kind, most_bytes)


def _decode_object(data: bytes, encoding: str, kind: str, most_bytes: int) -> Mapping[str, object]:
    data = decode_body(data, encoding, most_bytes)
    if not data:
        return {}
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise InvalidRequestError("This call takes a JSON body (content-type application/json), not form data.")
    body = decode_json(data, "The body")
    if not isinstance(body, dict):
        raise InvalidRequestError("The body must be a JSON object: {field: value, ...}.")
    return body


async def _read_form(request: Request, most_bytes: int) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        # What clients send when no file travels after all, but a URL.
        fields = FormParser(request.headers, _limited(request, _FORM_HEADROOM_BYTES, "The form"))
        return await fields.parse()
    if kind != "multipart/form-data":
        raise InvalidRequestError(
            "This call takes form data (content-type multipart/form-data), because a file travels."
        )
    _, options = parse_options_header(request.headers["content-type"])
    if (charset := options.get(b"charset", b"utf-8").decode("latin-1").lower()) not in _CHARSETS:
        raise InvalidRequestError(f"The form's charset must be utf-8, not {charset[:80]!r}.")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most_bytes + _FORM_HEADROOM_BYTES:
        raise RequestTooLargeError(
            f"The upload has {int(length):,} bytes; this server takes at most {most_bytes:,} (admin.max_dataset_mb)."
        )
    stream = _limited(request, most_bytes + _FORM_HEADROOM_BYTES, "The upload")
    try:
        return await MultiPartParser(request.headers, stream, max_files=4, max_fields=32).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as e:
        raise InvalidRequestError(f"The form data cannot be read: {getattr(e, 'message', e)}.") from e


def _form_fields(form: FormData, texts: dict[str, str]) -> Mapping[str, object]:
    """Files become parts of the body; text fields join the other fields that travelled as text."""
    body: dict[str, object] = {}
    for name, value in form.multi_items():
        if name in body or name in texts:
            raise InvalidRequestError(f"Field {name!r} is given twice.")
        if isinstance(value, UploadFile):
            body[name] = FilePart(path="", file_name=value.filename or "", file=value.file)
        else:
            texts[name] = value
    return body
