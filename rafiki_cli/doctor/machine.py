"""Ports, disks, files and limits of this machine."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from rafiki.errors import StackError
from rafiki.store_location import find_folder
from rafiki_cli.doctor.findings import Finding, ok, problem, skipped, warning
from rafiki_cli.doctor.subject import Subject
from rafiki_cli.render import values

_MB, _GB = 10**6, 10**9
_LITTLE_SPACE_BYTES = 2 * _GB
_NO_SPACE_BYTES = 200 * _MB
_FEW_FILES = 4096
_FEWEST_FILES = 1024
_FEW_PROCESSES = 512
_LITTLE_SHARED_MEMORY_BYTES = 64 * _MB
_PRIVATE = 0o077


# ---- ports


def check_ports(subject: Subject) -> Iterator[Finding]:
    from rafiki_cli.target import local_stack, stack_process

    config = subject.config
    host, port = config.admin.host, config.admin.port
    running = subject.find_running_admin()
    if running is not None:
        yield ok("admin port", f"{running.host}:{running.port}, used by this stack's admin ({running.process.pid}).")
    elif not port:
        yield _free_admin_port(subject, port)
    else:
        try:
            stack_process.check_port(host, port)
            yield ok("admin port", f"{host}:{port} is free.")
        except StackError as e:
            other = stack_process.find_stack_of(port)
            told = f"It is the admin of the stack in {other}." if other else e.message
            yield problem("admin port", f"{host}:{port} is not to be had. {told}", "Choose another admin.port.")
    if config.cache.url is None and config.cache.port:
        yield _cache_port(subject, config.cache.port)
    yield _predictor_address(local_stack.reachable_host(config.predictor.host), config.predictor.host)


def _free_admin_port(subject: Subject, port: int | None) -> Finding:
    from rafiki_cli.target import stack_process

    if port == 0:
        return ok("admin port", "Any free one.")
    kept = subject.folder.kept_admin_port
    if kept and (other := stack_process.find_listener(kept)):
        return ok("admin port", f"{kept}, which this stack had, is taken by {other}: `rafiki up` finds another.")
    return ok("admin port", f"{kept} as before." if kept else "Found at the first `rafiki up`.")


def _cache_port(subject: Subject, port: int) -> Finding:
    from rafiki.utils.sockets import is_free
    from rafiki_cli.target import local_stack

    if (cache := local_stack.find_cache(subject.folder)) is not None and cache.port == port:
        return ok("cache port", f"{port}, used by this stack's cache ({cache.process.pid}).")
    if is_free(port):
        return ok("cache port", f"{port} is free.")
    return problem("cache port", f"{port} is in use by another program.", "Choose another cache.port, or 0 for any.")


def _predictor_address(reachable: str, host: str) -> Finding:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(kind, socket.SOCK_STREAM) as s:
            s.bind((host, 0))
    except OSError as e:
        return problem(
            "predictor address", f"predictor.host is {host}, where nothing can listen: {e.strerror or e}.",
            "Set predictor.host to an address of this machine.",
        )  # fmt: skip
    return ok("predictor address", f"{reachable}, any free port.")


# ---- disks


def check_disks(subject: Subject) -> Iterator[Finding]:
    folder = subject.folder
    places_of = {
        "state": folder.root, "datasets": find_folder(folder.datasets), "parameters": find_folder(folder.params),
        "environments": folder.environments,
    }  # fmt: skip
    stores = {name: path for name, path in places_of.items() if path is not None}
    by_device: dict[int, list[str]] = {}
    places: dict[int, Path] = {}
    for name, path in stores.items():
        place = _nearest(path)
        device = place.stat().st_dev
        by_device.setdefault(device, []).append(name)
        places.setdefault(device, place)
    for device, names in by_device.items():
        of = "all stores" if len(names) == len(stores) else ", ".join(names)
        yield _space("disk space", places[device], of)


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(p for p in [path, *path.parents] if p.exists())


def _space(check: str, place: Path, of: str) -> Finding:
    usage = shutil.disk_usage(place)
    inodes = os.statvfs(place)
    told = f"{values.size(usage.free)} of {values.size(usage.total)} free for {of}, in {place}."
    cure = "Free some: `rafiki gc` shows what may go. Or move stores: stores.* in rafiki.yaml."
    if not os.access(place, os.W_OK | os.X_OK):
        return problem(check, f"{place}: no permission to write there.", "Choose another place, or change its owner.")
    if inodes.f_files and inodes.f_favail < 1000:
        return problem(check, f"Only {inodes.f_favail} more files fit into {place}.", cure)
    if usage.free < _NO_SPACE_BYTES:
        return problem(check, told, cure)
    if usage.free < _LITTLE_SPACE_BYTES:
        return warning(check, told, cure)
    return ok(check, told)


# ---- files


def check_permissions(subject: Subject) -> Iterator[Finding]:
    from rafiki_cli.target import session

    folder = subject.folder
    if not folder.root.exists():
        yield skipped("state folder", f"{folder.root} is made at the first `rafiki up`.")
    else:
        yield from _ownership("state folder", folder.root)
        secrets = [folder.root / "secrets.json", folder.superadmin_password_file, folder.root / "meta.db"]
        yield from _private_files("secrets", [p for p in secrets if p.exists()])
    if (logins := session.logins_file()).exists():
        yield from _private_files("kept logins", [logins])


def _ownership(check: str, root: Path) -> Iterator[Finding]:
    about = root.stat()
    mode = stat.S_IMODE(about.st_mode)
    if about.st_uid != os.geteuid() and os.geteuid() != 0:
        yield problem(check, f"{root} belongs to another user (id {about.st_uid}).", "Work as that user.")
    elif not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        yield problem(check, f"{root} is closed to yourself (mode {mode:04o}).", f"chmod 700 {root}")
    elif mode & _PRIVATE:
        yield warning(check, f"Others may look into {root} (mode {mode:04o}).", f"chmod 700 {root}")
    else:
        yield ok(check, f"{root} (mode {mode:04o})")


def _private_files(check: str, files: list[Path]) -> Iterator[Finding]:
    open_files = [p for p in files if stat.S_IMODE(p.stat().st_mode) & _PRIVATE]
    if open_files:
        names = " ".join(map(str, open_files))
        yield problem(
            check, f"Others may read {names}.", f"chmod 600 {names}. Change the secrets if others could have."
        )
    elif files:
        yield ok(check, f"Only you may read {', '.join(p.name for p in files)}.")
    else:
        yield skipped(check, "There are none yet.")


# ---- limits


def check_limits(subject: Subject) -> Iterator[Finding]:
    if subject.is_remote:
        yield skipped("limits", "They are those of another machine.")
        return
    yield _open_files()
    if (found := _processes()) is not None:
        yield found
    yield _shared_memory(Path("/dev/shm"))
    yield _memory()


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FEW_FILES:
        return ok("open files", "No limit." if soft == resource.RLIM_INFINITY else f"{soft:,} a process.")
    told = f"{soft:,} a process; predictors hold one for each connection."
    cure = f"ulimit -n {_FEW_FILES if hard == resource.RLIM_INFINITY else min(_FEW_FILES, hard)}, before `rafiki up`."
    return (problem if soft < _FEWEST_FILES else warning)("open files", told, cure)


def _processes() -> Finding | None:
    import psutil

    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft == resource.RLIM_INFINITY:
        return ok("processes", "No limit.")
    running = [p.info for p in psutil.process_iter(["uids", "num_threads"])]
    mine = sum(p["num_threads"] or 0 for p in running if p["uids"] is not None and p["uids"].real == os.getuid())
    left = soft - mine
    told = f"{left:,} more processes and threads of {soft:,}."
    if left < _FEW_PROCESSES:
        return warning("processes", told, "Raise the limit (ulimit -u), or end other programs of yours.")
    return ok("processes", told)


def _shared_memory(place: Path) -> Finding:
    if not place.exists():
        return skipped("shared memory", f"There is no {place} on this system.")
    free = shutil.disk_usage(place).free
    told = f"{values.size(free)} free in {place}."
    if free < _LITTLE_SHARED_MEMORY_BYTES:
        cure = "In a container: start it with --shm-size=1g. Data loaders of neural networks need it."
        return warning("shared memory", told, cure)
    return ok("shared memory", told)


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    told = f"{values.size(memory.available)} of {values.size(memory.total)} available."
    if memory.available < 512 * _MB:
        return warning("memory", told, "End other programs, or bound workers: container.memory_limit_mb.")
    return ok("memory", told)
