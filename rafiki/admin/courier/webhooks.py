"""Sends one event to one webhook."""

from __future__ import annotations

import time
from urllib.parse import quote, urlsplit

import httpcore
import msgspec

from rafiki.admin.guarded_http import CONNECT_S, GuardedBackend, GuardError
from rafiki.distribution import USER_AGENT
from rafiki.entities import Delivery
from rafiki.job_events import JobEvent
from rafiki.utils.clock import Deadline
from rafiki.utils.ids import short_id
from rafiki.webhook_signature import sign

_GONE = 410


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended."""

    status: int | None = None
    error: str | None = None
    """Why it failed, for the webhook's owner; None when it succeeded. Never holds what the receiver sent: whoever names
    an address is not to read what is there."""
    is_gone: bool = False
    """The receiver wants nothing any more."""


def body_of(delivery: Delivery, facts: dict[str, object], admin_url: str) -> bytes:
    """The body of an event: the same at each attempt.

    Args:
        facts: what is known of it besides its own data.
        admin_url: where links lead.
    """
    data = {**facts, **delivery.data}
    return msgspec.json.encode(
        {
            "id": delivery.event_id,
            "type": delivery.event,
            "timestamp": delivery.datetime_created,
            "data": data,
            "links": _links(delivery.event, data, admin_url),
        }
    )


def _links(event: JobEvent, data: dict[str, object], admin_url: str) -> dict[str, str]:
    if "app" not in data or "app_version" not in data:
        return {}
    app = f"{quote(str(data['app']), safe='')}/{data['app_version']}"
    links = {"train_job": f"{admin_url}/train_jobs/{app}"}
    if "trial_id" in data:
        links["trial"] = f"{admin_url}/trials/{data['trial_id']}"
    if "inference_job_id" in data:
        links["inference_job"] = f"{admin_url}/inference_jobs/{app}"
    return links


def send(
    url: str, key: bytes, event_id: str, body: bytes, *, timeout_s: float, allow_private: bool
) -> Answer:  # fmt: skip
    """One attempt. Redirects are not followed, and no proxy is asked."""
    backend = GuardedBackend(Deadline(timeout_s), allow_private=allow_private)
    timeouts = {"connect": CONNECT_S, "read": timeout_s, "write": timeout_s, "pool": CONNECT_S}
    headers = [
        ("Host", urlsplit(url).netloc),
        ("User-Agent", USER_AGENT),
        ("Content-Type", "application/json"),
        *sign(key, event_id, int(time.time()), body).items(),
        ("Content-Length", str(len(body))),
    ]
    try:
        with (
            httpcore.ConnectionPool(network_backend=backend, max_connections=1) as pool,
            # The body of the answer is not read.
            pool.stream("POST", url, headers=headers, content=body, extensions={"timeout": timeouts}) as response,
        ):
            return _answer(response.status)
    except GuardError as e:
        return Answer(error=f"{e}.")
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as e:
        return Answer(error=f"{type(e).__name__} {e}".rstrip() + ".")
    except httpcore.UnsupportedProtocol as e:
        return Answer(error=f"{e}.")


def _answer(status: int) -> Answer:
    if 200 <= status < 300:
        return Answer(status=status)
    if 300 <= status < 400:
        return Answer(status=status, error=f"It answers with status {status}: redirects are not followed.")
    return Answer(status=status, error=f"It answers with status {status}.", is_gone=status == _GONE)


def label(delivery: Delivery) -> str:
    """An event, as logs name it."""
    return f"{delivery.event} {short_id(delivery.event_id)}"
