"""Builds one environment: a virtual environment that also sees this Python's packages, and pip's work in it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import msgspec
from packaging.requirements import Requirement

from rafiki import distribution
from rafiki.environments.reasons import explain, explain_no_space, explain_os_error
from rafiki.environments.requirements import base_site_folders, lines_for_pip, lines_of
from rafiki.errors import EnvironmentBuildError
from rafiki.sandbox.sandbox import HOME, Box, BoxRequest, Sandbox
from rafiki.utils.clock import Deadline, utc_now
from rafiki.utils.files import tail_lines

HEADING = b"--- "
"""Begins the first line of each attempt in the log."""
_MOST_REASON_CHARS = 600
_KILL_TIMEOUT_S = 5.0
_STOPPED = "the stack was stopped while it was built"
_TEMPORARY = "tmp"
_PIP_FOLDERS = (".config/pip", ".pip")
_SEES_BASE_PACKAGES = "rafiki_base_packages.pth"


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How packages are installed."""

    timeout_s: float
    only_wheels: bool
    """Refuse packages that would run their own build scripts."""
    process_environment: dict[str, str]
    """The environment variables of pip and of the packages' build scripts: nothing secret."""
    sandbox: Sandbox | None = None
    """Makes the box in which they run; None = they see what this process sees."""
    base_folders: list[str] | None = None
    """The folders of packages that are visible in it; None = those of this Python."""


class Build:
    """One attempt. It may take minutes; :meth:`stop` from another thread ends it."""

    def __init__(self, folder: Path, requirements: Sequence[Requirement], log_file: Path, options: BuildOptions):
        self._folder = folder
        self._requirements = requirements
        self._log_file = log_file
        self._options = options
        self._deadline = Deadline(options.timeout_s)
        self._child: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def run(self) -> None:
        """Build it in the folder, which is emptied first.

        Raises:
            EnvironmentBuildError: with pip's reason, and the name of the log that holds all of it.
        """
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True, mode=0o700)
            with self._log_file.open("ab") as log:
                wanted = ", ".join(lines_of(self._requirements))
                log.write(HEADING + f"{utc_now():%Y-%m-%d %H:%M:%S} {wanted}\n".encode())
                log.flush()
                start = log.tell()
                self._make(log)
                self._install(log, start)
                self._check(log)
            shutil.rmtree(self._folder / _TEMPORARY, ignore_errors=True)
        except OSError as e:
            raise EnvironmentBuildError(explain_os_error(e, str(self._folder))) from e

    def stop(self) -> None:
        """End the attempt: :meth:`run` then raises."""
        self._is_stopped = True
        self._kill()

    # ---- steps

    def _make(self, log: IO[bytes]) -> None:
        command = [sys.executable, "-m", "venv", "--without-pip", str(self._folder)]
        if self._run(command, log):
            raise EnvironmentBuildError(f"no virtual environment could be made{self._last_words()}")
        # Not --system-site-packages: this Python may itself be of a virtual environment, which that would pass over.
        folder = next((self._folder / "lib").glob("python*/site-packages"))
        lines = [f"import site; site.addsitedir({path!r})" for path in self._base_folders()]
        (folder / _SEES_BASE_PACKAGES).write_text("\n".join(lines) + "\n")

    def _base_folders(self) -> list[str]:
        return base_site_folders() if self._options.base_folders is None else self._options.base_folders

    def _install(self, log: IO[bytes], start: int) -> None:
        wanted, limits = self._folder / "requirements.txt", self._folder / "constraints.txt"
        wanted.write_text("\n".join(lines_for_pip(self._requirements)) + "\n")
        limits.write_text("\n".join(_engine_requirements()) + "\n")
        command = [
            sys.executable, _pip(), "--python", str(python_of(self._folder)), "install", "--no-input",
            "--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", "off",
            "--requirement", str(wanted), "--constraint", str(limits),
        ]  # fmt: skip
        if self._options.only_wheels:
            command += ["--only-binary", ":all:"]
        if code := self._run(command, log):
            raise EnvironmentBuildError(self._pip_reason(start, code))

    def _check(self, log: IO[bytes]) -> None:
        """Rafiki's own workers must start with what was installed."""
        command = [str(python_of(self._folder)), "-c", "import rafiki.worker.train, rafiki.worker.inference"]
        if self._run(command, log):
            raise EnvironmentBuildError(f"Rafiki's workers do not start with these packages{self._last_words()}")

    def _run(self, command: list[str], log: IO[bytes]) -> int:
        environment = self._options.process_environment
        boxed: AbstractContextManager[Box] = contextlib.nullcontext(Box(command))
        if (sandbox := self._options.sandbox) is not None:
            # Not the box's own temporary folder, which is small and of memory.
            temporary = self._folder / _TEMPORARY
            temporary.mkdir(mode=0o700, exist_ok=True)
            environment = {**sandbox.environment(environment), "TMPDIR": str(temporary)}
            boxed = sandbox.box(command, self._request(environment))
        with boxed as box:
            self._child = child = subprocess.Popen(
                box.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder,
                start_new_session=True, env=environment, pass_fds=box.descriptors,
            )  # fmt: skip
        try:
            # Looked at after the child is known: stop() either sees the child or is seen here.
            if self._is_stopped:
                raise EnvironmentBuildError(_STOPPED)
            code = child.wait(self._deadline.left_s())
        except subprocess.TimeoutExpired:
            raise EnvironmentBuildError(
                f"it was not finished within {self._options.timeout_s:g} s (environments.build_timeout_s in "
                "rafiki.yaml)"
            ) from None
        finally:
            self._kill()
            self._child = None
        if self._is_stopped:
            raise EnvironmentBuildError(_STOPPED)
        return code

    def _request(self, environment: dict[str, str]) -> BoxRequest:
        """It may write its folder, use the network, and read what pip's settings name."""
        return BoxRequest(
            environment=environment, writes=[self._folder], reads=_named_by_pip(environment), network=True,
            mounts={f"{HOME}/{name}": file for name in _PIP_FOLDERS if (file := Path.home() / name).is_dir()},
            folder=str(self._folder), ends_with_us=True,
        )  # fmt: skip

    def _kill(self) -> None:
        """End what runs, with whatever it started."""
        if (child := self._child) is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_KILL_TIMEOUT_S)

    def _last_words(self) -> str:
        last = [line.strip() for line in tail_lines(self._log_file, 5) if line.strip()]
        if last and (full := explain_no_space(last)):
            return f": {full}"
        return f": {last[-1][:_MOST_REASON_CHARS]}" if last else ""

    def _pip_reason(self, start: int, exit_code: int) -> str:
        """What went wrong in this attempt, in one sentence."""
        with self._log_file.open("rb") as f:
            f.seek(start)
            lines = f.read().decode("utf-8", "replace").splitlines()
        text = explain(lines, exit_code)
        return text[:_MOST_REASON_CHARS] or "pip ended without a word"


