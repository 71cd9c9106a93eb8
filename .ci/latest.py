"""Today's releases of the libraries, in a virtual environment of their own.

    python .ci/latest.py constraints    write constraints.txt: the versions that were installed
    python .ci/latest.py test [ARGS]    run the tests (with pytest's ARGS), and name the libraries that are newer than
                                        in constraints.txt

Standard library only: it runs before anything is installed. Exit codes: 0; 1 when tests failed; 2 for wrong usage.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = "templates,test,docs,bench,search,audio,xgboost"
HEAD = """\
# The versions that the tests passed with: names and versions only. Made by `make constraints`.
"""
TORCH = "torch==2.13.0"
"""Chosen by hand: of another version pip may take a build with gigabytes of CUDA libraries."""


def install_latest(folder: Path) -> Path:
    """An environment with today's releases; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    subprocess.run([*command, "-e", f".[{EXTRAS}]"], cwd=ROOT, check=True)
    return python


def versions_of(python: Path) -> dict[str, str]:
    """Name -> version of what is installed beside Rafiki itself."""
    command = [str(python), "-m", "pip", "freeze", "--exclude-editable", "--disable-pip-version-check"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)


def tested_versions() -> dict[str, str]:
    """Name -> version in constraints.txt."""
    lines = CONSTRAINTS.read_text("utf-8").splitlines()
    return dict(line.split("==", 1) for line in lines if re.match(r"[A-Za-z0-9]", line))


def held_back(python: Path) -> list[str]:
    """A line for each library with a release that the bounds in pyproject.toml do not admit."""
    # Not Rafiki itself, and not what installs.
    left_out = ["--exclude-editable", "--exclude", "pip", "--exclude", "setuptools"]
    command = [str(python), "-m", "pip", "list", "--outdated", "--format", "json", "--disable-pip-version-check"]
    command += left_out
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [f"{p['name']}: installed {p['version']}, today {p['latest_version']}" for p in found]


def write_constraints(versions: dict[str, str]) -> None:
    """Write constraints.txt, in alphabetical order."""
    lines = sorted([f"{name}=={version}" for name, version in versions.items()] + [TORCH], key=str.lower)
    CONSTRAINTS.write_text(HEAD + "\n".join(lines) + "\n", "utf-8")


def differences(latest: dict[str, str], tested: dict[str, str]) -> list[str]:
    """A line for each library whose newest release is not the tested one."""
    return [
        f"{name}: tested {tested.get(name, 'not at all')}, today {version}"
        for name, version in sorted(latest.items())
        if tested.get(name) != version
    ]


def main(arguments: list[str]) -> int:
    match arguments:
        case ["constraints"] | ["test", *_]:
            pass
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    with tempfile.TemporaryDirectory(prefix="rafiki-latest-") as folder:
        python = install_latest(Path(folder))
        latest = versions_of(python)
        if arguments == ["constraints"]:
            write_constraints(latest)
            print(f"{CONSTRAINTS.name}: {len(latest)} versions. Run `make test` before you commit it.")
            return 0
        found = differences(latest, tested_versions())
        print(
            "\n".join(["Newer than constraints.txt:", *found]) if found else "constraints.txt holds today's releases."
        )
        if bounded := held_back(python):
            print("\n".join(["Held back by a bound, of ours or of another library:", *bounded]))
        sys.stdout.flush()
        code = subprocess.run(
            [str(python), "-m", "pytest", "-n", "2", *arguments[1:]], cwd=ROOT, check=False
        ).returncode
        if code:
            print("\n".join([f"The tests fail (exit code {code}) with today's releases of:", *found]))
        return min(code, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
