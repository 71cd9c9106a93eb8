"""Which admin a command talks to: contexts, RAFIKI_HOST, --admin and --context, and which of them wins."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode

HEALTH = {"name": "rafiki", "version": "1", "status": "ok"}


@pytest.fixture
def other() -> Iterator[ContractServer]:
    """A second admin."""
    running = ContractServer(is_complete=True)
    running.answers["get_health"] = HEALTH
    running.answers["login"] = {"user_id": "u2", "user_type": "ADMIN", "token": "other token"}
    running.answers["get_current_user"] = {"id": "u2", "email": "b@rafiki", "user_type": "ADMIN", "banned_date": None}
    yield running
    running.close()


def address(server: ContractServer) -> str:
    return f"127.0.0.1:{server.port}"


def whose(cli, *options: str) -> str:
    """The email of the user whom the admin in force says we are."""
    result = cli(*options, "whoami", "-o", "json")
    assert result.code == 0, result.err
    email: str = json.loads(result.out)["email"]
    return email


@pytest.fixture
def two(logged_in, other: ContractServer, folder: Path):
    """Logged in at the configured admin, and at another one that is the context ``other``."""
    cli = logged_in
    assert cli("context", "add", "other", "--host", address(other)).code == 0
    assert cli("--context", "other", "login", "b@rafiki", "--password-file", "password").code == 0
    return cli


def test_a_context_is_kept_in_a_private_file_without_any_token(two, folder: Path, other: ContractServer) -> None:
    file = folder / "config" / "rafiki" / "contexts.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == {"current": None, "contexts": {"other": address(other)}}


def test_the_login_of_each_admin_is_kept_by_itself(two) -> None:
    assert whose(two) == "a@rafiki"
    assert whose(two, "--context", "other") == "b@rafiki"


def test_the_current_context_counts_in_every_folder_until_another_is_used(two, folder: Path, monkeypatch) -> None:
    assert two("context", "use", "other").code == 0
    assert whose(two) == "b@rafiki"
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert whose(two) == "b@rafiki"
    monkeypatch.chdir(folder)
    assert two("context", "use", "local").code == 0
    assert whose(two) == "a@rafiki"


def test_the_order_is_admin_context_variable_current_context_and_then_this_folder(
    two, server: ContractServer, other: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert whose(two) == "a@rafiki"
    two("context", "use", "other")
    assert whose(two) == "b@rafiki"
    monkeypatch.setenv("RAFIKI_HOST", address(server))
    assert whose(two) == "a@rafiki"
    assert whose(two, "--context", "other") == "b@rafiki"
    assert whose(two, "--context", "local") == "a@rafiki"
    monkeypatch.setenv("RAFIKI_HOST", address(other))
    assert whose(two, "--admin", address(server)) == "a@rafiki"
    assert whose(two, "--context", "local") == "a@rafiki"


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "http://127.0.0.1:{}", "http://127.0.0.1:{}/"])
def test_rafiki_host_takes_an_address_or_a_url(logged_in, server: ContractServer, monkeypatch, form: str) -> None:
    monkeypatch.setenv("RAFIKI_HOST", form.format(server.port))
    assert whose(logged_in) == "a@rafiki"


@pytest.mark.parametrize(
    "value", ["localhost", "a b:1", "http://host/path:1", "host:0", "host:port", "me@host:1", ":3000"]
)
def test_a_wrong_address_says_where_it_stands(cli, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RAFIKI_HOST", value)
    result = cli("whoami")
    assert result.code == ExitCode.USAGE
    assert result.err.startswith("error: RAFIKI_HOST: ")
    monkeypatch.delenv("RAFIKI_HOST")
    assert "--host" in cli("context", "add", "x", "--host", value).err
    assert "--admin" in cli("--admin", value, "whoami").err


def test_the_list_tells_which_context_is_in_force_and_why(
    two, server: ContractServer, other: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_force() -> tuple[list[str], str]:
        rows = json.loads(two("context", "list", "-o", "json").out)
        assert [(r["name"], r["address"]) for r in rows] == [("local", address(server)), ("other", address(other))]
        assert [r["login"] for r in rows] == ["a@rafiki", "b@rafiki"]
        return [r["name"] for r in rows if r["is_in_force"]], two("context", "list").err

    names, why = in_force()
    assert names == ["local"]
    assert "no other context is chosen" in why
    two("context", "use", "other")
    names, why = in_force()
    assert names == ["other"]
    assert "current context" in why
    monkeypatch.setenv("RAFIKI_HOST", address(server))
    names, why = in_force()
    assert names == []
    assert "RAFIKI_HOST" in why


def test_show_tells_one_context_or_the_admin_in_force(two, other: ContractServer, monkeypatch) -> None:
    assert json.loads(two("context", "show", "other", "-o", "json").out)["login"] == "b@rafiki"
    found = json.loads(two("--context", "other", "context", "show", "-o", "json").out)
    assert (found["name"], found["address"], found["why"]) == ("other", address(other), "--context names it.")
    monkeypatch.setenv("RAFIKI_TOKEN", "secret")
    text = two("context", "show").out
    assert "RAFIKI_TOKEN" in text
    assert "secret" not in text


def test_an_unknown_context_is_not_found_and_answered_with_the_nearest(two) -> None:
    for words in (["context", "use", "othr"], ["context", "remove", "othr"], ["--context", "othr", "whoami"]):
        result = two(*words)
        assert result.code == ExitCode.NOT_FOUND
        assert "Did you mean 'other'?" in result.err


def test_a_context_is_replaced_only_by_force(two, server: ContractServer, other: ContractServer) -> None:
    assert two("context", "add", "other", "--host", address(other)).code == 0
    refused = two("context", "add", "other", "--host", address(server))
    assert refused.code == ExitCode.USAGE
    assert address(other) in refused.err
    assert two("context", "add", "other", "--host", address(server), "--force", "--use").code == 0
    assert whose(two) == "a@rafiki"


def test_removing_the_current_context_goes_back_to_this_folder(two) -> None:
    two("context", "use", "other")
    assert "the folder they are run in" in two("context", "remove", "other").err
    assert whose(two) == "a@rafiki"
    assert two("context", "show", "other").code == ExitCode.NOT_FOUND


@pytest.mark.parametrize("name", ["local", "", "a b", "-x", "a/b", "x" * 65])
def test_a_context_needs_a_name_that_can_be_typed(cli, name: str) -> None:
    assert cli("context", "add", "--host", "h:1", "--", name).code == ExitCode.USAGE


def test_local_cannot_be_removed(cli) -> None:
    result = cli("context", "remove", "local")
    assert (result.code, "always there" in result.err) == (ExitCode.USAGE, True)


def test_admin_and_context_exclude_each_other(cli) -> None:
    result = cli("--admin", "h:1", "--context", "local", "whoami")
    assert (result.code, "not both" in result.err) == (ExitCode.USAGE, True)


def test_damaged_contexts_are_a_clear_error(two, folder: Path) -> None:
    (folder / "config" / "rafiki" / "contexts.json").write_text('{"contexts": 1}')
    for words in (["whoami"], ["context", "list"]):
        result = two(*words)
        assert result.code == ExitCode.USAGE
        assert "contexts.json" in result.err


def test_a_login_for_a_remote_admin_needs_an_email(two) -> None:
    result = two("--context", "other", "login")
    assert result.code == ExitCode.USAGE
    assert "--context" in result.err


def test_who_is_not_logged_in_at_a_context_is_told_the_command(two) -> None:
    two("--context", "other", "logout")
    result = two("--context", "other", "train", "list")
    assert result.code == ExitCode.UNAUTHORIZED
    assert "`rafiki --context other login EMAIL`" in result.err


def test_status_of_a_context_shows_no_processes_of_this_machine(two, other: ContractServer) -> None:
    other.answers["get_services"] = []
    found = json.loads(two("--context", "other", "status", "-o", "json").out)
    assert found["admin"]["address"] == address(other)
    assert "folder" not in found


def test_a_context_that_is_down_is_unreachable_without_talk_of_up(two, other: ContractServer) -> None:
    two("context", "add", "gone", "--host", "127.0.0.1:1")
    result = two("--context", "gone", "status")
    assert result.code == ExitCode.UNREACHABLE
    assert "rafiki up" not in result.err