def _named_by_pip(environment: dict[str, str]) -> list[Path]:
    """Files and folders that pip's own settings name, as in ``PIP_FIND_LINKS``, and its settings of the machine."""
    named = [word for name, value in environment.items() if name.startswith("PIP_") for word in value.split()]
    named += [
        environment[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE") if name in environment
    ]
    paths = [Path(word.removeprefix("file://")) for word in [*named, "/etc/pip.conf"]]
    return [path for path in paths if path.is_absolute() and path.exists() and path != Path("/")]


def _pip() -> str:
    """pip as a program: by its name it is found where PYTHONPATH leads alone, which environments are built without.

    Raises:
        EnvironmentBuildError: there is none.
    """
    archive = Path(distribution.__file__).parents[1] / distribution.PIP_ARCHIVE
    if archive.is_file():
        return str(archive / "pip")
    found = importlib.util.find_spec("pip")
    if found is None or found.origin is None:
        raise EnvironmentBuildError("pip is not installed beside Rafiki: python -m ensurepip")
    return str(Path(found.origin).parent)


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / "bin" / "python"


def _engine_requirements() -> list[str]:
    """What Rafiki itself needs, as constraints: an environment in which its workers cannot run is of no use."""
    try:
        texts = importlib.metadata.requires(distribution.NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return []  # A checkout that is not installed: the check after the installation is what is left.
    found = [Requirement(text) for text in texts]
    return [
        f"{r.name}{r.specifier}"
        for r in found
        if r.specifier and (r.marker is None or r.marker.evaluate({"extra": ""}))
    ]
