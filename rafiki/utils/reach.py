"""Whether another machine can be reached at all, told apart from whether a program listens there now."""

from __future__ import annotations

import socket
import threading

from rafiki.utils.clock import Deadline
from rafiki.utils.process import Backoff

_PATIENCE_S = 15.0
_CONNECT_TIMEOUT_S = 5.0


class NoWayError(OSError):
    """Nothing comes back from where somebody is expected; the message says who, where and what to look at."""


def check_way(what: str, host: str, port: int, patience_s: float = _PATIENCE_S) -> None:
    """Somebody answers at the address, be it that nobody listens there: then it is being started.

    Args:
        what: who is expected there: ``the cache``.

    Raises:
        NoWayError: when nothing comes back for so long: a firewall, or an address that leads nowhere.
    """
    deadline, backoff = Deadline(patience_s), Backoff()
    while True:
        try:
            socket.create_connection((host, port), timeout=max(0.1, min(_CONNECT_TIMEOUT_S, deadline.left_s()))).close()
        except ConnectionRefusedError:
            return
        except OSError as e:
            if deadline.is_over():
                raise NoWayError(
                    f"This host ({socket.gethostname()}) does not reach {what} at {host}:{port}: {e.strerror or e}. "
                    "Look whether cluster.advertise_host in rafiki.yaml (or cache.url) is an address that it reaches, "
                    "and whether a firewall between the machines lets this port through."
                ) from e
            threading.Event().wait(min(backoff.next_s(), deadline.left_s()))
        else:
            return
