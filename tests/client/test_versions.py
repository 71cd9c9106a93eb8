"""A client and an admin of different versions: what is refused because one does not know it says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.http.contract_server import ContractServer

from rafiki import __version__
from rafiki.client import Client
from rafiki.client.records import AdminClient
from rafiki.errors import InvalidRequestError, InvalidTrainJobError, NotFoundError, RafikiError, UnreachableError


@pytest.fixture
def server() -> Iterator[ContractServer]:
    running = ContractServer()
    yield running
    running.close()


@pytest.mark.parametrize("kind", [Client, AdminClient])
@pytest.mark.parametrize("error", [InvalidRequestError("Unknown field(s) 'priority'."), NotFoundError("No /new.")])
def test_a_refusal_of_what_is_not_known_names_both_versions(
    server: ContractServer, kind: type[Client | AdminClient], error: RafikiError
) -> None:
    server.version, server.answers["get_health"] = "0.0.1", error
    with kind("127.0.0.1", server.port) as client, pytest.raises(type(error)) as refused:
        client.get_health()
    assert refused.value.message == (
        f"{error.message} The admin at 127.0.0.1:{server.port} is version 0.0.1, this client is {__version__}. "
        "Use one version on both sides."
    )


@pytest.mark.parametrize(
    ("version", "error"),
    [
        (__version__, InvalidRequestError("Field 'app' is missing.")),
        (None, InvalidRequestError("Field 'app' is missing.")),
        ("0.0.1", InvalidTrainJobError("There is no train job 'x'.")),
    ],
)
def test_other_refusals_stay_as_they_are(server: ContractServer, version: str | None, error: RafikiError) -> None:
    server.version, server.answers["get_health"] = version, error
    with Client("127.0.0.1", server.port) as client, pytest.raises(type(error)) as refused:
        client.get_health()
    assert error.message in refused.value.message
    assert "version" not in refused.value.message


def test_an_answer_that_cannot_be_read_names_both_versions(server: ContractServer) -> None:
    server.version, server.answers["get_health"] = "9.0", {"name": "rafiki admin"}
    with AdminClient("127.0.0.1", server.port) as client, pytest.raises(UnreachableError, match=r"is version 9\.0"):
        client.get_health()
