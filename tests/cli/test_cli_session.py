from __future__ import annotations

import json
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode, UserType
from rafiki.contract.users import TokenView
from rafiki.errors import ConfigError, InvalidPasswordError
from rafiki_cli.target import contexts, session


def test_a_login_is_kept_in_a_private_file_and_used(logged_in, server: ContractServer, folder: Path) -> None:
    file = folder / "config" / "rafiki" / "logins.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in file.read_text()
    assert json.loads(logged_in("whoami", "-o", "json").out)["email"] == "a@rafiki"
    assert server.calls[-1].token == "t"


def test_after_logout_commands_say_how_to_log_in(logged_in) -> None:
    assert logged_in("logout").code == 0
    result = logged_in("train", "list")
    assert result.code == ExitCode.UNAUTHORIZED
    assert "rafiki login" in result.err


def test_a_login_counts_for_its_admin_only(logged_in) -> None:
    assert logged_in("--admin", "127.0.0.1:1", "whoami").code == ExitCode.UNAUTHORIZED


def test_the_superadmin_logs_in_with_the_password_file_of_the_stack(cli, server: ContractServer, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text(f"admin: {{port: {server.port}}}\n")
    (folder / ".rafiki").mkdir()
    (folder / ".rafiki" / "superadmin-password").write_text("first\n")
    assert cli("login").code == 0
    sent = server.calls[-1].request
    assert (sent.email, sent.password) == ("superadmin@rafiki", "first")


def test_a_wrong_password_is_unauthorized(cli, server: ContractServer, folder: Path) -> None:
    server.answers["login"] = InvalidPasswordError()
    (folder / "password").write_text("wrong")
    result = cli("--admin", f"127.0.0.1:{server.port}", "login", "a@rafiki", "--password-file", "password")
    assert result.code == ExitCode.UNAUTHORIZED


@pytest.fixture
def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@pytest.mark.parametrize("command", ["login", "status"])
def test_a_stack_that_is_down_is_unreachable(cli, folder: Path, free_port: int, command: str) -> None:
    (folder / "rafiki.yaml").write_text(f"admin: {{port: {free_port}}}\n")
    result = cli(command)
    assert result.code == ExitCode.UNREACHABLE
    assert "rafiki up" in result.err


def test_damaged_logins_are_a_clear_error(logged_in, folder: Path) -> None:
    (folder / "config" / "rafiki" / "logins.json").write_text("{")
    result = logged_in("whoami")
    assert result.code == ExitCode.USAGE
    assert "logins.json" in result.err


def test_a_password_needs_a_source_when_there_is_no_terminal(cli, server: ContractServer) -> None:
    result = cli("--admin", f"127.0.0.1:{server.port}", "login", "a@rafiki")
    assert result.code == ExitCode.USAGE
    assert "--password-stdin" in result.err


def test_logins_that_are_kept_at_the_same_time_are_all_kept(folder: Path) -> None:
    addresses = [f"127.0.0.1:{port}" for port in range(1000, 1016)]
    start = threading.Barrier(len(addresses))

    def keep(address: str) -> None:
        start.wait(60)
        session.keep_login(address, "a@rafiki", TokenView(user_id="u1", user_type=UserType.ADMIN, token=address))

    with ThreadPoolExecutor(len(addresses)) as pool:
        list(pool.map(keep, addresses))
    assert [session.find_login(address) for address in addresses] == [
        {"email": "a@rafiki", "user_type": "ADMIN", "token": address} for address in addresses
    ]


def test_a_lock_that_is_never_given_back_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "_LOCK_TIMEOUT_S", 0.05)
    with contexts.user_files_locked(), pytest.raises(ConfigError, match="another command has held this lock"):
        session.keep_login("127.0.0.1:1", "a@rafiki", TokenView(user_id="u1", user_type=UserType.ADMIN, token="t"))
    assert session.find_login("127.0.0.1:1") is None
