"""Torch, for the tests of templates that need it: they skip without it, and fail in CI."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def torch() -> Any:
    """The package. Not loaded while tests are collected: every process of the suite does that for all files, and it
    takes seconds."""
    if os.environ.get("CI", "").lower() == "true":
        return importlib.import_module("torch")
    return pytest.importorskip("torch")


@pytest.fixture
def one_torch_thread(torch: Any) -> Iterator[None]:
    """Small networks are no faster on more, and other tests run beside this one."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
