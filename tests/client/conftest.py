"""A server that speaks the contract, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.http.contract_server import ContractServer

from rafiki.client import Client


@pytest.fixture
def server() -> Iterator[ContractServer]:
    running = ContractServer()
    yield running
    running.close()


@pytest.fixture
def client(server: ContractServer) -> Iterator[Client]:
    with Client("127.0.0.1", server.port) as connected:
        connected.token = "a token"
        yield connected
