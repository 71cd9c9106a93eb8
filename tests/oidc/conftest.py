from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.oidc.provider import ProviderProcess


@pytest.fixture(scope="session")
def provider_process() -> Iterator[ProviderProcess]:
    running = ProviderProcess()
    yield running
    running.close()


@pytest.fixture
def provider(provider_process: ProviderProcess) -> ProviderProcess:
    """A provider without a fault."""
    provider_process.set(reset=True)
    return provider_process
