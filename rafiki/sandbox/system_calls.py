"""The system calls that a box is refused, and their numbers: what models have no use for, and kernels had faults in."""

from __future__ import annotations

import errno
from typing import NamedTuple, TypeAlias


class HasBits(NamedTuple):
    """Whether an argument has any of these bits set."""

    argument: int
    bits: int


class IsAmong(NamedTuple):
    """Whether an argument is one of these values."""

    argument: int
    values: tuple[int, ...]


class IsNotAmong(NamedTuple):
    """Whether an argument is none of these values."""

    argument: int
    values: tuple[int, ...]


Test: TypeAlias = HasBits | IsAmong | IsNotAmong


class Refusal(NamedTuple):
    """Some system calls, with the error that they end with where all tests of their arguments hold."""

    calls: tuple[str, ...]
    error: int
    tests: tuple[Test, ...] = ()


class Machine(NamedTuple):
    """What tells the system calls of a processor."""

    audit_arch: int
    """AUDIT_ARCH_* of linux/audit.h."""
    numbers: dict[str, int]


_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
_NEW_TIME = 0x80
_SET_ID = 0o6000
"""Set-user-id and set-group-id: such a file runs as its owner, who is the owner of the stack."""
_CREATES = 0x40 | 0x400000
"""O_CREAT, and the bit of O_TMPFILE: without them the mode is not looked at."""
_F_SETLEASE, _F_NOTIFY = 1024, 1026
_TERMINAL_INPUT = (0x5412, 0x541C, 0x541D)
"""TIOCSTI, TIOCLINUX and TIOCCONS."""
_FILE_FLAGS = (0x40086602, 0x401C5820)
"""FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR."""
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
_PERSONALITIES = (0, 0xFFFFFFFF)
"""That of Linux, and the question which one it is."""

# Those whose arguments are looked at come first: the kernel remembers the answer for all others.
REFUSALS: tuple[Refusal, ...] = (
    Refusal(("openat",), errno.EPERM, (HasBits(2, _CREATES), HasBits(3, _SET_ID))),
    # A lease on its own log would let whoever reads that wait for 45 s.
    Refusal(("fcntl",), errno.EPERM, (IsAmong(1, (_F_SETLEASE, _F_NOTIFY)),)),
    Refusal(("ioctl",), errno.EPERM, (IsAmong(1, (*_TERMINAL_INPUT, *_FILE_FLAGS)),)),
    Refusal(("open",), errno.EPERM, (HasBits(1, _CREATES), HasBits(2, _SET_ID))),
    Refusal(("clone",), errno.EPERM, (HasBits(0, _NAMESPACES),)),
    # Sockets of virtual machines (AF_VSOCK) reach the host of this one from any network namespace.
    Refusal(("socket",), errno.EAFNOSUPPORT, (IsNotAmong(0, (_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK)),)),
    # Of netlink the one protocol by which libraries list the interfaces of a network.
    Refusal(("socket",), errno.EPROTONOSUPPORT, (IsAmong(0, (_AF_NETLINK,)), IsNotAmong(2, (_NETLINK_ROUTE,)))),
    Refusal(("chmod", "fchmod", "mkdir", "mknod", "creat"), errno.EPERM, (HasBits(1, _SET_ID),)),
    Refusal(("fchmodat", "fchmodat2", "mkdirat", "mknodat"), errno.EPERM, (HasBits(2, _SET_ID),)),
    Refusal(("unshare",), errno.EPERM, (HasBits(0, _NAMESPACES | _NEW_TIME),)),
    Refusal(("personality",), errno.EPERM, (IsNotAmong(0, _PERSONALITIES),)),
    # Their arguments are in memory, where a filter cannot look. Libraries then take the older call.
    Refusal(("clone3", "openat2"), errno.ENOSYS),
    Refusal(("io_uring_setup", "io_uring_enter", "io_uring_register"), errno.ENOSYS),
    # Keys of the session that the stack was started in, which no namespace keeps apart.
    Refusal(("add_key", "request_key", "keyctl"), errno.EPERM),
    Refusal(("bpf", "perf_event_open", "userfaultfd", "fanotify_init", "fanotify_mark"), errno.EPERM),
    Refusal(("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "process_mrelease"), errno.EPERM),
    Refusal(
        (
            "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
            "fspick", "mount_setattr", "setns", "open_by_handle_at", "name_to_handle_at",
        ),
        errno.EPERM,
    ),
    Refusal(
        (
            "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon",
            "swapoff", "acct", "syslog", "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "adjtimex",
            "clock_adjtime", "sethostname", "setdomainname", "vhangup", "iopl", "ioperm", "modify_ldt",
            "migrate_pages", "move_pages",
        ),
        errno.EPERM,
    ),
    Refusal(
        (
            "create_module", "query_module", "get_kernel_syms", "nfsservctl", "lookup_dcookie", "sysfs", "ustat",
            "uselib", "_sysctl",
        ),
        errno.ENOSYS,
    ),
)  # fmt: skip

LAST_KNOWN = 462
"""mseal, of Linux 6.10. Newer ones are as those of a kernel that has none of them, on any processor alike."""

_SINCE_NUMBERS_ARE_THE_SAME = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "openat2": 437, "mount_setattr": 442,
    "quotactl_fd": 443, "process_mrelease": 448, "fchmodat2": 452,
}  # fmt: skip

MACHINES = {
    "x86_64": Machine(0xC000003E, {
        "open": 2, "ioctl": 16, "socket": 41, "clone": 56, "fcntl": 72, "mkdir": 83, "creat": 85, "chmod": 90,
        "fchmod": 91, "ptrace": 101, "syslog": 103, "mknod": 133, "uselib": 134, "personality": 135, "ustat": 136,
        "sysfs": 139, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "_sysctl": 156, "adjtimex": 159,
        "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168,
        "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "create_module": 174,
        "init_module": 175, "delete_module": 176, "get_kernel_syms": 177, "query_module": 178, "quotactl": 179,
        "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248,
        "request_key": 249, "keyctl": 250, "migrate_pages": 256, "openat": 257, "mkdirat": 258, "mknodat": 259,
        "fchmodat": 268, "unshare": 272, "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300,
        "fanotify_mark": 301, "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
        "bpf": 321, "userfaultfd": 323, **_SINCE_NUMBERS_ARE_THE_SAME,
    }),
    "aarch64": Machine(0xC00000B7, {
        "lookup_dcookie": 18, "fcntl": 25, "ioctl": 29, "mknodat": 33, "mkdirat": 34, "umount2": 39, "mount": 40,
        "pivot_root": 41, "nfsservctl": 42, "chroot": 51, "fchmod": 52, "fchmodat": 53, "openat": 56, "vhangup": 58,
        "quotactl": 60, "acct": 89, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161,
        "setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "socket": 198, "add_key": 217, "request_key": 218,
        "keyctl": 219, "clone": 220, "swapon": 224, "swapoff": 225, "migrate_pages": 238, "move_pages": 239,
        "perf_event_open": 241, "fanotify_init": 262, "fanotify_mark": 263, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
        "kexec_file_load": 294, **_SINCE_NUMBERS_ARE_THE_SAME,
    }),
}  # fmt: skip
"""The processors whose calls are known, by the name that the system gives them. Not all have all calls."""
