"""The machines that services run on, as a back end tells of them."""

from __future__ import annotations

import msgspec

from rafiki.entities import Gpu


class GpuFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU, and what its host says of it."""

    gpu: Gpu
    model: str | None = None
    """``NVIDIA H200``; None where the host has not told."""
    memory_bytes: int | None = None


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One machine. None = not known."""

    name: str
    """As in :class:`~rafiki.entities.Gpu`."""
    role: str = ""
    """``manager`` or ``worker``; empty where hosts have no roles."""
    address: str | None = None
    is_reached: bool = True
    """False = it is lost: what ran there counts as ended."""
    is_paused: bool = False
    """It takes no new services; those that run there stay."""
    is_draining: bool = False
    """It is to run empty: its services end when they have done what they do, and others take their place elsewhere."""
    is_engine: bool = False
    """The back end works through this one, so it cannot be removed."""
    labels: dict[str, str] = {}
    gpus: list[GpuFacts] = []
    cores: float | None = None
    memory_bytes: int | None = None
    reservable_bytes: int | None = None
    """What of its memory the services of this stack may reserve: all that nobody else has. None = nothing is
    reserved."""
    free_disk_bytes: int | None = None
    """Where copies of datasets lie."""
    has_image: bool | None = None
    """Whether the workers' image is there, where images are used."""
    can_fetch_image: bool = True
    """Whether a missing image can be had from a registry."""
    note: str | None = None
    """What is wrong with it otherwise, for people."""

    @property
    def why_closed(self) -> str | None:
        """Why it takes no new services: ``is draining``. None when it does."""
        if not self.is_reached:
            return "is lost"
        if self.is_draining:
            return "is draining"
        return "is paused" if self.is_paused else None
