"""The state of an environment, which the admin decides by."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class EnvironmentStatus(StrEnum):
    READY = "READY"
    BUILDING = "BUILDING"
    FAILED = "FAILED"


class EnvironmentState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the environment of some dependencies."""

    status: EnvironmentStatus
    key: str | None = None
    """Which one; None when what is installed beside Rafiki will do."""
    python: str | None = None
    """The interpreter to run with; None = Rafiki's own."""
    reason: str | None = None
    """Why nothing can run with these dependencies, for people; set when FAILED."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """One environment on disk, or on its way there."""

    key: str
    requirements: list[str]
    status: EnvironmentStatus
    reason: str | None = None
    """Why it could not be built."""
    size_bytes: int | None = None
    datetime_built: datetime | None = None
