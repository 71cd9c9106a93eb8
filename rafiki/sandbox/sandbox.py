"""The box: which files a command sees, and which of the machine's namespaces it shares."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

import rafiki
from rafiki.sandbox.bubblewrap import Bubblewrap
from rafiki.sandbox.control_groups import ControlGroups
from rafiki.sandbox.group_limits import Excess, GroupLimits
from rafiki.sandbox.python_files import files_of
from rafiki.sandbox.seccomp import find_filter, open_filter

_logger = logging.getLogger(__name__)

BOX_FOLDER = "/run/rafiki"
"""In the box: where its spec and its doors to the stack are."""
DOORS = "doors"
"""In the box's folder, and in the stack's: the sockets by which a box reaches the cache and the admin."""
DIRECT = "direct"
"""In the box's folder: where the predictors of its job listen. In the stack's: the folders of all jobs."""
CACHE_DOOR = "cache.sock"
ADMIN_DOOR = "admin.sock"
HOME = "/tmp/home"
_SIGNAL_BASE = 128

# What programs and libraries of the system need. Not /etc as a whole: much of it is nobody's business, and beside
# certificates there are private keys, which the superuser may read without a capability.
_SYSTEM = ("/usr", "/nix/store", "/opt/nvidia", "/sys/devices/system")
_ROOT_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime", "/etc/timezone",
    "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust", "/etc/crypto-policies", "/etc/ca-certificates",
    "/etc/fonts", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/OpenCL", "/etc/gai.conf",
)  # fmt: skip
_ETC_OF_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/services", "/etc/protocols")
# The superuser may write these without any capability, because they are files of its own.
_PROC_READ_ONLY = (
    "sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "driver", "mtrr", "asound", "tty", "pressure",
    "dynamic_debug", "latency_stats",
)  # fmt: skip
_PROC_HIDDEN = ("kcore", "keys", "timer_list", "sched_debug", "kmsg")
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", "/dev/nvidia-caps")


class BoxRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What one command is to see and share, besides Python and the system's programs."""

    environment: Mapping[str, str]
    python: str = sys.executable
    reads: Sequence[Path] = ()
    """Files and folders, by the names that they have outside."""
    writes: Sequence[Path] = ()
    """Folders, by the names that they have outside."""
    mounts: Mapping[str, Path] = {}
    """Read-only; path in the box -> file or folder outside."""
    gpus: Sequence[str] = ()
    network: bool = False
    """Whether it shares the machine's network; else it has a loopback of its own, with nobody on it."""
    folder: str = "/tmp"
    """Where the command begins, in the box."""
    group: str | None = None
    """Names the box, for limits of all its processes together; see :meth:`Sandbox.release`."""
    limits: GroupLimits = GroupLimits()
    """They hold where there are control groups, and the box has a name."""
    ends_with_us: bool = False
    """Whether it ends with the thread that starts it, however that ends; else it outlives this process."""


def exit_code_of(status: int) -> int:
    """The exit code of what ran, negative for a signal: a box ends with 128 plus the signal's number."""
    return _SIGNAL_BASE - status if _SIGNAL_BASE < status <= _SIGNAL_BASE + signal.NSIG else status


class Box(msgspec.Struct, frozen=True):
    """How a box is started: ``Popen(box.command, pass_fds=box.descriptors, ...)``."""

    command: list[str]
    descriptors: tuple[int, ...] = ()


