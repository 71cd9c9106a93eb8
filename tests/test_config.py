from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from rafiki.config import LoadedConfig, find_config_file, load_config, worker_environment
from rafiki.errors import ConfigError
from rafiki.settings import AdminConfig, Config
from rafiki.user_environment import user_config_folder

ROOT = Path(__file__).resolve().parent.parent


def load(folder: Path, text: str | None = None, **layers: Any) -> LoadedConfig:
    if text is not None:
        (folder / "rafiki.yaml").write_text(text)
    return load_config(start=folder, **{"environ": {}, **layers})


def origin_of(loaded: LoadedConfig, key: str) -> tuple[Any, str]:
    [found] = [o for o in loaded.origins if o.key == key]
    return found.value, found.origin


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded.config == Config()
    assert (loaded.file, loaded.base_folder) == (None, tmp_path)
    assert {o.origin for o in loaded.origins} == {"default"}


def test_a_value_may_be_in_a_file_that_a_variable_names(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://rafiki:s3cret@postgres/rafiki\n")
    variables = {"RAFIKI_META_STORE__URL_FILE": str(tmp_path / "url")}
    loaded = load(tmp_path, "meta_store: {url: 'sqlite:///other.db'}", environ=variables)
    found = origin_of(loaded, "meta_store.url")
    assert found == ("postgresql://rafiki:s3cret@postgres/rafiki", "environment variable RAFIKI_META_STORE__URL_FILE")
    twice = {**variables, "RAFIKI_META_STORE__URL": "sqlite:///x.db"}
    with pytest.raises(ConfigError, match=r"RAFIKI_META_STORE__URL_FILE: meta_store\.url is set twice"):
        load(tmp_path, environ=twice)
    (tmp_path / "url").unlink()
    with pytest.raises(ConfigError, match=r"RAFIKI_META_STORE__URL_FILE: .*/url cannot be read"):
        load(tmp_path, environ=variables)
    with pytest.raises(ConfigError, match=r"unknown setting meta_store\.urll_file"):
        load(tmp_path, environ={"RAFIKI_META_STORE__URLL_FILE": "x"})


@pytest.mark.parametrize("text", ["[3119, 3100]", "[0, 5]", "[3100, 70000]"])
def test_a_range_of_ports_has_a_first_and_a_last_one(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, "predictor: {ports: [3100, 3119]}").config.predictor.ports == (3100, 3119)
    with pytest.raises(ConfigError, match=r"line 1: predictor\.ports = .*the first and the last port"):
        load(tmp_path, f"predictor: {{ports: {text}}}")


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "admin:\n", "admin: {}\n"])
def test_an_empty_file_or_section_leaves_the_defaults(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text).config == Config()


def test_each_layer_wins_over_the_one_before_and_says_so(tmp_path: Path) -> None:
    text = "admin:\n  port: 3001\n  host: 0.0.0.0\n  token_hours: 1\n"
    environ = {"RAFIKI_ADMIN__PORT": "3002", "RAFIKI_ADMIN__HOST": "127.0.0.2"}
    loaded = load(tmp_path, text, environ=environ, flags={"admin.port": 3003})
    file = tmp_path / "rafiki.yaml"
    assert origin_of(loaded, "admin.port") == (3003, "flag")
    assert origin_of(loaded, "admin.host") == ("127.0.0.2", "environment variable RAFIKI_ADMIN__HOST")
    assert origin_of(loaded, "admin.token_hours") == (1.0, f"{file}, line 4")
    assert origin_of(loaded, "admin.max_dataset_mb") == (AdminConfig().max_dataset_mb, "default")
    assert loaded.config.admin == AdminConfig(port=3003, host="127.0.0.2", token_hours=1.0)


