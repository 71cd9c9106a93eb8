"""Where browsers begin a login with an account of an organisation, and where they come back."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rafiki.admin.auditing import CallRecord
from rafiki.admin.context import AdminContext
from rafiki.admin.oidc_flows import CODE_S, new_flow
from rafiki.admin.ops.oidc import finish_page, provider_of
from rafiki.contract.oidc import CALLBACK_PAGE, COOKIE, FINISH_OIDC_LOGIN, LOGIN_PAGE
from rafiki.contract.refusal import refusal_body, refusal_headers
from rafiki.errors import (
    InternalError,
    LoginProviderError,
    NotFoundError,
    RafikiError,
    TooManyLoginsError,
    UnauthorizedError,
)
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)
_NOT_KEPT = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_MOST_CHARS = 4096


def routes(context: AdminContext) -> list[Route]:
    """Both pages. They are no calls of a client: the answers are for a browser, and a cookie goes along."""

    async def login(request: Request) -> Response:
        return await run_in_threadpool(_guarded, lambda: _begin(context))

    async def callback(request: Request) -> Response:
        record = CallRecord(request.client.host if request.client else None)
        record.endpoint = FINISH_OIDC_LOGIN
        answer = await run_in_threadpool(_guarded, lambda: _come_back(context, request, record), record)
        if (entry := record.entry()) is not None:
            await run_in_threadpool(context.note, entry)
        return answer

    return [Route(LOGIN_PAGE, login, methods=["GET"]), Route(CALLBACK_PAGE, callback, methods=["GET"])]


def _guarded(answer: Callable[[], Response], record: CallRecord | None = None) -> Response:
    try:
        return answer()
    except RafikiError as e:
        error = e
        if isinstance(e, LoginProviderError):
            _logger.warning("the provider of logins: %s", e.message)
        if record is not None:
            record.fail(e)
    except Exception as e:  # noqa: BLE001 - the edge of the server: no stack trace leaves it
        log_unexpected(_logger, e)
        error = InternalError()
    refusal = Response(refusal_body(error), error.http_status, {**refusal_headers(error), **_NOT_KEPT})
    if isinstance(error, TooManyLoginsError):
        refusal.headers["retry-after"] = str(error.retry_after_s)
    return refusal


def _callback_url(context: AdminContext) -> str:
    url = provider_of(context).client.callback_url
    if url is None:
        raise NotFoundError(
            "Browsers cannot log in here: oidc.callback_url is not set. From a terminal: `rafiki login --oidc`."
        )
    return url


def _begin(context: AdminContext) -> Response:
    url = _callback_url(context)
    flow = new_flow("page", url)
    to = provider_of(context).authorization_url(url, state=flow.state, nonce=flow.nonce, verifier=flow.verifier)
    answer = Response(status_code=302, headers={"location": to, **_NOT_KEPT})
    # Lax: the provider's page sends the browser back, and nothing else of other sites may use it.
    answer.set_cookie(
        COOKIE, context.flows.seal(flow), max_age=CODE_S, path="/oidc", secure=url.startswith("https://"),
        httponly=True, samesite="lax",
    )  # fmt: skip
    return answer


def _come_back(context: AdminContext, request: Request, record: CallRecord) -> Response:
    _callback_url(context)
    code, state, iss, error = (_parameter(request, name) for name in ("code", "state", "iss", "error"))
    sealed = request.cookies.get(COOKIE)
    if sealed is None:
        raise UnauthorizedError(f"This browser has begun no login here, or too long ago. Begin at {LOGIN_PAGE}.")
    if error is not None:
        shown = error[:80] if error.isascii() and error.isprintable() else "an error"
        raise UnauthorizedError(f"The provider let nobody in ({shown}). Begin anew at {LOGIN_PAGE}.")
    found = finish_page(context, sealed, code, state, iss, record.address)
    record.succeed(found)
    answer = Response(msgspec.json.encode(found), headers={"content-type": "application/json", **_NOT_KEPT})
    answer.delete_cookie(COOKIE, path="/oidc", httponly=True, samesite="lax")
    return answer


def _parameter(request: Request, name: str) -> str | None:
    values = request.query_params.getlist(name)
    if len(values) > 1 or (values and len(values[0]) > _MOST_CHARS):
        raise UnauthorizedError(f"The browser came back with a {name} that cannot be right. Begin at {LOGIN_PAGE}.")
    return values[0] if values else None
