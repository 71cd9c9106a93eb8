"""A machine as a stranger has it: a home and a virtual environment of its own, without this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from support.machines.wheels import ROOT

TIMEOUT_S = 200.0
_OURS = ("RAFIKI_", "PYTEST_", "PYTHON", "XDG_", "VIRTUAL_ENV", "COV_")


class Machine:
    """Commands are typed into its shell, where the programs of its environment go first.

    Args:
        folder: an empty one; its home, and all that is made there.
        wheels: a folder of wheels that its pip finds beside what is in the index.
        venv: the virtual environment of another machine, to have it too.
    """

    def __init__(
        self, folder: Path, wheels: Path, variables: Mapping[str, str] | None = None, venv: Path | None = None
    ) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.venv = venv or folder / "venv"
        self._out, self._err = folder / "out", folder / "err"
        self.environment = {**_environment(), **_pip_variables(wheels), **(variables or {})}
        self.environment |= {"HOME": str(self.home), "PATH": f"{self.venv}/bin:{self.environment['PATH']}"}

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    def make_environment(self) -> None:
        """A fresh virtual environment, with pip alone in it."""
        subprocess.run([sys.executable, "-m", "venv", str(self.venv)], check=True, timeout=TIMEOUT_S)

    def borrow_environment(self, *pip_arguments: str) -> None:
        """A virtual environment with what pip installs by these arguments, and the libraries of this one: for what
        depends on the installation of Rafiki alone."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.venv)], check=True, timeout=TIMEOUT_S)
        done = subprocess.run(
            [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--no-deps", *pip_arguments],
            env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=TIMEOUT_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        # Lines of a file that leads to packages are not followed in its turn: the checkout stays out of sight.
        folder = next((self.venv / "lib").glob("python*/site-packages"))
        (folder / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")

    def run(
        self, command: str, folder: Path | str = ".", *, timeout_s: float = TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a step of a pipeline is run, by bash, which ends at the first failure."""
        # Files and not pipes: what `rafiki up` starts holds on to its output.
        with self._out.open("w+") as out, self._err.open("w+") as err:
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command], cwd=self.home / folder,
                env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=timeout_s, check=False,
            )  # fmt: skip
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())

    def must(self, command: str, folder: Path | str = ".", *, timeout_s: float = TIMEOUT_S) -> str:
        """Run a command that has to succeed; what it puts out."""
        done = self.run(command, folder, timeout_s=timeout_s)
        assert done.returncode == 0, f"$ {command}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, command: str, folder: Path | str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command; what it writes goes to a file."""
        with log.open("wb") as file:
            return subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.home / folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip


def _environment() -> dict[str, str]:
    """This process's own, without what leads to this checkout and its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    own = Path(sys.prefix) / "bin"
    folders = [folder for folder in kept.get("PATH", os.defpath).split(os.pathsep) if Path(folder) != own]
    return {**kept, "PATH": os.pathsep.join(folders)}


def _pip_variables(wheels: Path) -> dict[str, str]:
    """What pip needs to find our wheels and the tested versions of all others, and to take these from its cache."""
    found = {
        "PIP_FIND_LINKS": f"{os.environ.get('PIP_FIND_LINKS', '')} {wheels}".strip(),
        "PIP_CONSTRAINT": f"{os.environ.get('PIP_CONSTRAINT', '')} {ROOT / 'constraints.txt'}".strip(),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # Python compiles what is imported; the rest would take the processor from other tests.
        "PIP_NO_COMPILE": "1",
    }
    done = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, timeout=60)
    if done.returncode == 0:
        found["PIP_CACHE_DIR"] = done.stdout.strip()
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pip" / "pip.conf"
    if "PIP_CONFIG_FILE" not in os.environ and home.is_file():
        found["PIP_CONFIG_FILE"] = str(home)
    return found
