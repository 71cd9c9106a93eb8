"""What an admin says of itself: asked without a login, and without loading what starts one."""

from __future__ import annotations

import msgspec

from rafiki.client.http_server import join_address
from rafiki.client.plain_http import PlainHttp
from rafiki.client.trust import Trust
from rafiki.errors import AdminLostError
from rafiki.utils.values import JsonObject


def health(host: str, port: int, timeout_s: float = 2.0, *, trust: Trust | None = None) -> JsonObject | None:
    """The answer of the admin to ``GET /``; None when there is none."""
    try:
        return ask_health(host, port, timeout_s, trust=trust)
    except AdminLostError:
        return None


def ask_health(host: str, port: int, timeout_s: float, *, trust: Trust | None = None) -> JsonObject | None:
    """The answer of the admin to ``GET /``; None when there is no admin.

    Raises:
        AdminLostError: it takes the connection, and does not answer.
    """
    server = PlainHttp(host, port, connect_timeout_s=timeout_s, trust=trust)
    try:
        found = msgspec.json.decode(server.request("GET", "/", body=None, headers={}, timeout_s=timeout_s)[1])
    except TimeoutError as e:
        raise AdminLostError(
            f"The admin at {join_address(host, port)} takes connections, but has not answered for {timeout_s:g} s: it "
            "hangs, or its machine does. `rafiki doctor` looks further."
        ) from e
    except (OSError, ValueError):  # Also where what answers is no JSON.
        return None
    finally:
        server.close()
    return found if isinstance(found, dict) and "status" in found else None
