"""For the tests of templates that need torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def one_torch_thread(torch: Any) -> Iterator[None]:
    """Small networks are no faster on more, and other tests run beside this one."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
