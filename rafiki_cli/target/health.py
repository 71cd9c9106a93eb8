"""What an admin says of itself: asked without a login, and without loading what starts one."""

from __future__ import annotations

import msgspec

from rafiki.client.plain_http import PlainHttp
from rafiki.utils.values import JsonObject


def health(host: str, port: int, timeout_s: float = 2.0) -> JsonObject | None:
    """The answer of the admin to ``GET /``; None when there is none."""
    server = PlainHttp(host, port, connect_timeout_s=timeout_s)
    try:
        found = msgspec.json.decode(server.request("GET", "/", body=None, headers={}, timeout_s=timeout_s)[1])
    except (OSError, ValueError):  # Also where what answers is no JSON.
        return None
    finally:
        server.close()
    return found if isinstance(found, dict) and "status" in found else None
