"""What pip really wrote in failures of many kinds, and the one sentence that people get of it."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from rafiki.environments.reasons import explain, explain_os_error

OUTPUTS = Path(__file__).parent / "pip_outputs"
PYTHON = ".".join(map(str, sys.version_info[:2]))
SENTENCES = {
    "build_dependency_missing": "what building badmeta 1.0 needs cannot be installed: no package "
    "'no-such-build-backend-xyz'",
    "build_of_python_2": "py2pkg 1.0 has no wheel for this Python, and building it failed: its build script is "
    "written for Python 2",
    "build_that_is_killed": "the build of killed 1.0 was killed (SIGKILL, mostly for want of memory)",
    "build_that_raises": "building it failed: RuntimeError: You need CUDA 9 to build this. Choose another "
    "version of raises",
    "build_tools_missing": "what building cpkg 1.0 needs cannot be installed: no package 'setuptools'",
    "build_without_a_compiler": "building it failed: it needs a C compiler (gcc), which this machine lacks. Install it",
    "build_without_a_header": "building it failed: it needs the header 'no_such_header.h', which this machine lacks",
    "build_without_a_module": "No module named 'numpy_not_there': its build script needs it to be installed before",
    "build_without_pkg_resources": "pkgres 1.0 has no wheel for this Python, and building it failed: No module named "
    "'pkg_resources': its build script is for older build tools. Choose another version of pkgres",
    "conflict": "conflict between aaa 1.0 depends on common<2 and bbb 1.0 depends on common>=2",
    "conflict_with_rafiki": "conflict between needsold 1.0 depends on numpy<1.20 and Rafiki or pip's settings ask for "
    "numpy>=1.26",
    "disk_full": "no space is left on the disk: free some (`rafiki gc`",
    "hash_mismatch": "hash mismatch: what came for colorama==0.4.6 is not what was expected",
    "missing_need": "no package 'not-there-at-all', which needsmissing needs, was found",
    "needs_another_python": "needsnew needs Python >=4.0, and this is 3.11.7",
    "no_name_service": "no network: the package index cannot be reached (its name is not known here)",
    "no_network": "no network: the package index cannot be reached (connection refused)",
    "no_package": "no package 'no-such-package-xyzzy' was found that this Python",
    "no_version": f"no version of numpy 99.0 for this Python ({PYTHON}); the newest there are: ",
    "no_version_for_this_python": f"no version of tensorflow 1.12.0 for this Python ({PYTHON}); the newest there are: ",
    "other_platform": "no package 'onlywin' was found that this Python",
    "pinned_beside_a_constraint": f"no version of torch 0.4.1 for this Python ({PYTHON})",
    "version_for_other_pythons": "numpy 1.21.2 needs Python >=3.7,<3.11, and this is ",
}


def test_every_captured_output_has_its_sentence() -> None:
    assert sorted(SENTENCES) == sorted(f.stem for f in OUTPUTS.glob("*.txt"))


@pytest.mark.parametrize("kind", SENTENCES)
def test_the_line_that_matters_becomes_one_sentence(kind: str) -> None:
    found = explain((OUTPUTS / f"{kind}.txt").read_text().splitlines())
    assert SENTENCES[kind] in found
    assert "\n" not in found
    # pip's own last words, and addresses, which may hold passwords.
    for words in ("pip subprocess to install", "subprocess-exited", "ERROR:", "://", "Retry("):
        assert words not in found
    assert len(found) < 400


def block(*lines: str, code: int = 1) -> list[str]:
    """The output of a build that failed with these lines."""
    step = "Building wheel for tool (pyproject.toml)"
    return [
        "Collecting tool==2.1", f"  {step}: started", "  error: subprocess-exited-with-error", "  ",
        f"  \u00d7 {step} did not run successfully.", f"  \u2502 exit code: {code}",
        f"  \u2570\u2500> [{len(lines)} lines of output]", *(f"      {line}" for line in lines),
        "      [end of output]", "  ", "  ERROR: Failed building wheel for tool",
        "ERROR: Could not build wheels for tool",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "tool"),
    [
        ("error: can't find Rust compiler", "a Rust compiler"),
        ("Cargo, the Rust package manager, is not installed or is not on PATH.", "a Rust compiler"),
        ("error: [Errno 2] No such file or directory: 'cmake'", "CMake"),
        ("error: command 'gcc' failed: No such file or directory", "a C compiler"),
        ("unable to execute 'x86_64-linux-gnu-gcc': No such file or directory", "a C compiler"),
        ("error: [Errno 2] No such file or directory: 'clang++'", "a C compiler"),
        ("../meson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc']]", "a C compiler"),
        ("OSError: CUDA_HOME environment variable is not set.", "the CUDA toolkit"),
        ("src/a.c:3:10: fatal error: Python.h: No such file or directory", "the headers of Python"),
    ],
)
def test_a_tool_that_a_build_lacks_is_named(line: str, tool: str) -> None:
    assert f"it needs {tool}" in explain(block("running build_ext", line, "error: command failed"))


def test_a_connection_that_broke_once_is_no_reason_when_the_rest_came() -> None:
    lines = [
        "WARNING: Retrying after connection broken by 'ReadTimeoutError()': /simple/a/",
        "ERROR: Could not find a version that satisfies the requirement a==9 (from versions: 1.0, 2.0)",
    ]
    assert explain(lines).startswith("no version of a 9 for this Python")


@pytest.mark.parametrize(
    ("lines", "exit_code", "words"),
    [
        ([], -9, "pip was killed (SIGKILL, mostly for want of memory)"),
        (["ERROR: HTTP error 403 while getting a"], 1, "the package index refuses with 403"),
        (["ERROR: Something that nobody has seen yet"], 1, "Something that nobody has seen yet"),
        (["no error line", "the last words"], 2, "the last words"),
        ([], 1, ""),
    ],
)
def test_what_is_of_no_known_kind_is_told_as_it_came(lines: list[str], exit_code: int, words: str) -> None:
    found = explain(lines, exit_code)
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_an_error_of_the_system_says_where_and_a_full_disk_what_to_do() -> None:
    assert explain_os_error(PermissionError(13, "Permission denied", "/a/b"), "/a") == "Permission denied (/a/b)"
    assert "no space is left on the disk" in explain_os_error(OSError(errno.ENOSPC, "No space left on device"), "/a")
