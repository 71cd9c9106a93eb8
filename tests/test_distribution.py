"""The name and the version of the distribution, each in one place; and the package of others that is called rafiki."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import rafiki
from rafiki.distribution import NAME
from rafiki.version import __version__

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".ci", "benchmarks", "docs", "examples", "rafiki", "rafiki_cli", "templates", "tests")
FILES = ("Makefile", "README.md", "pyproject.toml", "rafiki.yaml")
SUFFIXES = {"", ".json", ".md", ".py", ".toml", ".tmpl", ".txt", ".yaml", ".yml"}
THEIRS = {
    "__init__.py": "from .rafiki import RafFile\n",
    "rafiki.py": "from .utils import riot_hash\n\n\nclass RafFile:\n    pass\n",
    "utils.py": "def riot_hash(text):\n    return 0\n",
}
"""As `rafiki` 0.4.3 on the public index: its modules, and what they import of each other."""


def texts() -> Iterator[tuple[str, str]]:
    """Path and text of every file that is written by hand."""
    files = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*")] + [ROOT / name for name in FILES]
    for path in files:
        inner = path.relative_to(ROOT)
        if path.is_file() and path.suffix in SUFFIXES and not {"_build", "__pycache__", "_api"} & set(inner.parts):
            yield inner.as_posix(), path.read_text("utf-8", "replace")


# ---- name and version


def test_the_version_is_stated_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["name"] == NAME
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"] == {"path": "rafiki/version.py"}
    assert rafiki.__version__ is __version__
    stated = re.compile(rf"(version|rafiki)[\W_]{{1,8}}{re.escape(__version__)}\b", re.IGNORECASE)
    # What is shown in the documentation was captured when that was the version.
    found = [path for path, text in texts() if stated.search(text) and not path.startswith("docs/")]
    assert found == ["rafiki/version.py"]


def test_nothing_asks_pip_for_the_package_of_others() -> None:
    extras = "|".join(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    wrong = re.compile(
        rf"(?<![/\w])rafiki\[({extras})\b|pip (install|download)( -\S+)* ['\"]?rafiki(?![\w-])"
        r"|metadata\.\w+\(['\"]rafiki['\"]\)"
    )
    own = Path(__file__).relative_to(ROOT).as_posix()
    assert [path for path, text in texts() if wrong.search(text) and path != own] == []


# ---- the package of others


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages that holds Rafiki as its wheel does."""
    folder = tmp_path / "site"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for package in ("rafiki", "rafiki_cli"):
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    return folder


def python(*arguments: str, site: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONWARNINGS": "", "XDG_CONFIG_HOME": str(site / "config")}
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=site.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def install_theirs(site: Path, *, over: bool) -> None:
    """As pip installs it: over ours, or before ours came and overwrote it."""
    for name, text in THEIRS.items():
        if over or not (site / "rafiki" / name).exists():
            (site / "rafiki" / name).write_text(text)


def test_alone_the_import_warns_of_nothing_and_loads_nothing_for_it(site: Path) -> None:
    done = python("-c", "import rafiki, sys; print(sorted(m for m in sys.modules if 'rafiki' in m))", site=site)
    assert (done.stdout, done.stderr) == ("['rafiki', 'rafiki.version']\n", "")
    assert python("-m", "rafiki_cli", "version", site=site).stderr == ""


def test_with_theirs_in_the_same_folder_the_first_import_and_every_command_warn(site: Path) -> None:
    install_theirs(site, over=False)
    done = python("-c", "import rafiki.client, rafiki.model; print(rafiki.__version__)", site=site)
    assert done.stdout == f"{__version__}\n"
    assert done.stderr.count("The package 'rafiki' of others") == 1
    command = python("-m", "rafiki_cli", "version", site=site)
    assert (command.returncode, command.stdout) == (0, f"{__version__}\n")
    assert command.stderr.startswith("warning: The package 'rafiki' of others")
    assert command.stderr.count("\n") == 1


def test_with_theirs_over_ours_the_first_import_fails_with_the_reason_and_what_to_do(site: Path) -> None:
    install_theirs(site, over=True)
    for module in ("rafiki", "rafiki.client"):
        done = python("-c", f"import {module}", site=site)
        assert "OverwrittenError: The package 'rafiki' of others" in done.stderr
    command = python("-m", "rafiki_cli", "--help", site=site)
    assert (command.returncode, command.stdout) == (1, "")
    assert command.stderr.startswith("error: The package 'rafiki' of others (game files) was installed over Rafiki")
    # The order matters: uninstalling theirs takes a file of ours.
    assert re.search(r"pip uninstall rafiki`.*pip install --force-reinstall --no-deps rafiki-ml", command.stderr)
    assert command.stderr.count("\n") == 1


def test_after_theirs_was_uninstalled_the_command_says_what_is_missing(site: Path) -> None:
    (site / "rafiki" / "__init__.py").unlink()
    # The tests' own environment leads to this checkout too, where the file is.
    code = f"import sys; sys.path = [p for p in sys.path if p != {str(ROOT)!r}]; from rafiki_cli.start import main; "
    code += "sys.exit(main())"
    command = python("-c", code, "status", site=site)
    assert command.returncode == 1
    assert command.stderr.startswith(f"error: The file {site}/rafiki/__init__.py is missing")
    assert "pip install --force-reinstall" in command.stderr


def test_with_theirs_before_ours_on_the_path_the_command_says_so(site: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    (first / "rafiki").mkdir(parents=True)
    for name, text in THEIRS.items():
        (first / "rafiki" / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": f"{first}:{site}"}
    done = subprocess.run(
        [sys.executable, "-m", "rafiki_cli", "up"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: `import rafiki` finds another package in {first}/rafiki")
    assert "Traceback" not in done.stderr


def test_an_import_error_of_another_kind_is_not_blamed_on_them(site: Path) -> None:
    (site / "rafiki" / "errors.py").unlink()
    done = python("-m", "rafiki_cli", "status", site=site)
    assert "No module named 'rafiki.errors'" in done.stderr
    assert "of others" not in done.stderr


def test_doctor_names_the_other_package_and_files_that_are_not_ours(site: Path) -> None:
    install_theirs(site, over=False)
    _write_metadata(site, "rafiki", "0.4.3", [])
    _write_metadata(
        site, "rafiki_ml", __version__, [f"rafiki/{name}" for name in ("version.py", "errors.py", "gone.py")]
    )
    (site / "rafiki" / "errors.py").write_text((site / "rafiki" / "errors.py").read_text() + "\n# changed\n")
    done = python("-m", "rafiki_cli", "doctor", "-o", "json", site=site)
    found = [f for f in json.loads(done.stdout)["findings"] if f["check"] == "installation"]
    files, other = (f["found"] for f in found)
    assert [f["verdict"] for f in found] == ["problem", "problem"]
    assert files == "Files of Rafiki are missing or not as they were installed: rafiki/errors.py, rafiki/gone.py."
    assert "The package 'rafiki' 0.4.3 is installed too" in other
    mend = f"pip install --force-reinstall --no-deps 'rafiki-ml=={__version__}'"
    assert [f["cure"] for f in found] == [mend, f"In this order: pip uninstall rafiki; {mend}"]


def _write_metadata(site: Path, name: str, version: str, files: list[str]) -> None:
    """What pip leaves of a package that it installed from an index, with the hashes of some of its files."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    lines = []
    for file in files:
        data = (site / file).read_bytes() if (site / file).exists() else b""
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{file},sha256={digest},{len(data)}\n")
    (folder / "RECORD").write_text("".join(lines))
