"""``python -m rafiki.environments.on_node REQUEST``: installs packages on a node, into a volume that its workers read.

The request (:class:`NodeRequest`, JSON) is a file. What pip writes goes to stdout; the last line there is the answer
(:class:`NodeAnswer`) behind :data:`ANSWER`. It runs in the image that the workers run in.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from datetime import datetime
from pathlib import Path

import msgspec

from rafiki.environments.build import Build, BuildOptions
from rafiki.environments.reasons import explain_os_error
from rafiki.environments.requirements import are_satisfied, base_site_folders, parse_lines
from rafiki.errors import EnvironmentBuildError
from rafiki.utils.clock import utc_now
from rafiki.utils.files import read_text, size_of_folder, write_atomic

ANSWER = "rafiki-answer: "
VOLUME = Path("/var/tmp")
"""Where the volume is: in images a folder that everybody may write to, and so may whoever builds."""
IMAGE_FOLDER = "/var/lib/rafiki/environments"
"""Where environments are that are part of an image: no volume of a worker hides it."""
_RECORD = "environment.json"
_SCRATCH = ".scratch"
_RELOOK_S = 0.2


class NodeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be on the node."""

    folder: str
    """Of the environment, in the volume."""
    requirements: list[str]
    volume: str = str(VOLUME)
    """The folder of all environments."""
    timeout_s: float = 900.0
    only_wheels: bool = False
    variables: dict[str, str] = {}
    """Of pip."""
    max_bytes: int | None = None
    """Of all environments of the volume."""
    needed: list[str] = []
    """Folders that are not to be removed."""
    last_used: dict[str, datetime] = {}
    """When folders were used last; those that are missing, never."""
    unwanted: list[str] = []
    """Folders to remove in any case."""


class NodeAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is on the node."""

    is_base: bool = False
    """The image has the packages itself."""
    size_bytes: int = 0
    reason: str | None = None
    """Why they could not be installed; None = they are."""
    removed: list[str] = []
    """Folders that had to make room."""
    image: str | None = None
    """That has the packages, where they are to be in one."""


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    size_bytes: int
    datetime_built: datetime


def fulfil(request: NodeRequest, volume: Path, log_file: Path) -> NodeAnswer:
    """Have the packages of a request in a volume.

    Args:
        log_file: gets what pip writes.
    """
    removed = list(request.unwanted)
    for name in removed:
        shutil.rmtree(volume / name, ignore_errors=True)
    try:
        requirements = parse_lines(request.requirements)
    except EnvironmentBuildError as e:
        return NodeAnswer(reason=e.message, removed=removed)
    if not requirements or are_satisfied(requirements):
        return NodeAnswer(is_base=True, removed=removed)
    folder = volume / request.folder
    if (record := _read_record(folder)) is not None:
        return NodeAnswer(size_bytes=record.size_bytes, removed=removed)
    _remove_half_built(volume)
    scratch = volume / _SCRATCH
    try:
        scratch.mkdir(exist_ok=True)
        options = BuildOptions(
            timeout_s=request.timeout_s, only_wheels=request.only_wheels,
            process_environment={**_without_path(os.environ), **request.variables, "TMPDIR": str(scratch)},
            base_folders=[*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *base_site_folders()],
        )  # fmt: skip
        Build(folder, requirements, log_file, options).run()
        size_bytes = size_of_folder(folder)
        removed += _make_room(request, volume, size_bytes)
        record = _Record(size_bytes=size_bytes, datetime_built=utc_now())
        write_atomic(folder / _RECORD, msgspec.json.encode(record))
        return NodeAnswer(size_bytes=size_bytes, removed=removed)
    except EnvironmentBuildError as e:
        reason = e.message
    except OSError as e:
        reason = explain_os_error(e, str(folder))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    return NodeAnswer(reason=reason, removed=removed)


def _without_path(environ: os._Environ[str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name != "PYTHONPATH"}


def _read_record(folder: Path) -> _Record | None:
    text = read_text(folder / _RECORD)
    try:
        return None if text is None else msgspec.json.decode(text, type=_Record)
    except msgspec.DecodeError:
        return None


def _remove_half_built(volume: Path) -> None:
    """What an earlier build left that was killed; no other runs on this node."""
    for folder in volume.iterdir():
        if folder.is_dir() and _read_record(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)


def _make_room(request: NodeRequest, volume: Path, new_bytes: int) -> list[str]:
    """Remove environments that were not used for the longest time until the limit is kept; the names of those.

    Raises:
        EnvironmentBuildError: what is needed takes more than the limit.
    """
    if request.max_bytes is None:
        return []
    sizes = {f.name: r.size_bytes for f in volume.iterdir() if (r := _read_record(f)) is not None}
    over_bytes = sum(sizes.values()) + new_bytes - request.max_bytes
    removed: list[str] = []
    others = sizes.keys() - {*request.needed, request.folder}
    never = datetime.min.replace(tzinfo=utc_now().tzinfo)
    for name in sorted(others, key=lambda n: (request.last_used.get(n, never), n)):
        if over_bytes <= 0:
            break
        shutil.rmtree(volume / name, ignore_errors=True)
        removed.append(name)
        over_bytes -= sizes[name]
    if over_bytes > 0:
        raise EnvironmentBuildError(
            f"the packages take {new_bytes / 1e6:.0f} MB: beside those that live jobs need, {over_bytes / 1e6:.0f} MB "
            "more than a node may give them (environments.node_max_mb in rafiki.yaml)"
        )
    return removed


class _Follower:
    """Copies what is appended to a file to stdout, until it is told that it is over."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._is_over.wait(_RELOOK_S):
            self._copy()
        self._copy()

    def _copy(self) -> None:
        with contextlib.suppress(FileNotFoundError), self._file.open("rb") as file:
            file.seek(self._position)
            data = file.read()
            self._position = file.tell()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()


def main() -> int:
    file = Path(sys.argv[1])
    request = msgspec.json.decode(file.read_bytes(), type=NodeRequest)
    volume = Path(request.volume)
    if volume != VOLUME:
        # It holds what pip's settings say, and what is here now becomes an image.
        file.unlink()
        volume.mkdir(parents=True, exist_ok=True)
    log_file = Path(os.environ.get("HOME", "/tmp")) / "build.log"
    follower = _Follower(log_file)
    try:
        answer = fulfil(request, volume, log_file)
    finally:
        follower.close()
    sys.stdout.write(f"\n{ANSWER}{msgspec.json.encode(answer).decode()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
