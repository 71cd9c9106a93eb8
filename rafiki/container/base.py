"""The law for every back end that runs services."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import msgspec


class ServiceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A service to start."""

    service_id: str
    kind: str
    """``advisor``, ``train``, ``predict`` or ``inference``: names the program and the log."""
    spec: bytes
    """What the service reads at its start. May hold credentials: it travels in a private file."""
    gpus: list[int]
    """The GPUs that it may see; none = it sees none."""
    runs_model_code: bool
    """Then it gets the allow-listed environment and the memory limit."""
    python: str | None = None
    """The interpreter to run with, where the back end has no images; None = Rafiki's own."""
    image: str | None = None
    """The image to run in, where the back end has images; None = Rafiki's own."""
    sharing: int = 1
    """How many workers of its job, it included, share the machine's cores."""


class ServiceExit(msgspec.Struct, frozen=True, kw_only=True):
    """How a service ended."""

    code: int | None
    """Exit code; negative = killed by that signal; None = not known, because it was adopted."""
    reason: str
    """For people: the code or signal in words, with the last lines of its log."""


class ServiceUsage(msgspec.Struct, frozen=True, kw_only=True):
    pid: int | None
    memory_bytes: int | None


class ContainerManager(ABC):
    """Starts, watches and stops services.

    A service is known by its id and by its *handle*: plain JSON values that :meth:`start` returns, and that the caller
    keeps. With the handle a later process can poll and stop what an earlier one started; without it (the caller died
    before it could keep it) :meth:`find` finds the service by its id alone. All methods may be called from any thread;
    those for different services, at once. Failures of the back end raise ContainerError.
    """

    @abstractmethod
    def start(self, request: ServiceRequest) -> dict[str, Any]:
        """Start a service and return its handle. Does not wait until the service is ready."""

    @abstractmethod
    def find(self, service_id: str) -> dict[str, Any] | None:
        """The handle of a running service, or None when none runs under this id."""

    @abstractmethod
    def poll(self, service_id: str, handle: dict[str, Any]) -> ServiceExit | None:
        """None while the service runs, else how it ended. An unknown service has ended."""

    @abstractmethod
    def stop(self, service_id: str, handle: dict[str, Any], timeout_s: float) -> None:
        """End a service and everything it started: ask first, kill after ``timeout_s``. Returns when all is gone.

        Stopping what has ended already is no error.
        """

    @abstractmethod
    def usage(self, service_id: str, handle: dict[str, Any]) -> ServiceUsage:
        """What a service uses now; None for what is not known."""

    @abstractmethod
    def gpus(self) -> list[int]:
        """The GPUs that can be shared out."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the back end. Services run on."""
