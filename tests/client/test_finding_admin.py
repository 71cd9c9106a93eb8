"""Which admin ``Client()`` talks to when it is told nothing, and as whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.http.contract_server import ContractServer

from rafiki.client import Client
from rafiki.errors import ConfigError, InvalidPasswordError, InvalidRequestError, UnauthorizedError, UnreachableError
from rafiki.utils.pid_file import PidFile, handle_of

SUPERADMIN = "superadmin@rafiki"


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that names an admin: no variables, no kept contexts and logins, no project."""
    for name in ("RAFIKI_HOST", "RAFIKI_TOKEN", "RAFIKI_CONFIG", "RAFIKI_ADDR", "ADMIN_EXT_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "rafiki").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def make_project(folder: Path, port: int | None, *, password: str | None = "a password", yaml: str = "") -> Path:
    """A project whose stack listens at a port; None = its stack does not run."""
    stack = folder / ".rafiki"
    (stack / "run").mkdir(parents=True)
    (folder / "rafiki.yaml").write_text(yaml)
    if port is not None:
        PidFile(process=handle_of(os.getpid()), host="127.0.0.1", port=port).save(stack / "run" / "admin.json")
    if password is not None:
        (stack / "superadmin-password").write_text(password + "\n")
    return folder


def keep(tmp_path: Path, name: str, tree: object) -> None:
    (tmp_path / "config" / "rafiki" / name).write_text(json.dumps(tree))


def keep_login(tmp_path: Path, port: int, email: str, token: str) -> None:
    login = {"email": email, "user_type": "ADMIN", "token": token}
    keep(tmp_path, "logins.json", {f"127.0.0.1:{port}": login})


def test_what_it_is_told_goes_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFIKI_HOST", "elsewhere:1")
    monkeypatch.setenv("RAFIKI_ADDR", "old")
    assert Client("here", "3001").address == "here:3001"
    assert Client("here").address == "here:3000"
    assert Client(admin_port=3002).address == "localhost:3002"


def test_in_a_project_it_is_the_projects_stack_and_its_owner_is_logged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ContractServer
) -> None:
    project = make_project(tmp_path / "project", server.port)
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    server.answers["login"] = {"user_id": "u1", "user_type": "SUPERADMIN", "token": "made now"}
    server.answers["get_datasets"] = []
    client = Client()
    assert client.address == f"127.0.0.1:{server.port}"
    assert repr(client) == f"<Client of 127.0.0.1:{server.port}: it is the stack of {project}>"
    assert server.calls == []
    client.get_datasets()
    client.get_datasets()
    login, *calls = server.calls
    assert (login.name, login.request.email, login.request.password) == ("login", SUPERADMIN, "a password")
    assert [(c.name, c.token) for c in calls] == [("get_datasets", "made now")] * 2


def test_a_script_in_a_project_finds_its_stack_from_any_folder(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", 4321)
    (project / "scripts").mkdir()
    script = project / "scripts" / "train.py"
    script.write_text("from rafiki.client import Client\nprint(Client().address)\n")
    done = subprocess.run([sys.executable, script], cwd=tmp_path / "elsewhere", capture_output=True, text=True)
    # The process that the pid file names runs: it is this one.
    assert done.stdout == "127.0.0.1:4321\n", done.stderr


def test_a_kept_login_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ContractServer) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", server.port))
    keep_login(tmp_path, server.port, "dev@rafiki", "kept")
    server.answers["get_datasets"] = []
    Client().get_datasets()
    assert [(c.name, c.token) for c in server.calls] == [("get_datasets", "kept")]
    monkeypatch.setenv("RAFIKI_TOKEN", "of the variable")
    Client().get_datasets()
    assert server.calls[-1].token == "of the variable"


def test_who_changed_the_first_password_is_known_by_the_kept_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ContractServer
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", server.port))
    server.answers["login"] = InvalidPasswordError()
    server.answers["get_datasets"] = []
    with pytest.raises(UnauthorizedError, match="rafiki login"):
        Client().get_datasets()
    keep_login(tmp_path, server.port, SUPERADMIN, "kept")
    Client().get_datasets()
    assert server.calls[-1].token == "kept"


