"""Where services of other hosts come in: over TLS with the stack's own authority, or at the admin itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rafiki.admin.authority import server_tls
from rafiki.admin.entrance import Entrance, open_entrance
from rafiki.config import load_config
from rafiki.container.base import Address
from rafiki.errors import ConfigError, StackError
from rafiki.stack_folder import StackFolder
from rafiki.store_location import StoreLocation
from rafiki.stores.remote.connection import AwayError, RemoteConnection
from rafiki.utils.spec import TOKEN_FILE_VARIABLE, read_spec

ADMIN = Address("127.0.0.1", 3000)


def own_address() -> str:
    """One of this machine's that is not the loopback."""
    found = [
        a.address for addresses in psutil.net_if_addrs().values() for a in addresses
        if a.family is socket.AF_INET and not a.address.startswith("127.")
    ]  # fmt: skip
    if not found:
        pytest.skip("this machine has no address but the loopback")
    return found[0]


def opened(base: Path, **cluster: object) -> Entrance:
    base.mkdir(exist_ok=True)
    lines = "".join(f"  {name}: {value}\n" for name, value in cluster.items())
    (base / "rafiki.yaml").write_text(f"cluster:\n{lines}" if lines else "")
    loaded = load_config(base / "rafiki.yaml", environ={})
    folder = StackFolder(loaded)
    folder.create()
    return open_entrance(loaded, folder, ADMIN)


class _Door:
    def routes(self) -> list[BaseRoute]:
        async def answer(request: Request) -> Response:
            return Response(b"\xa5hello")

        return [Route("/spec", answer), Route("/stores/x", answer)]


@pytest.fixture
def entrance(tmp_path: Path) -> Iterator[Entrance]:
    made = opened(tmp_path / "stack", advertise_host=own_address(), tls="true")
    assert made.listener is not None
    server = made.listener.server(_Door())  # type: ignore[arg-type]
    import asyncio

    thread = threading.Thread(target=lambda: asyncio.run(server.run_until_ended()))
    thread.start()
    yield made
    server.end()
    thread.join()


def test_a_service_fetches_its_spec_and_reaches_its_stores_with_what_its_secret_holds(
    entrance: Entrance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entrance.url.startswith("https://")
    location = StoreLocation(url=f"{entrance.url}/stores", authorities=entrance.authorities)
    assert RemoteConnection(location).request("GET", "x") == b"\xa5hello"
    (tmp_path / "secret").write_text(f"token\n{entrance.authorities}")
    monkeypatch.setenv(TOKEN_FILE_VARIABLE, str(tmp_path / "secret"))
    monkeypatch.setattr("sys.argv", ["worker", f"{entrance.url}/spec"])
    assert read_spec(str) == "hello"


def test_whoever_trusts_another_authority_sends_nothing(
    entrance: Entrance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = server_tls(tmp_path / "stranger", ["127.0.0.1"]).authorities
    location = StoreLocation(url=f"{entrance.url}/stores", authorities=stranger)
    with pytest.raises(AwayError, match="certificate"), RemoteConnection(location).answer("GET", "x"):
        pass
    (tmp_path / "secret").write_text(f"token\n{stranger}")
    monkeypatch.setenv(TOKEN_FILE_VARIABLE, str(tmp_path / "secret"))
    monkeypatch.setattr("sys.argv", ["worker", f"{entrance.url}/spec"])
    with pytest.raises(SystemExit):
        read_spec(str)
    assert "the certificate of the admin is not trusted: " in capsys.readouterr().err


def test_the_authority_and_the_port_outlive_the_admin(tmp_path: Path) -> None:
    host = own_address()
    first = opened(tmp_path, advertise_host=host, tls="true")
    assert first.listener is not None
    first.listener.close()
    second = opened(tmp_path, advertise_host=host, tls="true")
    assert second.listener is not None
    second.listener.close()
    assert (first.url, first.authorities) == (second.url, second.authorities)
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / ".rafiki" / "tls").iterdir())
    (tmp_path / ".rafiki" / "tls" / "authority.pem").write_text("damaged")
    third = server_tls(tmp_path / ".rafiki" / "tls", [host])
    assert third.authorities != first.authorities


def test_on_one_machine_it_is_the_admins_own_socket(tmp_path: Path) -> None:
    assert opened(tmp_path) == opened(tmp_path, advertise_host="127.0.0.1")
    assert opened(tmp_path).url == "http://127.0.0.1:3000"


def test_a_port_that_is_taken_and_an_address_of_others_are_refused(tmp_path: Path) -> None:
    host = own_address()
    with socket.create_server((host, 0)) as taken, pytest.raises(StackError, match=r"cluster\.port"):
        opened(tmp_path, advertise_host=host, port=taken.getsockname()[1])
    with pytest.raises(ConfigError, match="no address of this machine"):
        opened(tmp_path, advertise_host="203.0.113.7")
