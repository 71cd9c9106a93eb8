"""What `rafiki init` writes into requirements.txt: where another machine gets the Rafiki that is installed here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from rafiki.constants import ExitCode
from rafiki.version import __version__
from rafiki_cli.origin import Origin, OriginKind, parse_direct_url, without_secrets
from rafiki_cli.scaffold.requirement import (
    ProjectRequirement,
    is_unfilled,
    line_with_extra,
    parse_requirement,
    requirement_of,
)

WHEEL = f"rafiki_ml-{__version__}-py3-none-any.whl"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECRETS = ("s3cret", "t0ken")
GIT = {"vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": COMMIT}}
ARCHIVE = {"archive_info": {"hash": "sha256=aa", "hashes": {"sha256": "aa"}}}


def required(url: str, info: dict[str, Any], extra: str | None = "torch") -> ProjectRequirement:
    """What is required when an installer left this ``direct_url.json``."""
    return requirement_of(parse_direct_url(json.dumps({"url": url, **info})), extra)


def pip(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--isolated", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)


# ---- by where the installation came from


def test_from_an_index_the_version_is_required_by_our_name() -> None:
    found = requirement_of(Origin(kind=OriginKind.INDEX), "templates")
    assert (found.text(), found.warning) == (f"rafiki-ml[templates]=={__version__}", None)
    assert requirement_of(Origin(kind=OriginKind.INDEX), None).text() == f"rafiki-ml=={__version__}"


@pytest.mark.parametrize(
    ("url", "info", "line"),
    [
        ("https://git.example.org/rafiki.git", GIT, f"git+https://git.example.org/rafiki.git@{COMMIT}"),
        ("ssh://git@git.example.org/rafiki.git", GIT, f"git+ssh://git@git.example.org/rafiki.git@{COMMIT}"),
        (
            "https://git.example.org/all.git",
            {**GIT, "subdirectory": "rafiki"},
            f"git+https://git.example.org/all.git@{COMMIT}#subdirectory=rafiki",
        ),
        (
            "https://${CI_USER}:${CI_TOKEN}@git.example.org/rafiki.git",
            GIT,
            f"git+https://${{CI_USER}}:${{CI_TOKEN}}@git.example.org/rafiki.git@{COMMIT}",
        ),
        (f"https://example.org/{WHEEL}", ARCHIVE, f"https://example.org/{WHEEL}#sha256=aa"),
        (f"http://example.org/{WHEEL}", {"archive_info": {"hash": "sha512=bb"}}, f"http://example.org/{WHEEL}#sha512=bb"),
        (f"https://example.org/{WHEEL}", {"archive_info": {}}, f"https://example.org/{WHEEL}"),
        (
            "https://example.org/all.tar.gz",
            {"archive_info": {"hashes": {"md5": "cc", "sha256": "aa"}}, "subdirectory": "x"},
            "https://example.org/all.tar.gz#sha256=aa&subdirectory=x",
        ),
    ],
)  # fmt: skip
def test_an_address_is_required_as_pip_takes_it(url: str, info: dict[str, Any], line: str) -> None:
    found = required(url, info)
    assert (found.text(), found.warning) == (f"rafiki-ml[torch] @ {line}", None)
    assert Requirement(found.line).name == "rafiki-ml"


@pytest.mark.parametrize(
    ("url", "info"),
    [
        ("https://user:s3cret@git.example.org/rafiki.git", GIT),
        ("https://t0ken@git.example.org/rafiki.git", GIT),
        ("ssh://git:s3cret@git.example.org/rafiki.git", GIT),
        (f"https://user:s3cret@example.org/{WHEEL}", ARCHIVE),
        (f"https://example.org/{WHEEL}?X-Signature=s3cret", ARCHIVE),
        (f"https://${{USER}}:s3cret@example.org/{WHEEL}", ARCHIVE),
    ],
)
def test_no_secret_of_an_address_is_written_and_that_is_told(url: str, info: dict[str, Any]) -> None:
    found = required(url, info)
    assert not [s for s in SECRETS if s in found.text() or s in str(found.warning)]
    assert "@ git+" in found.line or "@ https://example.org/" in found.line
    assert "~/.netrc" in found.text()
    assert found.warning is not None
    assert "not written" in found.warning


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (json.dumps({"url": f"file:///home/ada/{WHEEL}", **ARCHIVE}), OriginKind.LOCAL_FILE),
        (json.dumps({"url": "file:///home/ada/ra%20fiki", "dir_info": {"editable": True}}), OriginKind.LOCAL_FOLDER),
        (json.dumps({"url": "file:///home/ada/rafiki", "dir_info": {}}), OriginKind.LOCAL_FOLDER),
        (json.dumps({"url": "file:///home/ada/rafiki.git", **GIT}), OriginKind.LOCAL_FOLDER),
        (json.dumps({"url": "https://example.org/x"}), OriginKind.UNKNOWN),
        (json.dumps({"url": "https://[x/y", **GIT}), OriginKind.UNKNOWN),
        (json.dumps({"url": 7}), OriginKind.UNKNOWN),
        ("{", OriginKind.UNKNOWN),
    ],
)
def test_what_no_other_machine_can_fetch_is_told_with_how_to_fill_it_in(text: str, kind: OriginKind) -> None:
    origin = parse_direct_url(text)
    assert origin.kind is kind
    found = requirement_of(origin, "torch")
    assert found.warning is not None
    assert "--requirement" in found.warning
    assert origin.address in found.warning
    # Nobody else is shown where things are on this machine.
    assert "ada" not in found.text()
    for form in (f"rafiki-ml[torch]=={__version__} ", "rafiki-ml[torch] @ git+https://", f"./wheels/{WHEEL}[torch]"):
        assert form in found.text()


def test_an_address_of_this_machine_is_written_with_a_warning() -> None:
    for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000"):
        found = required(f"http://{host}/{WHEEL}", ARCHIVE)
        assert found.line == f"rafiki-ml[torch] @ http://{host}/{WHEEL}#sha256=aa"
        assert found.warning is not None
        assert "names this machine" in found.warning


def test_an_address_is_kept_but_for_what_may_be_secret() -> None:
    assert without_secrets("https://example.org/a%20b/c.whl") == ("https://example.org/a%20b/c.whl", False, False)
    assert without_secrets("https://u:p@example.org:8/x?a=b#c") == ("https://example.org:8/x", True, True)


# ---- the command


def test_init_writes_what_this_installation_came_from(cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"git+https://git.example.org/rafiki.git@{COMMIT}"
    monkeypatch.setattr("rafiki_cli.origin.find_origin", lambda: Origin(kind=OriginKind.REPOSITORY, address=address))
    result = cli("init", "demo", "--template", "ctc")
    assert f"\nrafiki-ml[torch] @ {address}\n" in (folder / "demo" / "requirements.txt").read_text()
    assert "warning" not in result.err


def test_init_from_a_checkout_says_that_ci_cannot_fetch_it(cli, folder: Path) -> None:
    # The tests run from one.
    result = cli("init", "demo")
    assert result.code == 0
    assert "warning: Rafiki was installed from a folder on this machine" in result.err
    assert is_unfilled((folder / "demo" / "requirements.txt").read_bytes())
    # What CI does first ends with this reason.
    done = pip("install", "--dry-run", "--no-index", "-r", "requirements.txt", cwd=folder / "demo")
    assert done.returncode != 0
    assert "it was installed from a folder on this machine, which no other machine can fetch" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_init_fills_in_what_the_first_did_not_know(cli, folder: Path) -> None:
    cli("init", "demo")
    result = cli("init", "demo", "--requirement", "rafiki-ml==7.1")
    assert (result.code, result.out) == (0, "demo\n└── requirements.txt\n")
    assert "\nrafiki-ml[templates]==7.1\n" in (folder / "demo" / "requirements.txt").read_text()
    # What was filled in is somebody's own, and so is a file with lines of somebody's own.
    assert cli("init", "demo", "--requirement", "rafiki-ml==7.2").code == ExitCode.USAGE
    cli("init", "other")
    file = folder / "other" / "requirements.txt"
    file.write_text(file.read_text() + "pandas\n")
    assert cli("init", "other", "--requirement", "rafiki-ml==7.2").code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("lines", "changed"),
    [
        ("rafiki-ml[templates]==1.0\npytest>=8", "rafiki-ml[templates,torch]==1.0"),
        ("# rafiki-ml\nRafiki_ML", "Rafiki_ML[torch]"),
        (
            "rafiki-ml @ git+https://h/r.git@v1#subdirectory=x",
            "rafiki-ml[torch]@ git+https://h/r.git@v1#subdirectory=x",
        ),
        (f"./wheels/{WHEEL}[templates]", f"./wheels/{WHEEL}[templates,torch]"),
        ("rafiki-ml[torch,templates]==1.0", None),
        (f"./{WHEEL}[torch]", None),
        ("pytest>=8\n-r other.txt\nRAFIKI IS MISSING HERE: x", None),
    ],
)
def test_the_line_for_another_extra(lines: str, changed: str | None) -> None:
    found = line_with_extra(lines, "torch")
    assert (found and found.replace(" @", "@")) == (changed and changed.replace(" @", "@"))


def test_a_new_model_says_which_line_its_tests_need_in_ci(cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("init", "demo", "--requirement", "rafiki-ml==7.1")
    monkeypatch.chdir(folder / "demo")
    said = cli("model", "new", "Net", "--template", "cnn").err
    assert "Put this line into requirements.txt:\n\n  rafiki-ml[templates,torch]==7.1\n" in said
    assert "requirements.txt" not in cli("model", "new", "Tree", "--template", "svm").err


# ---- --requirement


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("rafiki-ml", "rafiki-ml[torch]"),
        ("Rafiki_ML >= 0.1, < 2", "rafiki-ml[torch]<2,>=0.1"),
        ("rafiki-ml[search,torch]==1.0", "rafiki-ml[search,torch]==1.0"),
        ("rafiki-ml==1.0; python_version > '3.10'", 'rafiki-ml[torch]==1.0; python_version > "3.10"'),
        ("rafiki-ml @ git+https://h/r.git@v1", "rafiki-ml[torch] @ git+https://h/r.git@v1"),
        ("git+ssh://git@h/r.git@v1#subdirectory=x", "rafiki-ml[torch] @ git+ssh://git@h/r.git@v1#subdirectory=x"),
        (f"https://h/{WHEEL}#sha256=aa", f"rafiki-ml[torch] @ https://h/{WHEEL}#sha256=aa"),
        (
            "rafiki-ml[search] @ https://${U}:${T}@h/r.tar.gz ; sys_platform == 'linux'",
            'rafiki-ml[search,torch] @ https://${U}:${T}@h/r.tar.gz ; sys_platform == "linux"',
        ),
        (f"./wheels/{WHEEL}", f"./wheels/{WHEEL}[torch]"),
        (f"wheels/{WHEEL}[search]", f"./wheels/{WHEEL}[search,torch]"),
        ("./vendor/rafiki", "./vendor/rafiki[torch]"),
    ],
)
def test_a_requirement_of_ours_is_written_with_the_extra(tmp_path: Path, text: str, line: str) -> None:
    assert parse_requirement(text, "torch", tmp_path).line == line


def test_a_path_within_the_project_is_written_from_there(tmp_path: Path) -> None:
    (tmp_path / WHEEL).touch()
    found = parse_requirement(str(tmp_path / WHEEL), None, tmp_path)
    assert (found.line, found.warning) == (f"./{WHEEL}", None)
    missing = parse_requirement(f"./wheels/{WHEEL}", None, tmp_path)
    assert missing.warning is not None
    assert "not there yet" in missing.warning


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rafiki==0.4.3", "Rafiki's is 'rafiki-ml'"),
        ("rafiki", "Rafiki's is 'rafiki-ml'"),
        ("rafiki @ https://h/r.zip", "Rafiki's is 'rafiki-ml'"),
        ("https://h/rafiki-0.4.3-py2.py3-none-any.whl", "Rafiki's is 'rafiki-ml'"),
        ("./rafiki-0.4.3-py2.py3-none-any.whl", "Rafiki's is 'rafiki-ml'"),
        ("./wheel.whl", "no name of a wheel"),
        ("", "no requirement"),
        ("rafiki-ml\nevil", "no requirement"),
        ("--index-url https://h", "no requirement"),
        ("-e .", "no requirement"),
        ("rafiki-ml = 1", "no requirement"),
        ("rafiki-ml==x", "no requirement"),
        ("../rafiki", "outside the project"),
        (f"/srv/{WHEEL}", "outside the project"),
        ("~/rafiki", "outside the project"),
        (f"file:///srv/{WHEEL}", "file of this machine"),
        ("ftp://h/r.whl", "pip fetches from"),
        ("https://user:s3cret@h/r.zip", "user or a password"),
        ("rafiki-ml @ git+https://t0ken@h/r.git", "user or a password"),
        ("rafiki-ml @ https://h/r.zip?key=s3cret", "a query"),
        ("https://[s3cret/r.zip", "no address"),
    ],
)
def test_another_requirement_is_refused_and_nothing_is_written(cli, folder: Path, text: str, told: str) -> None:
    result = cli("init", "demo", f"--requirement={text}")
    assert result.code == ExitCode.USAGE
    assert told in result.err
    assert not [s for s in SECRETS if s in result.err]
    assert not (folder / "demo").exists()
