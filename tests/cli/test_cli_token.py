"""`rafiki token`, RAFIKI_TOKEN, passwords, and being logged in by oneself at a stack of one's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.http.contract_server import ContractServer
from support.stacks.running_stack import RunningStack

from rafiki.constants import ExitCode
from rafiki.errors import InvalidPasswordError, UnauthorizedError
from rafiki.utils.pid_file import PidFile, handle_of
from rafiki_cli.application import Application
from rafiki_cli.completion import completers

TOKENS = [
    {
        "id": f"{i}" * 8 + "-aaaa-bbbb-cccc-dddddddddddd", "name": name, "datetime_created": "2025-01-01T10:00:00Z",
        "datetime_expires": "2099-01-31T10:00:00Z", "datetime_used": None, "is_expired": False,
    }
    for i, name in enumerate(["ci", "laptop", "nightly"])
]  # fmt: skip


@pytest.fixture
def with_tokens(logged_in, server: ContractServer):
    server.answers["get_api_tokens"] = TOKENS
    server.answers["create_api_token"] = {
        "id": TOKENS[0]["id"], "name": "ci", "datetime_expires": "2099-01-31T10:00:00Z", "token": "rfk_secret",
    }  # fmt: skip
    server.answers["revoke_api_token"] = lambda request: next(t for t in TOKENS if t["id"] == request.token_id)
    return logged_in


def test_the_new_token_alone_goes_to_stdout(with_tokens, server: ContractServer) -> None:
    result = with_tokens("token", "create", "--name", "ci", "--expires", "30d")
    assert (result.code, result.out) == (0, "rfk_secret\n")
    assert "not shown again" in result.err
    assert "rfk_secret" not in result.err
    sent = server.calls[-1].request
    assert (sent.name, sent.expires_in_s) == ("ci", 30 * 24 * 3600)
    assert json.loads(with_tokens("token", "create", "--name", "ci", "-o", "json").out)["token"] == "rfk_secret"
    assert server.calls[-1].request.expires_in_s is None


@pytest.mark.parametrize("expires", ["soon", "-1d", "0d", "30x", "", "1e9d"])
def test_a_wrong_expiry_is_a_usage_error_before_anything_is_asked(with_tokens, server, expires: str) -> None:
    before = len(server.calls)
    assert with_tokens("token", "create", "--name", "ci", f"--expires={expires}").code == ExitCode.USAGE
    assert len(server.calls) == before


def test_tokens_are_listed_without_their_secrets(with_tokens) -> None:
    out = with_tokens("token", "list").out
    assert all(name in out for name in ("ci", "laptop", "nightly", "valid"))
    assert json.loads(with_tokens("token", "list", "-o", "json").out) == TOKENS


@pytest.mark.parametrize("wanted", ["laptop", TOKENS[1]["id"], "11111111"])
def test_a_token_is_revoked_by_name_or_id(with_tokens, server: ContractServer, wanted: str) -> None:
    result = with_tokens("token", "revoke", wanted)
    assert result.code == 0
    assert "'laptop'" in result.err
    assert server.calls[-1].request.token_id == TOKENS[1]["id"]


def test_an_unknown_token_is_not_found(with_tokens) -> None:
    result = with_tokens("token", "revoke", "nightli")
    assert result.code == ExitCode.NOT_FOUND
    assert "Did you mean 'nightly'?" in result.err


# ---- RAFIKI_TOKEN


def test_rafiki_token_goes_before_the_kept_login(logged_in, server: ContractServer, monkeypatch) -> None:
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_from_ci\n")
    assert logged_in("whoami").code == 0
    assert server.calls[-1].token == "rfk_from_ci"
    monkeypatch.delenv("RAFIKI_TOKEN")
    assert logged_in("whoami").code == 0
    assert server.calls[-1].token == "t"


def test_host_and_token_are_all_that_ci_needs(cli, server: ContractServer, folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("RAFIKI_HOST", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_from_ci")
    assert cli("whoami").code == 0
    assert server.calls[-1].token == "rfk_from_ci"
    assert list(folder.iterdir()) == []


def test_a_refused_token_says_where_it_came_from_and_is_not_shown(logged_in, server, monkeypatch) -> None:
    server.answers["get_train_jobs_by_user"] = UnauthorizedError("The API token 'ci' has expired.")
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_from_ci")
    result = logged_in("train", "list")
    assert result.code == ExitCode.UNAUTHORIZED
    assert "has expired. (The token came from RAFIKI_TOKEN" in result.err
    assert "rfk_from_ci" not in result.err
    monkeypatch.delenv("RAFIKI_TOKEN")
    assert "RAFIKI_TOKEN" not in logged_in("train", "list").err


def test_a_login_beside_rafiki_token_is_warned_of(logged_in, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_from_ci")
    result = logged_in("login", "a@rafiki", "--password-file", "password")
    assert result.code == 0
    assert "goes before this login" in result.err


@pytest.mark.parametrize("level", ["-v", "--verbose"])
def test_verbose_tells_requests_with_status_and_time_but_no_token(logged_in, monkeypatch, level: str) -> None:
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_from_ci")
    result = logged_in("whoami", level, "-o", "json")
    assert json.loads(result.out)["email"] == "a@rafiki"
    assert "/users/me: 200 in " in result.err
    assert "rfk_from_ci" not in result.err
    assert logged_in("whoami").err == ""


# ---- a stack of one's own


@pytest.fixture
def own(cli, server: ContractServer, folder: Path):
    """A folder whose stack runs, as far as its pid file tells, with a password file that we may read."""
    run = folder / ".rafiki" / "run"
    run.mkdir(parents=True)
    (folder / ".rafiki" / "superadmin-password").write_text("first\n")
    PidFile(process=handle_of(os.getpid()), host="127.0.0.1", port=server.port).save(run / "admin.json")
    server.answers["login"] = {"user_id": "u1", "user_type": "SUPERADMIN", "token": "own token"}
    server.answers["get_train_jobs_by_user"] = []
    return cli


def logins(server: ContractServer) -> int:
    return sum(c.name == "login" for c in server.calls)


def test_the_owner_of_a_stack_is_logged_in_by_himself_and_told_once(own, server: ContractServer) -> None:
    result = own("train", "list")
    assert result.code == 0
    assert "Logged in at" in result.err
    assert "first" not in result.err
    assert server.calls[-1].token == "own token"
    again = own("train", "list")
    assert (again.code, "Logged in" in again.err) == (0, False)
    assert logins(server) == 1


def test_a_login_of_another_stack_on_that_port_is_replaced(own, server: ContractServer) -> None:
    assert own("train", "list").code == 0
    answers = iter([UnauthorizedError("This token is not valid.")])
    server.answers["get_current_user"] = lambda _: next(answers, {"id": "u", "email": "superadmin@rafiki"})
    assert own("train", "list").code == 0
    assert logins(server) == 2


def test_somebody_elses_login_is_kept_and_never_swapped_for_the_superadmin(own, server, folder: Path) -> None:
    (folder / "password").write_text("secret")
    assert own("login", "a@rafiki", "--password-file", "password").code == 0
    server.answers["get_train_jobs_by_user"] = UnauthorizedError("Your login has expired.")
    result = own("train", "list")
    assert result.code == ExitCode.UNAUTHORIZED
    assert logins(server) == 1


def test_a_token_in_the_environment_goes_before_being_logged_in(own, server, monkeypatch) -> None:
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_x")
    assert own("train", "list").code == 0
    assert logins(server) == 0


def test_nobody_is_logged_in_by_himself_at_a_remote_admin(own, server: ContractServer, monkeypatch) -> None:
    address = f"127.0.0.1:{server.port}"
    for words in (["--admin", address, "train", "list"], ["--context", "far", "train", "list"]):
        own("context", "add", "far", "--host", address)
        result = own(*words)
        assert result.code == ExitCode.UNAUTHORIZED
        assert "Not logged in" in result.err
    monkeypatch.setenv("RAFIKI_HOST", address)
    assert own("train", "list").code == ExitCode.UNAUTHORIZED
    assert logins(server) == 0


def test_the_password_is_not_sent_to_whoever_has_the_configured_port(own, server, folder: Path) -> None:
    (folder / ".rafiki" / "run" / "admin.json").unlink()
    (folder / "rafiki.yaml").write_text(f"admin: {{port: {server.port}}}\n")
    assert own("train", "list").code == ExitCode.UNAUTHORIZED
    assert [call.name for call in server.calls if call.name != "get_health"] == []


def test_a_first_password_that_no_longer_holds_is_told(own, server: ContractServer) -> None:
    server.answers["login"] = InvalidPasswordError()
    result = own("train", "list")
    assert result.code == ExitCode.UNAUTHORIZED
    assert "another password by now" in result.err


def test_up_warns_when_commands_go_elsewhere(own, server: ContractServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "warning" not in own("up").err
    monkeypatch.setenv("RAFIKI_HOST", "far.example.org:3000")
    warned = own("up")
    assert warned.code == 0
    assert f"not to http://127.0.0.1:{server.port}" in warned.err
    assert "far.example.org:3000, named by RAFIKI_HOST" in warned.err


def test_quickstart_is_for_the_stack_of_this_folder_only(own) -> None:
    for words in (["--admin", "h:1"], ["--context", "prod"]):
        result = own(*words, "quickstart")
        assert (result.code, "a stack of this machine" in result.err) == (ExitCode.USAGE, True)


def test_a_home_that_cannot_be_written_is_no_obstacle(own, server: ContractServer, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/nowhere")
    result = own("train", "list")
    assert result.code == 0
    assert "warning:" in result.err
    assert server.calls[-1].token == "own token"


# ---- the whole of it, with a real stack


def rafiki(stack: RunningStack, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rafiki_cli", *arguments], cwd=stack.folder, env={**stack.environment, **variables},
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_a_ci_job_works_with_a_token_until_it_is_revoked(stack: RunningStack, tmp_path: Path) -> None:
    name = f"ci-{os.getpid()}"
    made = rafiki(stack, "token", "create", "--name", name, "--expires", "1h")
    assert made.returncode == 0, made.stderr
    ci = {
        "RAFIKI_HOST": f"http://127.0.0.1:{stack.port}", "RAFIKI_TOKEN": made.stdout.strip(),
        "XDG_CONFIG_HOME": str(tmp_path), "RAFIKI_CONFIG": "",
    }  # fmt: skip
    done = rafiki(stack, "whoami", "-o", "json", **ci)
    assert json.loads(done.stdout)["email"] == "superadmin@rafiki", done.stderr
    assert list(tmp_path.iterdir()) == []
    [row] = [t for t in json.loads(rafiki(stack, "token", "list", "-o", "json").stdout) if t["name"] == name]
    assert row["datetime_used"] is not None
    refused = rafiki(stack, "token", "create", "--name", "more", **ci)
    assert (refused.returncode, "API token" in refused.stderr) == (ExitCode.UNAUTHORIZED, True)
    assert rafiki(stack, "token", "revoke", name).returncode == 0
    done = rafiki(stack, "train", "list", **ci)
    assert done.returncode == ExitCode.UNAUTHORIZED
    assert f"The API token {name!r} was revoked" in done.stderr
    assert "RAFIKI_TOKEN" in done.stderr


def test_a_password_is_changed_and_reset(stack: RunningStack, tmp_path: Path) -> None:
    email = f"ada-{os.getpid()}@rafiki"
    for file in ("one", "two", "three"):
        (tmp_path / file).write_text(f"the {file} password\n")
    home = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    one, two, three = (str(tmp_path / f) for f in ("one", "two", "three"))
    assert rafiki(stack, "user", "create", email, "--password-file", one).returncode == 0
    assert rafiki(stack, "login", email, "--password-file", one, **home).returncode == 0
    refused = rafiki(stack, "user", "password", "--password-file", two, **home)
    assert (refused.returncode, "--old-password-file" in refused.stderr) == (ExitCode.USAGE, True)
    wrong = rafiki(stack, "user", "password", "--old-password-file", two, "--password-file", two, **home)
    assert wrong.returncode == ExitCode.UNAUTHORIZED
    done = rafiki(stack, "user", "password", "--old-password-file", one, "--password-file", two, **home)
    assert done.returncode == 0, done.stderr
    # The login of this very terminal goes on.
    assert rafiki(stack, "whoami", **home).returncode == 0
    assert rafiki(stack, "user", "password", email, "--password-file", three).returncode == 0
    assert rafiki(stack, "whoami", **home).returncode == ExitCode.UNAUTHORIZED
    assert rafiki(stack, "login", email, "--password-file", three, **home).returncode == 0


def test_the_variable_is_not_sent_to_an_admin_that_only_a_folder_names(cli, folder, monkeypatch) -> None:
    (folder / "rafiki.yaml").write_text("admin: {host: 203.0.113.5, port: 80}\n")
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_from_ci")
    result = cli("model", "list")
    assert (result.code, result.out) == (ExitCode.UNAUTHORIZED, "")
    assert "RAFIKI_TOKEN is not sent to 203.0.113.5:80" in result.err
    assert "RAFIKI_HOST" in result.err


def test_a_prompt_sends_the_variable_to_no_such_admin_either(folder, monkeypatch) -> None:
    (folder / "rafiki.yaml").write_text("admin: {host: 203.0.113.5, port: 80}\n")
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_from_ci")
    asked: list[object] = []
    monkeypatch.setattr(completers, "_get", lambda *a: asked.append(a) or b"[]")
    context = SimpleNamespace(find_root=lambda: SimpleNamespace(obj=Application()))
    assert list(completers.models(context)) == []  # type: ignore[arg-type]
    assert asked == []