def test_the_nearest_file_above_the_working_folder_counts(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "rafiki.yaml").write_text("admin: {port: 1}\n")
    assert load(deep).config.admin.port == 1
    (tmp_path / "a" / "rafiki.yaml").write_text("admin: {port: 2}\n")
    loaded = load(deep)
    assert (loaded.config.admin.port, loaded.base_folder) == (2, tmp_path / "a")
    assert find_config_file(tmp_path) == tmp_path / "rafiki.yaml"


def test_a_named_file_wins_over_the_variable_and_that_over_the_found_one(tmp_path: Path) -> None:
    files = []
    for port in (1, 2, 3):
        folder = tmp_path / str(port)
        folder.mkdir()
        files.append(folder / "rafiki.yaml")
        files[-1].write_text(f"admin: {{port: {port}}}\n")
    environ = {"RAFIKI_CONFIG": str(files[1])}
    assert load_config(start=files[0].parent, environ={}).config.admin.port == 1
    assert load_config(start=files[0].parent, environ=environ).config.admin.port == 2
    assert load_config(files[2], start=files[0].parent, environ=environ).config.admin.port == 3


@pytest.mark.parametrize("layers", [{"file": Path("no/such.yaml")}, {"environ": {"RAFIKI_CONFIG": "no/such.yaml"}}])
def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path, layers: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no/such\.yaml: there is no such configuration file"):
        load(tmp_path, **layers)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("admin:\n  host: x\n  prot: 1\n", ["line 3", "admin.prot", "Did you mean 'port'?"]),
        ("# comment\nadmni:\n  port: 1\n", ["line 2", "'admni'", "Did you mean 'admin'?"]),
        ("admin:\n  zzzzzz: 1\n", ["line 2", "admin.zzzzzz", "Valid: host, port"]),
        ("port: 3000\n", ["line 1", "unknown section 'port'"]),
        ("admin: 3000\n", ["line 1", "admin must hold settings"]),
        ("admin:\n  port: [\n", ["line 3", "not valid YAML"]),
        ("admin:\n\tport: 1\n", ["line 2", "not valid YAML"]),
        ("- admin\n", ["must hold sections", "list"]),
        ("admin:\n  port: many\n", ["line 2", "admin.port = 'many'", "int"]),
        ("admin:\n  port: '3000'\n", ["line 2", "admin.port = '3000'", "int"]),
        ("admin:\n  port: 99999\n", ["line 2", "admin.port = 99999", "65535"]),
        ("admin:\n  token_hours: 0\n", ["line 2", "admin.token_hours = 0", "above 0"]),
        ("admin:\n  token_hours: .nan\n", ["admin.token_hours = nan"]),
        ("admin:\n  token_hours: .inf\n", ["admin.token_hours = inf"]),
        ("supervisor:\n  max_restarts: -1\n", ["supervisor.max_restarts = -1", "negative"]),
        ("container:\n  backend: 1\n", ["container.backend = 1", "str"]),
        ("container:\n  gpus: [first]\n", ["container.gpus"]),
        ("container:\n  memory_limit_mb: -5\n", ["container.memory_limit_mb = -5"]),
        ("admin:\n  token_hours:\n", ["admin.token_hours = None"]),
        ("? [a, b]\n: 1\n", ["not valid YAML"]),
        ("admin: !!python/object/apply:os.system ['true']\n", ["not valid YAML"]),
    ],
)
def test_an_error_in_the_file_names_its_line_its_key_and_what_would_be_right(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = caught.value.message
    assert message.startswith(str(tmp_path / "rafiki.yaml"))
    assert [w for w in words if w not in message] == [], message


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rafiki.yaml").write_bytes(b"admin: \xff\xfe\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("RAFIKI_ADMIN__PORT", "3001", "admin.port", 3001),
        ("RAFIKI_ADMIN__TOKEN_HOURS", "0.5", "admin.token_hours", 0.5),
        ("RAFIKI_CONTAINER__GPUS", "[0, 3]", "container.gpus", [0, 3]),
        ("RAFIKI_CONTAINER__PASS_ENVIRONMENT", "[HF_HOME]", "container.pass_environment", ["HF_HOME"]),
        ("RAFIKI_META_STORE__URL", "postgresql://u:p@h/d", "meta_store.url", "postgresql://u:p@h/d"),
        ("RAFIKI_CACHE__URL", "null", "cache.url", None),
    ],
)
def test_a_variable_is_read_as_yaml(tmp_path: Path, name: str, text: str, key: str, value: Any) -> None:
    assert origin_of(load(tmp_path, environ={name: text}), key) == (value, f"environment variable {name}")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("RAFIKI_ADMIN__PROT", "1", ["RAFIKI_ADMIN__PROT", "Did you mean 'port'?"]),
        ("RAFIKI_ADMNI__PORT", "1", ["RAFIKI_ADMNI__PORT", "Did you mean 'admin'?"]),
        ("RAFIKI_ADMIN__PORT", "many", ["RAFIKI_ADMIN__PORT", "admin.port = 'many'"]),
        ("RAFIKI_ADMIN__TOKEN_HOURS", "", ["RAFIKI_ADMIN__TOKEN_HOURS", "admin.token_hours = None"]),
        ("RAFIKI_ADMIN__PORT", "[", ["RAFIKI_ADMIN__PORT", "not valid YAML"]),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, environ={name: text})
    assert [w for w in words if w not in caught.value.message] == [], caught.value.message