class Sandbox:
    """Puts commands of one stack into boxes."""

    def __init__(
        self,
        bubblewrap: Bubblewrap,
        *,
        hidden: Path,
        tmp_bytes: int,
        readable: Sequence[Path] = (),
        groups: ControlGroups | None = None,
    ) -> None:
        """
        Args:
            hidden: the stack's folder: nothing in it is seen, wherever it lies, but for what a request names.
            tmp_bytes: the size of the box's temporary folder, and of its shared memory.
            readable: what model code may read besides, as the stack's owner says.
            groups: hold limits of whole boxes; None = each process has its own.
        """
        self._groups = groups
        self._bubblewrap = bubblewrap
        self._hidden = hidden
        self._tmp_bytes = tmp_bytes
        self._readable = list(readable)

    @property
    def about(self) -> str:
        """For people: the program with its version."""
        return f"bubblewrap {self._bubblewrap.version}"

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Variables as a command in the box needs them."""
        return {**environment, "HOME": HOME, "TMPDIR": "/tmp", "USER": "model", "LOGNAME": "model"}

    @contextmanager
    def box(self, command: Sequence[str], request: BoxRequest) -> Iterator[Box]:
        """What runs ``command`` in a box, once; it is to be started within the block.

        The process that is started waits for the one in the box, and ends with its exit code; whatever the box holds
        ends with its first process.

        Raises:
            ContainerError: when the interpreter does not say where its packages are.
        """
        arguments = [*self._join(request), *self._arguments(request)]
        program = find_filter() if self._bubblewrap.can_filter else None
        if program is None:
            yield Box([*arguments, "--", *command])
            return
        descriptor = open_filter(program)
        try:
            yield Box([*arguments, "--seccomp", str(descriptor), "--", *command], (descriptor,))
        finally:
            os.close(descriptor)

    def _join(self, request: BoxRequest) -> list[str]:
        if self._groups is None or request.group is None:
            return []
        try:
            return self._groups.make(request.group, request.limits)
        except OSError as e:
            # Limits of each process hold all the same.
            _logger.warning("a box has no control group: %s", e)
            return []

    def excess_of(self, group: str) -> Excess:
        """What a box wanted beyond its limits, while it is not released."""
        return Excess() if self._groups is None else self._groups.excess_of(group)

    def release(self, group: str) -> None:
        """Forget a box that has ended."""
        if self._groups is not None:
            self._groups.remove(group)

    def _arguments(self, request: BoxRequest) -> list[str]:
        python = files_of(request.python, request.environment)
        package = Path(rafiki.__file__).resolve().parent
        wanted = [*python, package, *self._readable, *_library_folders(request.environment), *request.reads]
        inside = [f for f in wanted if self._is_hidden(f)]
        arguments = [self._bubblewrap.program, *self._bubblewrap.isolation]
        if not request.network:
            arguments.append("--unshare-net")
        if request.ends_with_us:
            arguments.append("--die-with-parent")
        arguments += self._system(request)
        arguments += _bind("--ro-bind", _outermost(f for f in wanted if not self._is_hidden(f)))
        # Where the stack lies in a folder that is seen, it is covered; then what was asked for shows through.
        if any(self._hidden.is_relative_to(f) for f in [*wanted, *map(Path, _SYSTEM)]):
            arguments += [*self._sized(), "--tmpfs", str(self._hidden)]
        arguments += _bind("--ro-bind", inside)
        for at, file in request.mounts.items():
            arguments += ["--ro-bind", str(file), at]
        arguments += _bind("--bind", request.writes)
        # All of it is read-only now, and of no size; /dev is a file system of its own.
        return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", request.folder]

    def _is_hidden(self, file: Path) -> bool:
        return file.is_relative_to(self._hidden)

    def _sized(self) -> list[str]:
        return ["--size", str(self._tmp_bytes)] if self._bubblewrap.can_limit_size else []

    def _system(self, request: BoxRequest) -> list[str]:
        arguments = ["--proc", "/proc"]
        for name in _PROC_READ_ONLY:
            arguments += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
        for name in _PROC_HIDDEN:
            if os.path.exists(f"/proc/{name}"):
                arguments += ["--ro-bind", os.devnull, f"/proc/{name}"]
        arguments += ["--dev", "/dev", *self._sized(), "--tmpfs", "/dev/shm"]
        for name in _SYSTEM:
            arguments += ["--ro-bind-try", name, name]
        for name in _ROOT_LINKS:
            if os.path.islink(name):
                arguments += ["--symlink", os.readlink(name), name]
            elif os.path.isdir(name):
                arguments += ["--ro-bind", name, name]
        for name in [*_ETC, *(_ETC_OF_NETWORK if request.network else ())]:
            arguments += ["--ro-bind-try", name, name]
        if request.gpus:
            for name in [*_GPU_DEVICES, *(f"/dev/nvidia{gpu}" for gpu in request.gpus)]:
                arguments += ["--dev-bind-try", name, name]
            for name in ("/sys/bus/pci", "/sys/module/nvidia", "/sys/class/drm"):
                arguments += ["--ro-bind-try", name, name]
        return [*arguments, *self._sized(), "--tmpfs", "/tmp", "--dir", HOME, "--dir", BOX_FOLDER]


def _bind(how: str, files: Iterable[Path]) -> list[str]:
    return [argument for file in files if file.exists() for argument in (how, str(file), str(file))]


def _outermost(files: Iterable[Path]) -> list[Path]:
    """Without those that lie in others of them, or in what every box sees."""
    seen = [Path(name) for name in _SYSTEM]
    kept: list[Path] = []
    for file in sorted(set(files), key=lambda f: (len(f.parts), f)):
        if not any(file.is_relative_to(other) for other in [*seen, *kept]):
            kept.append(file)
    return kept


def _library_folders(environment: Mapping[str, str]) -> list[Path]:
    return [Path(p) for p in environment.get("LD_LIBRARY_PATH", "").split(os.pathsep) if p and os.path.isabs(p)]
