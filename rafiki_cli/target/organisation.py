"""Logging in with an account of an organisation: in a browser of this machine, or of another device."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from rafiki.errors import LoginProviderError, UnauthorizedError
from rafiki_cli import terminal

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.oidc import OidcLoginView, OidcStartView

_PATH = "/rafiki"
_DONE = b"""<!doctype html><meta charset="utf-8"><title>Rafiki</title>
<p style="font: 1.2em sans-serif; margin: 3em">You may close this page and go back to the terminal.</p>"""
_SLOWEST_S = 60.0
"""Between two questions to a provider that does not answer."""
_REQUEST_S = 10.0
"""How long one request of the browser may take."""


def has_browser() -> bool:
    """Whether a browser opens here, before the eyes of whoever types."""
    if "SSH_CONNECTION" in os.environ or not sys.stdin.isatty():
        return False
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import webbrowser

    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def log_in(client: AdminClient, *, in_browser: bool, link_to: str | None) -> OidcLoginView:
    """Wait until somebody has logged in at the provider.

    Args:
        in_browser: of this machine; else on any device.
        link_to: token of a user whose account this becomes.

    Raises:
        UnauthorizedError: nobody is let in, or not in time.
    """
    return _in_browser(client, link_to) if in_browser else _on_device(client, link_to)


def _on_device(client: AdminClient, link_to: str | None) -> OidcLoginView:
    from rafiki.utils.clock import Deadline

    begun = client.start_oidc_login()
    terminal.say(f"Open {begun.url} in any browser, and see that it shows the code {begun.user_code}.")
    deadline, wait_s = Deadline(begun.expires_in_s), begun.interval_s or 1.0
    # Nothing tells when somebody agrees: the provider says how often it may be asked.
    while not threading.Event().wait(min(wait_s, deadline.left_s())) and not deadline.is_over():
        try:
            found = client.finish_oidc_login(begun.login, link_to=link_to)
        except LoginProviderError as e:
            wait_s = min(2 * wait_s, _SLOWEST_S)
            terminal.warn(f"{e.message} It is asked again in {wait_s:g} s.")
            continue
        if not found.is_pending:
            return found
        wait_s += found.slower_s
    raise UnauthorizedError(f"Nobody has logged in within {begun.expires_in_s:,} s. Begin anew.")


def _in_browser(client: AdminClient, link_to: str | None) -> OidcLoginView:
    import webbrowser

    with _Listener() as listener:
        begun = client.start_oidc_login(f"http://127.0.0.1:{listener.port}{_PATH}")
        terminal.say(f"Log in in the browser that opens. If none does, open {begun.url}")
        webbrowser.open(begun.url)
        returned = listener.wait(begun)
    if (error := returned.get("error")) is not None:
        raise UnauthorizedError(f"The provider let nobody in ({error[:80]}).")
    return client.finish_oidc_login(
        begun.login, code=returned.get("code"), state=returned.get("state"), iss=returned.get("iss"), link_to=link_to
    )


class _Listener:
    """Where the browser comes back to: a port of this machine, for one login (RFC 8252, section 7.3)."""

    def __init__(self) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        from urllib.parse import parse_qsl, urlsplit

        found: dict[str, str] = {}
        has_come = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            timeout = _REQUEST_S

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                is_it = parts.path == _PATH and not has_come.is_set()
                self.send_response(200 if is_it else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("connection", "close")
                self.end_headers()
                if is_it:
                    self.wfile.write(_DONE)
                    found.update(parse_qsl(parts.query))
                    has_come.set()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the address holds the code."""

        self._found, self._has_come = found, has_come
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> _Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, begun: OidcStartView) -> dict[str, str]:
        """What the browser came back with.

        Raises:
            UnauthorizedError: it did not, in time.
        """
        if not self._has_come.wait(begun.expires_in_s):
            raise UnauthorizedError(f"No browser came back within {begun.expires_in_s:,} s. Begin anew.")
        return self._found
