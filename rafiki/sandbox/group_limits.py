"""What all processes of a box may use together, and what they wanted beyond it."""

from __future__ import annotations

import msgspec


class GroupLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one box. None = no limit."""

    memory_bytes: int | None = None
    n_processes: int | None = None
    """Processes and threads."""
    cores: float | None = None


class Excess(msgspec.Struct, frozen=True):
    """What a box wanted beyond its limits."""

    memory: bool = False
    """Something of it was killed for want of memory."""
    processes: bool = False
    """A process or thread was refused."""
