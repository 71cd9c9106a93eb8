"""The admin's pages for whoever watches it: ``/healthz``, ``/readyz``, ``/metrics`` and ``/metrics/targets``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.ops.stack import find_problem
from rafiki.admin.watched_app import CALL_KEY
from rafiki.contract.metrics import METRICS_PAGE, TARGETS_PAGE
from rafiki.contract.probes import HEALTH_PAGE, HEALTHY, READY_PAGE, ReadyView
from rafiki.contract.refusal import refusal_body, refusal_headers
from rafiki.errors import RafikiError, UnauthorizedError
from rafiki.utils.addresses import is_loopback

if TYPE_CHECKING:
    from rafiki.admin.metrics import AdminMetrics

_HEADERS = {"content-type": "application/json", "cache-control": "no-store"}


def routes(context: AdminContext) -> list[Route]:
    """They are no calls of a client. The first two ask for no login and wait for nothing."""

    @cache
    def metrics() -> AdminMetrics:
        # Its library takes 10 ms to load, and memory: who never asks pays nothing.
        from rafiki.admin.metrics import AdminMetrics

        return AdminMetrics(context)

    async def healthz(request: Request) -> Response:
        request.scope[CALL_KEY] = "get_healthz"
        return Response(HEALTHY, headers=_HEADERS)

    async def readyz(request: Request) -> Response:
        request.scope[CALL_KEY] = "get_readyz"
        problem = find_problem(context)
        view = ReadyView(status="ready" if problem is None else "not ready", reason=problem)
        return Response(msgspec.json.encode(view), 200 if problem is None else 503, _HEADERS)

    def write_metrics(request: Request) -> Response:
        text, content_type = metrics().write(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    def write_targets(request: Request) -> Response:
        return Response(msgspec.json.encode(metrics().targets()), headers=_HEADERS)

    async def get_metrics(request: Request) -> Response:
        request.scope[CALL_KEY] = "get_metrics"
        return await run_in_threadpool(_guarded, context, request, write_metrics)

    async def get_targets(request: Request) -> Response:
        request.scope[CALL_KEY] = "get_metrics_targets"
        return await run_in_threadpool(_guarded, context, request, write_targets)

    pages = {HEALTH_PAGE: healthz, READY_PAGE: readyz, METRICS_PAGE: get_metrics, TARGETS_PAGE: get_targets}
    return [Route(path, page, methods=["GET"]) for path, page in pages.items()]


def _guarded(context: AdminContext, request: Request, answer: Callable[[Request], Response]) -> Response:
    try:
        _refuse_strangers(context, request)
        return answer(request)
    except RafikiError as e:
        return Response(refusal_body(e), e.http_status, refusal_headers(e))


def _refuse_strangers(context: AdminContext, request: Request) -> None:
    """
    Raises:
        UnauthorizedError: whoever asks may not read the metrics.
    """
    config, token = context.config, context.metrics_token
    is_for_all = token is None and is_loopback(config.admin.host) and not config.http.trusted_proxies
    if config.metrics.public or is_for_all:
        return
    scheme, _, said = request.headers.get("authorization", "").partition(" ")
    said = said.strip()
    if scheme.lower() != "bearer" or not said:
        raise UnauthorizedError(
            "The metrics take a bearer token here: the one that metrics.token_file holds, or one of an administrator "
            "(`rafiki token create`)."
        )
    if token is not None and token.is_it(said.encode("latin-1", errors="replace")):
        return
    if not is_admin(context.user_of_token(said)):
        raise UnauthorizedError.forbidden("The metrics are for administrators.")