def test_a_login_of_its_own_and_a_logout_end_the_search_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ContractServer
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", server.port))
    client = Client()
    client.logout()
    assert client.get_current_user() is None
    with pytest.raises(UnauthorizedError):
        client.get_datasets()
    server.answers["login"] = {"user_id": "u1", "user_type": "ADMIN", "token": "mine"}
    server.answers["get_datasets"] = []
    client = Client()
    client.login("me@rafiki", "my password")
    client.get_datasets()
    assert [(c.name, c.token) for c in server.calls[-2:]] == [("login", None), ("get_datasets", "mine")]


def test_rafiki_host_and_a_chosen_context_go_before_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", 4321))
    keep(tmp_path, "contexts.json", {"current": "prod", "contexts": {"prod": "https://prod:443"}})
    assert repr(Client()) == "<Client of https://prod:443: it is the current context, 'prod'>"
    monkeypatch.setenv("RAFIKI_HOST", "variable:5")
    assert repr(Client()) == "<Client of variable:5: RAFIKI_HOST in the environment names it>"


def test_the_variables_of_the_first_generation_name_the_admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFIKI_ADDR", "rafiki.lab")
    assert Client().address == "rafiki.lab:3000"
    monkeypatch.setenv("ADMIN_EXT_PORT", "8000")
    client = Client()
    assert client.address == "rafiki.lab:8000"
    # Their scripts log in by themselves.
    keep(tmp_path, "logins.json", {client.address: {"email": "a@b", "user_type": "ADMIN", "token": "kept"}})
    assert client.get_current_user() is None
    monkeypatch.delenv("RAFIKI_ADDR")
    assert Client().address == "localhost:8000"
    # They go after a project whose stack runs, and before one whose stack does not.
    monkeypatch.chdir(make_project(tmp_path / "down", None))
    assert Client().address == "localhost:8000"
    monkeypatch.chdir(make_project(tmp_path / "up", 4321))
    assert Client().address == "127.0.0.1:4321"


@pytest.mark.parametrize("port", ["many", "0", "65536", ""])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("ADMIN_EXT_PORT", port or " ")
    if not port:
        assert Client().address == "localhost:3000"
        return
    with pytest.raises(InvalidRequestError, match=f"ADMIN_EXT_PORT is '{port}'"):
        Client()


def free_port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_a_stack_that_does_not_run_is_named_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    project = make_project(tmp_path / "project", None, yaml=f"admin: {{port: {port}}}\n")
    monkeypatch.chdir(project)
    with pytest.raises(UnreachableError, match=rf"{port}\. {project}/rafiki\.yaml names .*`rafiki up`"):
        Client().get_health()


def test_when_nothing_names_an_admin_the_error_says_what_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rafiki.client.find_admin.DEFAULT_PORT", free_port())
    with pytest.raises(UnreachableError) as caught:
        Client().get_health()
    told = caught.value.message
    looked_at = ["RAFIKI_HOST", "RAFIKI_ADDR", "context", str(tmp_path / "elsewhere"), "rafiki.yaml"]
    assert [part for part in (*looked_at, "rafiki up", "Client('HOST', PORT)") if part not in told] == []


def test_rafiki_token_goes_to_no_other_machine_that_only_a_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", None, yaml="admin: {host: 192.0.2.1}\n", password=None))
    monkeypatch.setenv("RAFIKI_TOKEN", "secret")
    client = Client()
    assert client.address == "192.0.2.1:3000"
    with pytest.raises(UnauthorizedError):
        client.get_datasets()


def test_a_wrong_rafiki_yaml_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", None, yaml="admni: {}\n"))
    with pytest.raises(ConfigError, match=r"rafiki\.yaml"):
        Client()
    assert Client("127.0.0.1", 1).address == "127.0.0.1:1"
