"""`rafiki config set` and `get`: one setting changes, every other letter stays."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from rafiki.constants import ExitCode
from rafiki_cli.yaml_files.config_edit import CannotEditError, set_value, unset, written

COMMENTED = """\
# Our stack.

admin:            # who may talk to it
  host: 127.0.0.1
  port: 3000      # the old one
  # token_hours: 8

container:
    gpus:
      - 0
      - 1
    # the last word

cache: {url: null, port: 0}
stores:
"""


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        ("admin.port", 3001, "port: 3000      # the old one", "port: 3001      # the old one"),
        ("admin.host", "0.0.0.0", "host: 127.0.0.1", "host: 0.0.0.0"),
        ("admin.token_hours", 8, "# the old one\n", "# the old one\n  token_hours: 8\n"),
        ("container.gpus", [2], "gpus:\n      - 0\n      - 1\n", "gpus: [2]\n"),
        ("container.memory_limit_mb", 512, "      - 1\n", "      - 1\n    memory_limit_mb: 512\n"),
        ("cache.port", 6379, "port: 0}", "port: 6379}"),
        ("cache.url", "redis://localhost:6379/0", "url: null", "url: redis://localhost:6379/0"),
        ("cache.start_timeout_s", 5.5, "port: 0}", "port: 0, start_timeout_s: 5.5}"),
        ("stores.params_folder", "/data/params", "stores:\n", "stores:\n  params_folder: /data/params\n"),
        ("train.heartbeat_s", 1.0, "stores:\n", "stores:\ntrain:\n  heartbeat_s: 1.0\n"),
    ],
)
def test_a_setting_changes_and_every_other_letter_stays(key: str, value: Any, old: str, new: str) -> None:
    section, _, name = key.partition(".")
    assert COMMENTED.count(old) == 1
    assert set_value(COMMENTED, section, name, value) == COMMENTED.replace(old, new)


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("admin.port", "  port: 3000      # the old one\n", ""),
        ("container.gpus", "container:\n    gpus:\n      - 0\n      - 1\n", ""),
        ("cache.port", ", port: 0", ""),
        ("cache.url", "url: null, ", ""),
        ("admin.token_hours", "", ""),
        ("train.heartbeat_s", "", ""),
    ],
)
def test_a_setting_is_taken_out_and_every_other_letter_stays(key: str, old: str, new: str) -> None:
    section, _, name = key.partition(".")
    expected = COMMENTED.replace(old, new) if old else COMMENTED
    assert unset(COMMENTED, section, name) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "# only a comment\n", "# no line break at the end", "admin:", "admin:\n", "admin: {}", "admin: {}\n",
        "{}", "admin:\n  host: a", "admin:\r\n  host: a\r\ncache:\r\n  port: 1\r\n", "admin: {host: a,}\n",
        "{admin: {host: a}}", "admin:\n  host: a\n\n\n# end\n", "---\nadmin:\n  host: a\n", "'admin':\n  'host': a\n",
        'admin: {\n  host: "a",\n  # why\n}\n', "admin:\n  host: >\n    a\n    b\ncache: {}\n", "admin: ~\n",
    ],
)  # fmt: skip
def test_whatever_a_file_looks_like_a_setting_comes_in_and_goes_again(text: str) -> None:
    before = yaml.safe_load(text) or {}
    with_it = set_value(text, "admin", "port", 3001)
    assert yaml.safe_load(with_it)["admin"] == {**(before.get("admin") or {}), "port": 3001}
    changed = set_value(with_it, "admin", "port", 3002)
    assert yaml.safe_load(changed)["admin"]["port"] == 3002
    after = yaml.safe_load(unset(changed, "admin", "port")) or {}
    assert {k: v for k, v in after.items() if v} == {k: v for k, v in before.items() if v}
    for comment in ("# only a comment", "# no line break", "# end", "# why"):
        assert (comment in text) == (comment in changed)


@pytest.mark.parametrize(
    "value",
    ["a", "", "yes", "1", "null", "a: b", "# a", "two\nlines", " ä ", "'", 1, 1.5, True, None, [], [1, 2], ["a"]],
)
def test_a_value_is_read_back_as_it_was_written(value: Any) -> None:
    text = set_value("admin:\n  host: b  # c\n", "admin", "host", value)
    assert "\n" not in written(value)
    read = yaml.safe_load(text)["admin"]["host"]
    assert (type(read), read) == (type(value), value)
    assert text.endswith("  # c\n")


@pytest.mark.parametrize(
    "text",
    ["x: &p 3000\nadmin:\n  port: *p\n", "base: &b {port: 1}\nadmin: *b\n", "base: &b {port: 1}\nadmin:\n  <<: *b\n"],
)
def test_what_cannot_be_changed_safely_is_refused(text: str) -> None:
    with pytest.raises(CannotEditError, match="editor"):
        set_value(text, "admin", "port", 3001)


def test_the_file_is_made_where_there_is_none(cli, folder: Path) -> None:
    result = cli("config", "set", "admin.port", "3001")
    assert (result.code, result.out) == (0, "")
    assert "set admin.port" in result.err
    assert (folder / "rafiki.yaml").read_text() == "admin:\n  port: 3001\n"
    assert cli("config", "get", "admin.port").out == "3001\n"
    found = json.loads(cli("config", "get", "admin.port", "-o", "json").out)
    assert (found["value"], found["origin"]) == (3001, f"{folder / 'rafiki.yaml'}, line 2")


def test_the_file_found_upward_is_changed_and_keeps_its_mode(
    cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "rafiki.yaml"
    file.write_text(COMMENTED)
    file.chmod(0o600)
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert cli("config", "set", "admin.port", "3001").code == 0
    assert file.read_text() == COMMENTED.replace("3000", "3001")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(folder / "below") == []


def test_config_names_the_file_that_is_changed(cli, folder: Path) -> None:
    assert cli("--config", "other.yaml", "config", "set", "admin.port", "3001").code == 0
    assert (folder / "other.yaml").read_text() == "admin:\n  port: 3001\n"
    assert not (folder / "rafiki.yaml").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["admin.prt", "1"], "Did you mean 'port'?"),
        (["admn.port", "1"], "Did you mean 'admin'?"),
        (["admin", "1"], "admin is a section"),
        (["admin.port", "x"], "admin.port = 'x': expected `int | null`, got `str`"),
        (["admin.port", "70000"], "between 0 and 65535"),
        (["train.heartbeat_s", "-1"], "must be above 0"),
        (["container.backend", "podman"], "Unknown container back end 'podman'. There are: process"),
        (["admin.host", "[a"], "not valid YAML"),
        (["admin.port"], "Give a VALUE, or --unset"),
        (["admin.port", "1", "--unset"], "Give a VALUE, or --unset"),
    ],
)
def test_a_wrong_change_is_a_usage_error_and_changes_nothing(cli, folder: Path, words: list[str], says: str) -> None:
    (folder / "rafiki.yaml").write_text(COMMENTED)
    result = cli("config", "set", "--", *words) if "-1" in words else cli("config", "set", *words)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert says in result.err
    assert (folder / "rafiki.yaml").read_text() == COMMENTED


def test_a_wrong_setting_can_be_set_right(cli, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text("admin:\n  port: many\n")
    assert cli("config", "set", "admin.host", "::1").code == ExitCode.USAGE
    assert cli("config", "set", "admin.port", "3001").code == 0
    assert (folder / "rafiki.yaml").read_text() == "admin:\n  port: 3001\n"


def test_a_file_that_is_no_yaml_stays_as_it_is(cli, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text("admin:\n\tport: 1\n")
    result = cli("config", "set", "admin.port", "3001")
    assert result.code == ExitCode.USAGE
    assert "rafiki.yaml, line 2: this is not valid YAML" in result.err
    assert (folder / "rafiki.yaml").read_text() == "admin:\n\tport: 1\n"


def test_a_secret_comes_from_stdin_and_is_not_shown(cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("postgresql://me:secret@db/rafiki\n"))
    assert cli("config", "set", "meta_store.url", "-").code == 0
    assert "postgresql://me:secret@db/rafiki" in (folder / "rafiki.yaml").read_text()
    assert cli("config", "get", "meta_store.url").out == "postgresql://me:***@db/rafiki\n"


def test_a_variable_that_goes_before_the_file_is_told(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFIKI_ADMIN__PORT", "4000")
    result = cli("config", "set", "admin.port", "3001")
    assert result.code == 0
    assert "RAFIKI_ADMIN__PORT goes before it" in result.err
    assert cli("config", "get", "admin.port").out == "4000\n"


def test_setting_what_is_set_already_writes_nothing(cli, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text(COMMENTED)
    inode = (folder / "rafiki.yaml").stat().st_ino
    assert "nothing to change" in cli("config", "set", "admin.port", "3000").err
    assert "there is no" in cli("config", "set", "train.heartbeat_s", "--unset").err
    assert (folder / "rafiki.yaml").stat().st_ino == inode
