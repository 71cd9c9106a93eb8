"""A host that is not reached is told apart from one where nobody listens now."""

from __future__ import annotations

import pytest

from rafiki.utils.reach import NoWayError, check_way
from rafiki.utils.sockets import any_free_port, listen


def test_somebody_who_listens_is_reached_and_so_is_a_host_where_nobody_listens_yet() -> None:
    with listen("127.0.0.1", 0) as sock:
        check_way("the cache", *sock.getsockname()[:2])
    check_way("the cache", "127.0.0.1", any_free_port(), patience_s=0.0)


@pytest.mark.parametrize("why", [TimeoutError("timed out"), OSError(113, "No route to host")])
def test_an_address_that_leads_nowhere_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, why: OSError) -> None:
    tries = []

    def connect(*args: object, **options: object) -> None:
        tries.append(args)
        raise why

    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(
        NoWayError, match=rf"the cache at 10\.0\.0\.9:6379.*{why.strerror or why}.*advertise_host.*firewall"
    ):
        check_way("the cache", "10.0.0.9", 6379, patience_s=0.2)
    assert len(tries) > 1
