"""How a service reads what it was started with: from a file, or from the admin where it runs on another host."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from rafiki.constants import ExitCode
from rafiki.utils.clock import Deadline
from rafiki.utils.process import Backoff
from rafiki.utils.reach import NoWayError, check_way

TOKEN_FILE_VARIABLE = "RAFIKI_SERVICE_TOKEN_FILE"
"""Names the file with the token of a service that fetches its spec."""
_FETCH_TIMEOUT_S = 120.0
"""The admin may be restarting."""
T = TypeVar("T")


def is_on_another_host() -> bool:
    """Whether this service fetches its spec from the admin."""
    return TOKEN_FILE_VARIABLE in os.environ


def read_spec(kind: type[T]) -> T:
    """The spec that the only argument names: a file, or an address of the admin. Exits with a usage error when there
    is none."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"error: {Path(sys.argv[0]).name} is started by the admin, with the path of its spec.\n")
        sys.exit(ExitCode.USAGE)
    where = sys.argv[1]
    try:
        data = _fetch(where) if where.startswith(("http://", "https://")) else Path(where).read_bytes()
        return msgspec.msgpack.decode(data, type=kind)
    except NoWayError as e:
        sys.stderr.write(f"error: {e}\n")
        sys.exit(ExitCode.UNREACHABLE)
    except (OSError, msgspec.DecodeError) as e:
        sys.stderr.write(f"error: {where}: cannot read this service's spec: {e}\n")
        sys.exit(ExitCode.USAGE)


def _why_not_trusted(failure: object) -> str | None:
    import ssl

    return failure.verify_message if isinstance(failure, ssl.SSLCertVerificationError) else None


def _fetch(url: str) -> bytes:
    """What the admin answers to the token in the file that the environment names: its first line. What follows are the
    authorities that may have signed the admin's certificate, where it speaks TLS.

    Raises:
        OSError: when it refuses, or has not answered for two minutes.
        NoWayError: when there is no way to it.
    """
    import urllib.error
    import urllib.request

    parts = urlsplit(url)
    check_way("the admin", parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    text = Path(os.environ.get(TOKEN_FILE_VARIABLE, "/run/secrets/rafiki-token")).read_text().strip()
    token, _, authorities = text.partition("\n")
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    deadline, backoff = Deadline(_FETCH_TIMEOUT_S), Backoff()
    # A host's own proxy is not the way to the admin.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if url.startswith("https://"):
        from rafiki.utils.certificates import context_trusting

        handlers.append(urllib.request.HTTPSHandler(context=context_trusting(authorities or None)))
    opener = urllib.request.build_opener(*handlers)
    while True:
        try:
            with opener.open(request, timeout=30.0) as answer:
                data: bytes = answer.read()
                return data
        except urllib.error.HTTPError as e:
            if e.code < 500:
                raise OSError(f"HTTP {e.code}: {e.read(1000).decode(errors='replace')}") from e
            failure: OSError = e
        except OSError as e:
            failure = e
            if (reason := _why_not_trusted(getattr(e, "reason", e))) is not None:
                raise OSError(f"the certificate of the admin is not trusted: {reason}") from e
        if deadline.is_over():
            raise failure
        threading.Event().wait(min(backoff.next_s(), deadline.left_s()))