@pytest.mark.parametrize("name", ["RAFIKI_STACK", "RAFIKI_SERVICE_ID", "PATH", "ADMIN__PORT", "RAFIKI_PORT"])
def test_other_variables_are_no_settings(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, environ={name: "x"}).config == Config()


@pytest.mark.parametrize(("flag", "words"), [("admin.prot", "'port'"), ("admni.port", "'admin'"), ("admin", "admin.")])
def test_a_wrong_flag_is_named(tmp_path: Path, flag: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"flag: .*{words}"):
        load(tmp_path, flags={flag: 1})


def test_the_file_that_is_shipped_is_valid() -> None:
    assert load_config(ROOT / "rafiki.yaml", environ={}).file == ROOT / "rafiki.yaml"


def test_what_is_shown_loads_again_as_the_same(tmp_path: Path) -> None:
    loaded = load(tmp_path, "admin: {port: 4000}\ncontainer: {gpus: [1]}\n")
    again = load(tmp_path, yaml.safe_dump(msgspec.to_builtins(loaded.config)))
    assert again.config == loaded.config


def test_workers_see_an_allow_list_of_the_environment() -> None:
    environ = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "AWS_SECRET_ACCESS_KEY": "s",
        "RAFIKI_META_STORE__URL": "u",
        "HF_HOME": "h",
    }
    assert worker_environment([], environ) == {"PATH": "/bin", "HOME": "/home/me"}
    assert worker_environment(["HF_HOME", "UNSET"], environ) == {"PATH": "/bin", "HOME": "/home/me", "HF_HOME": "h"}


def test_the_superadmins_password_is_that_of_the_variable_else_of_the_stack_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUPERADMIN_PASSWORD", raising=False)
    monkeypatch.delenv("RAFIKI_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    from rafiki.config import SUPERADMIN_PASSWORD as WITHOUT

    assert WITHOUT == ""
    (tmp_path / "rafiki.yaml").write_text("stack: {folder: state}\n")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "superadmin-password").write_text("of the stack\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    from rafiki.config import SUPERADMIN_PASSWORD as OF_STACK

    assert OF_STACK == "of the stack"
    monkeypatch.setenv("SUPERADMIN_PASSWORD", "of the variable")
    from rafiki.config import SUPERADMIN_PASSWORD as OF_VARIABLE

    assert OF_VARIABLE == "of the variable"


def test_logins_lie_where_the_desktop_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_config_folder({"XDG_CONFIG_HOME": "/x"}) == Path("/x/rafiki")
    monkeypatch.setenv("HOME", "/home/me")
    assert user_config_folder({}) == Path("/home/me/.config/rafiki")
