"""Folders that a setting names and that can be none: told with key, file and line, before anything is made."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rafiki.config import load_config
from rafiki.errors import ConfigError, RafikiError, StackError
from rafiki.stack_folder import StackFolder
from rafiki.utils import paths
from rafiki_cli import main as command_line
from rafiki_cli.main import main

KEYS = ["stack.folder", "stores.datasets_folder", "stores.params_folder", "stores.environments_folder"]
WRONG = [
    ("/dev/null", "/dev/null cannot be a folder: it is no folder"),
    ("file", "cannot be a folder: it is a file"),
    ("file/below", "a part of the path is a file, not a folder"),
    ("dangling", "is a link to nowhere, which is not there"),
    ("loop", "a link leads back to itself"),
    ("loop/below", "a link leads back to itself"),
    ("x" * 300, "the path is too long"),
    ('""', "must not be empty"),
    ('"  "', "must not be empty"),
    ('"a\\0b"', "zero byte"),
    ("~nobody-of-that-name/x", "there is no user '~nobody-of-that-name'"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("RAFIKI_CONFIG", "RAFIKI_HOST", "RAFIKI_TOKEN", "RAFIKI_STACK__FOLDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


def refusal(folder: Path, key: str, value: str) -> str:
    section, _, name = key.partition(".")
    (folder / "rafiki.yaml").write_text(f"# settings\n{section}:\n  {name}: {value}\n")
    with pytest.raises(RafikiError) as caught:
        StackFolder(load_config(start=folder, environ={})).create()
    assert isinstance(caught.value, (ConfigError, StackError))
    return caught.value.message


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("value", "says"), WRONG, ids=[value[:12] for value, _ in WRONG])
def test_a_folder_that_can_be_none_is_told_with_its_key_file_and_line(
    folder: Path, key: str, value: str, says: str
) -> None:
    message = refusal(folder, key, value)
    assert says in message
    assert message.startswith(f"{folder / 'rafiki.yaml'}, line 3: {key} = ")


@pytest.mark.parametrize("words", [["up"], ["status"], ["down"], ["logs"], ["train", "list"]])
def test_commands_tell_it_as_what_it_is(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    (folder / "rafiki.yaml").write_text("stack: {folder: /dev/null}\n")
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "line 1: stack.folder = '/dev/null'" in err
    assert "unexpected" not in err


def test_a_home_and_a_folder_above_are_understood(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "home"))
    (folder / "rafiki.yaml").write_text("stack: {folder: ~/stack}\n")
    assert StackFolder(load_config(start=folder, environ={})).root == folder / "home" / "stack"
    loaded = load_config(start=folder, environ={"RAFIKI_STACK__FOLDER": "../here"})
    assert StackFolder(loaded).root == folder.parent / "here"
    with pytest.raises(ConfigError) as caught:
        StackFolder(load_config(start=folder, environ={"RAFIKI_STACK__FOLDER": "file"}))
    assert caught.value.message.startswith("environment variable RAFIKI_STACK__FOLDER: stack.folder = 'file'")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_made_names_the_setting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def mkdir(self: Path, **_: object) -> None:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    message = refusal(folder, "stack.folder", "stack")
    assert message.startswith(
        f"{folder / 'rafiki.yaml'}, line 3: stack.folder: cannot make the folder {folder / 'stack'}"
    )
    assert paths.why(OSError(code, "")) in message


def test_a_full_disk_is_no_fault_of_the_program(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/file")

    monkeypatch.setattr(command_line, "_run", fail)
    assert main(["status"]) == 1
    assert capsys.readouterr().err == "error: /data/file: no space is left on the disk.\n"


@pytest.mark.parametrize(("name", "says"), [
    ("loop", "a link leads back to itself"), (".", "this is a folder"), ("dangling", "no such configuration file"),
])  # fmt: skip
def test_a_configuration_file_that_is_none_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    assert main(["--config", name, "config", "show"]) == 2
    assert says in capsys.readouterr().err
