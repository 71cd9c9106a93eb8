"""What the section `oidc` of rafiki.yaml may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rafiki.config import load_config
from rafiki.errors import ConfigError
from rafiki.oidc.settings import OidcClient, read_oidc

RIGHT = {"issuer": "https://login.example.org/lab", "client_id": "rafiki", "default_role": "APP_DEVELOPER"}


def read(folder: Path, environ: dict[str, str] | None = None, **settings: Any) -> OidcClient | None:
    (folder / "rafiki.yaml").write_text(json.dumps({"oidc": settings}))
    return read_oidc(load_config(folder / "rafiki.yaml", environ=environ or {}))


def test_without_an_issuer_nothing_is_offered(tmp_path: Path) -> None:
    assert read(tmp_path) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"issuer": None}, "oidc.client_id: is of no use without oidc.issuer"),
        ({"issuer": "http://login.example.org"}, "oidc.issuer: 'http://login.example.org' is no address"),
        ({"issuer": "login.example.org"}, "https://HOST/PATH"),
        ({"issuer": "https://me:you@login.example.org"}, "no address"),
        ({"issuer": "https://login.example.org?x=1"}, "neither ? nor #"),
        ({"issuer": "https://[::1"}, "no address"),
        ({"client_id": None}, "wants oidc.client_id"),
        ({"default_role": None}, "lets nobody in"),
        ({"default_role": "SUPERADMIN"}, "oidc.default_role"),
        ({"roles": {"staff": "BOSS"}}, "oidc.roles"),
        ({"scopes": ["email"]}, "'openid'"),
        ({"callback_url": "http://rafiki.example.org/oidc/callback"}, "oidc.callback_url"),
        ({"email_domains": ["@example.org"]}, "is no domain"),
        ({"client_secret_file": "nowhere.txt"}, "nowhere.txt cannot be read: it is not there"),
        ({"ca": "nowhere.pem"}, "oidc.ca"),
        ({"timeout_s": 0}, "above 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_setting(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, **{**RIGHT, **wrong})
    assert said in refused.value.message
    assert "rafiki.yaml, line 1" in refused.value.message


def test_the_secret_comes_from_a_file_or_the_environment_and_never_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(" of a file\n")
    variable = {"RAFIKI_OIDC__CLIENT_SECRET": "of a variable"}
    found = [
        read(tmp_path, **RIGHT),
        read(tmp_path, **RIGHT, client_secret_file="secret.txt"),
        read(tmp_path, variable, **RIGHT),
        read(tmp_path, {"RAFIKI_OIDC__CLIENT_SECRET_FILE": "secret.txt"}, **RIGHT),
    ]
    assert [client and client.secret for client in found] == [None, "of a file", "of a variable", "of a file"]
    with pytest.raises(ConfigError, match="does not belong here") as refused:
        read(tmp_path, **RIGHT, client_secret="written down")
    assert "written down" not in refused.value.message
    with pytest.raises(ConfigError, match="Leave one of them out"):
        read(tmp_path, variable, **RIGHT, client_secret_file="secret.txt")
    (tmp_path / "secret.txt").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        read(tmp_path, **RIGHT, client_secret_file="secret.txt")
