"""What is wrong with the sections ``tracking`` and ``webhooks`` is said at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rafiki.admin.receivers import read_hooks, read_receivers, read_tracking
from rafiki.config import LoadedConfig, load_config
from rafiki.errors import ConfigError

SECRET = "a-long-secret-of-a-webhook"
HOOK = {"url": "https://hooks.example.org/T0/private", "secret_file": "secret"}
MLFLOW = {"kind": "mlflow", "url": "https://mlflow.example.org"}


def load(folder: Path, **sections: Any) -> LoadedConfig:
    (folder / "secret").write_text(SECRET)
    (folder / "empty").write_text("")
    file = folder / "rafiki.yaml"
    file.write_text(yaml.safe_dump(sections))
    return load_config(file, environ={})


def test_what_is_right_is_read_with_its_secrets_and_told_without_them(tmp_path: Path) -> None:
    tracking = {**MLFLOW, "username": "ann", "password_file": "secret"}
    loaded = load(tmp_path, tracking=tracking, webhooks={"send": [{**HOOK, "events": ["*"]}]})
    settings = read_tracking(loaded)
    assert settings is not None
    assert (settings.username, settings.password) == ("ann", SECRET)
    assert read_hooks(loaded)[0].key == SECRET.encode()
    told = read_receivers(loaded)
    assert [(r.kind, r.url) for r in told] == [
        ("mlflow", "https://mlflow.example.org"), ("webhook", "https://hooks.example.org"),
    ]  # fmt: skip
    assert read_receivers(load(tmp_path)) == []


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"tracking": {"kind": "mlflw"}}, "Did you mean 'mlflow'"),
        ({"tracking": {"kind": "mlflow"}}, "wants tracking.url"),
        ({"tracking": {"kind": "mlflow", "url": "mlflow.example.org"}}, "no address of a server"),
        ({"tracking": {"kind": "mlflow", "url": "https://ann:pw@mlflow"}}, "wants no password in tracking.url"),
        ({"tracking": {**MLFLOW, "token_file": "gone"}}, "tracking.token_file: gone cannot be read"),
        ({"tracking": {**MLFLOW, "token_file": "empty"}}, "empty is empty"),
        ({"tracking": {**MLFLOW, "username": "ann"}}, "wants tracking.password_file"),
        ({"tracking": {**MLFLOW, "ca": "secret"}}, "tracking.ca"),
        ({"webhooks": {"send": [{**HOOK, "url": "hooks"}]}}, "no address of the web"),
        ({"webhooks": {"send": [{**HOOK, "events": ["trial.bst"]}]}}, "Did you mean 'trial.best'"),
        ({"webhooks": {"send": [{**HOOK, "secret_file": "gone"}]}}, "gone cannot be read"),
        ({"webhooks": {"send": [HOOK, HOOK]}}, "twice"),
    ],
)
def test_what_is_wrong_is_told_with_its_setting_and_no_secret(
    tmp_path: Path, sections: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read_receivers(load(tmp_path, **sections))
    assert told in refused.value.message
    assert "rafiki.yaml, line" in refused.value.message
    assert "private" not in refused.value.message
    assert "pw" not in refused.value.message
