"""What a machine has: GPUs, and space for copies of datasets. As a program, it prints this as one line of JSON."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from rafiki.version import __version__

_TIMEOUT_S = 10.0
_QUERY = ["--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]
_DRIVER_FOLDER = Path("/proc/driver/nvidia/gpus")
_N_FIELDS = 3


class FoundGpu(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """Its index, as ``CUDA_VISIBLE_DEVICES`` takes it."""
    model: str | None = None
    memory_bytes: int | None = None


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    gpus: list[FoundGpu] = []
    n_hidden_gpus: int = 0
    """GPUs of the machine that programs here cannot use."""
    free_disk_bytes: int | None = None
    version: str = ""
    """Of the Rafiki that looked."""


def find_gpus() -> list[FoundGpu]:
    """What nvidia-smi lists; nothing when there is no nvidia-smi, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        listed = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return read_gpus(listed.stdout)


def read_gpus(listed: str) -> list[FoundGpu]:
    """The GPUs in lines like ``0, NVIDIA H200, 143771``, with the memory in MiB."""
    found = []
    for line in listed.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == _N_FIELDS and fields[0].isdecimal():
            memory = int(fields[2]) << 20 if fields[2].isdecimal() else None
            found.append(FoundGpu(name=fields[0], model=fields[1] or None, memory_bytes=memory))
    return found


def count_driver_gpus(folder: Path = _DRIVER_FOLDER) -> int:
    """How many GPUs the kernel's driver knows, those included that no program here can use."""
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0


def take_inventory(folder: Path) -> Inventory:
    """
    Args:
        folder: where copies of datasets lie.
    """
    gpus = find_gpus()
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = None
    return Inventory(
        gpus=gpus, n_hidden_gpus=max(0, count_driver_gpus() - len(gpus)), free_disk_bytes=free, version=__version__
    )  # fmt: skip


def main() -> None:
    sys.stdout.write(msgspec.json.encode(take_inventory(Path("/var/tmp"))).decode() + "\n")


if __name__ == "__main__":
    main()
