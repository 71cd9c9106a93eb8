"""What a process that runs model code may use. It sets its limits itself, before it loads any."""

from __future__ import annotations

import contextlib

import msgspec

from rafiki.sandbox.group_limits import GroupLimits
from rafiki.settings import ContainerConfig

_HEADROOM_BYTES = 1 << 30
"""What may be reserved beyond the limit of memory before allocations fail; what is used is held to the limit."""


_SHARE_OF_MEMORY = 0.9
"""Of the machine's memory, where no limit is set: a model that eats memory is ended before what else runs there."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one process and, each for itself, of those that it starts. None = the system's own."""

    memory_bytes: int | None = None
    n_processes: int | None = None
    """Processes and threads of the user. The system does not hold the superuser to it."""
    file_bytes: int | None = None
    n_files: int | None = None

    def apply(self) -> None:
        """Set them for this process. A limit that is lower already stays."""
        import resource

        memory = None if self.memory_bytes is None else self.memory_bytes + _HEADROOM_BYTES
        for kind, most in (
            (resource.RLIMIT_DATA, memory),
            (resource.RLIMIT_NPROC, self.n_processes),
            (resource.RLIMIT_FSIZE, self.file_bytes),
            (resource.RLIMIT_NOFILE, self.n_files),
            # A dump of the memory would be a file of its size.
            (resource.RLIMIT_CORE, 0),
        ):
            if most is None:
                continue
            _, hard = resource.getrlimit(kind)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (most, most))


def group_limits_of(settings: ContainerConfig) -> GroupLimits:
    """Those of one worker with all that it starts."""
    import psutil  # Not where messages are read, which name limits.

    limit_mb = settings.memory_limit_mb
    return GroupLimits(
        memory_bytes=limit_mb << 20 if limit_mb else int(_SHARE_OF_MEMORY * psutil.virtual_memory().total),
        n_processes=settings.max_processes,
        cores=settings.cores,
    )


def limits_of(settings: ContainerConfig, *, is_boxed: bool) -> Limits:
    """Those of one worker, as the settings say.

    Args:
        is_boxed: whether all that it can write is its temporary folder, and its log: that is not to fill the disk.
    """
    file_mb = min(settings.max_file_mb, settings.tmp_mb) if is_boxed else settings.max_file_mb
    return Limits(
        memory_bytes=settings.memory_limit_mb << 20 if settings.memory_limit_mb else None,
        n_processes=settings.max_processes,
        file_bytes=file_mb << 20,
        n_files=settings.max_open_files,
    )
