from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from rafiki.constants import ExitCode


def test_show_tells_the_value_and_origin_of_every_setting(cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "rafiki.yaml").write_text("admin: {port: 3100}\n")
    monkeypatch.setenv("RAFIKI_TRAIN__HEARTBEAT_S", "3")
    rows = {r["key"]: r for r in json.loads(cli("config", "show", "--origin", "-o", "json").out)}
    assert (rows["admin.port"]["value"], rows["admin.port"]["origin"]) == (3100, f"{folder / 'rafiki.yaml'}, line 1")
    assert rows["train.heartbeat_s"]["origin"] == "environment variable RAFIKI_TRAIN__HEARTBEAT_S"
    assert rows["stack.folder"]["origin"] == "default"


def test_show_puts_out_yaml_that_is_a_configuration(cli, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text("admin: {port: 3100}\n")
    shown = cli("config", "show", "-o", "yaml").out
    assert yaml.safe_load(shown)["admin"]["port"] == 3100
    (folder / "copy.yaml").write_text(shown)
    assert cli("config", "validate", "copy.yaml").code == 0


def test_passwords_in_urls_are_not_shown(cli, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text(
        "meta_store: {url: 'postgresql://me:se/cr@et@db/x'}\ncache: {url: 'redis://:hidden@c:6379/0'}\n"
    )
    for form in ("table", "json", "yaml"):
        out = cli("config", "show", "-o", form).out
        assert "hidden" not in out
        assert "cr@et" not in out
        assert "***@db/x" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("admin: {prot: 3100}\n", "unknown setting admin.prot. Did you mean 'port'?"),
        ("admin: {port: many}\n", "admin.port = 'many'"),
        ("admin: [\n", "not valid YAML"),
        ("admin:\n  port: 1\n  port: 2\n", "line 3: admin.port stands here a second time (first in line 2)"),
        ("admin: {port: 1}\ncache: {port: 2}\nadmin: {port: 1}\n", "line 3: admin stands here a second time"),
    ],
)
def test_a_wrong_file_is_a_usage_error_that_says_where(cli, folder: Path, text: str, message: str) -> None:
    (folder / "other.yaml").write_text(text)
    for arguments in (["config", "validate", "other.yaml"], ["status", "--config", "other.yaml"]):
        result = cli(*arguments)
        assert result.code == ExitCode.USAGE
        assert "other.yaml" in result.err
        assert message in result.err
        assert result.out == ""


@pytest.mark.parametrize(
    ("text", "told", "changed"),
    [
        ("", "0 settings differ from", []),
        ("admin: {port: 1}\n", "1 setting differs from", ["admin.port"]),
        ("admin: &a {port: 1}\ncache: *a\n", "2 settings differ from", ["admin.port", "cache.port"]),
    ],
)
def test_a_valid_file_is_told_with_what_it_changes(cli, folder: Path, text: str, told: str, changed: list[str]) -> None:
    (folder / "rafiki.yaml").write_text(text)
    result = cli("config", "validate", "-o", "json")
    assert (result.code, json.loads(result.out)["changed"]) == (0, changed)
    assert told in result.err


@pytest.mark.parametrize("name", ["RAFIKI_OIDC__CLIENT_SECRET", "RAFIKI_TRACKING__TOKEN"])
def test_a_secret_of_the_environment_is_never_shown(
    cli, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "sesame-open")
    key = name.removeprefix("RAFIKI_").lower().replace("__", ".")
    for arguments in (["show"], ["show", "--origin"], ["show", "-o", "json"], ["get", key], ["get", key, "-o", "json"]):
        result = cli("config", *arguments)
        assert "sesame-open" not in result.out + result.err
        assert "***" in result.out
    (folder / "rafiki.yaml").write_text(f"{key.partition('.')[0]}: {{{key.partition('.')[2]}: x}}\n")
    monkeypatch.delenv(name)
    assert "does not belong here" in cli("config", "show").err


def test_webhooks_are_shown_as_they_are_written(cli, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text("webhooks: {send: [{url: 'https://x', secret_file: s, events: ['*']}]}\n")
    shown = json.loads(cli("config", "get", "webhooks.send", "-o", "json").out)
    assert shown["value"] == [{"url": "https://x", "secret_file": "s", "events": ["*"]}]
    assert "NamedWebhook" not in cli("config", "show").out
