"""Requests to a provider, which may be down, slow, somebody else or broken: bounded in time and size, and answered in
JSON or not at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpx
import msgspec

from rafiki.distribution import USER_AGENT
from rafiki.errors import LoginProviderError
from rafiki.oidc.settings import is_safe_url
from rafiki.utils.addresses import is_loopback
from rafiki.utils.clock import Deadline
from rafiki.utils.urls import mask_url
from rafiki.utils.values import JsonObject

_MOST_BYTES = 1 << 20
_HEADERS = {"user-agent": USER_AGENT, "accept": "application/json", "accept-encoding": "identity"}


class Answer(msgspec.Struct, frozen=True):
    """What a provider said."""

    url: str
    status: int
    body: JsonObject

    def error(self) -> str | None:
        """The name of an OAuth error (``authorization_pending``); None where it is none."""
        found = self.body.get("error")
        return found[:80] if isinstance(found, str) and self.status >= 400 else None


def ask(
    url: str,
    *,
    form: str | None = None,
    headers: Mapping[str, str] | None = None,
    trust: ssl.SSLContext,
    deadline: Deadline,
) -> Answer:
    """GET, or POST of a form.

    Args:
        form: as it is sent; None = GET.
        headers: besides the usual ones.

    Raises:
        LoginProviderError: no answer within the deadline, or one that is no JSON object, too large or a redirect.
    """
    where = mask_url(url)
    if not is_safe_url(url):
        raise LoginProviderError(f"The provider names {where}, which is neither https nor on this machine.")
    try:
        return asyncio.run(asyncio.wait_for(_ask(url, where, form, headers or {}, trust), deadline.left_s()))
    except TimeoutError as e:
        raise LoginProviderError(f"{where} did not answer within {deadline.duration_s:g} s (oidc.timeout_s).") from e
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as e:
        reason = str(e) or type(e).__name__
        raise LoginProviderError(f"{where} cannot be asked: {reason[:300]}.") from e


async def _ask(url: str, where: str, form: str | None, headers: Mapping[str, str], trust: ssl.SSLContext) -> Answer:
    # A proxy that the environment names leads out of this network, and to nothing on this machine.
    is_here = is_loopback(httpx.URL(url).host)
    sent = {**_HEADERS, **headers}
    if form is not None:
        sent["content-type"] = "application/x-www-form-urlencoded"
    async with (
        httpx.AsyncClient(verify=trust, timeout=None, follow_redirects=False, trust_env=not is_here) as client,
        client.stream("GET" if form is None else "POST", url, content=form, headers=sent) as response,
    ):
        if response.is_redirect or 300 <= response.status_code < 400:
            to = mask_url(str(response.headers.get("location", "")))[:200]
            raise LoginProviderError(f"{where} redirects to {to}, which is not followed. Name the right address.")
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise LoginProviderError(f"{where} answers with a compressed body, which was not asked for.")
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > _MOST_BYTES:
                raise LoginProviderError(f"{where} answers with more than {_MOST_BYTES:,} bytes.")
        status = response.status_code
    try:
        body: object = msgspec.json.decode(bytes(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise LoginProviderError(f"{where} answers with status {status} and no JSON. Is it the right address?") from e
    if not isinstance(body, dict):
        raise LoginProviderError(f"{where} answers with JSON that is no object.")
    return Answer(url, status, body)
