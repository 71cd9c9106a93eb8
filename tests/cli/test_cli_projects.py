"""Several projects on one machine: which stack a command speaks to, with real stacks where their processes matter."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.http.contract_server import ContractServer
from support.stacks.running_stack import eventually, kill

from rafiki.constants import ExitCode
from rafiki.stack_identity import StackIdentity, Standing, examine, write_identity
from rafiki.utils.pid_file import STACK_VARIABLE, PidFile, ProcessHandle, handle_of
from rafiki.utils.process import find_stack_processes
from rafiki_cli.main import main

REPO = str(Path(__file__).parents[2])


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Goes into a project of a name, which is made; the stacks of all are stopped at the end."""
    monkeypatch.setenv("PYTHONPATH", REPO)
    made: set[Path] = set()

    def enter(name: str) -> Path:
        place = folder / name
        place.mkdir(exist_ok=True)
        (place / "rafiki.yaml").touch()
        made.add(place)
        monkeypatch.chdir(place)
        return place

    yield enter
    for place in filter(Path.is_dir, made):
        monkeypatch.chdir(place)
        main(["down"])
        assert find_stack_processes(place / ".rafiki") == [], "a process was left behind"


def admin_of(place: Path) -> PidFile:
    found = PidFile.find(place / ".rafiki" / "run" / "admin.json", place / ".rafiki")
    assert found is not None
    return found


def id_of(place: Path) -> str | None:
    return examine(place / ".rafiki").known_id


# ---- without a stack


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.communicate()


def test_a_project_whose_stack_is_down_goes_to_nobody_else(
    cli, project: Callable[[str], Path], server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rafiki.settings.DEFAULT_ADMIN_PORT", server.port)
    place = project("b")
    (place / "models").mkdir()
    monkeypatch.chdir(place / "models")
    for command in (["train", "list"], ["login"], ["model", "list", "-o", "json"]):
        result = cli(*command)
        assert (result.code, result.out) == (ExitCode.UNREACHABLE, "")
        assert f"The stack in {place / '.rafiki'} does not run. Start it with `rafiki up`." in result.err
    assert server.calls == []


def test_outside_of_any_project_the_default_port_is_meant(
    cli, server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rafiki.settings.DEFAULT_ADMIN_PORT", server.port)
    monkeypatch.setenv("RAFIKI_TOKEN", "t")
    assert cli("train", "list").code == 0
    assert "the default port" in cli("context", "list").err


def test_a_pid_that_another_program_has_now_is_no_admin(
    cli, project: Callable[[str], Path], sleeper: subprocess.Popen[bytes], server: ContractServer
) -> None:
    place = project("a")
    run = place / ".rafiki" / "run"
    run.mkdir(parents=True)
    now = handle_of(sleeper.pid)
    before = PidFile(process=ProcessHandle(now.pid, now.create_time - 60), host="127.0.0.1", port=server.port)
    before.save(run / "admin.json")
    # Whoever has its pid now: that one has ended without a word.
    assert cli("train", "list").code == ExitCode.UNHEALTHY
    assert "No stack runs" in cli("down").err
    assert cli("train", "list").code == ExitCode.UNREACHABLE
    assert sleeper.poll() is None
    assert server.calls == []


def test_a_pid_file_that_came_with_a_copied_folder_names_the_stack_of_another(
    cli, project: Callable[[str], Path], folder: Path, server: ContractServer
) -> None:
    place = project("copy")
    run = place / ".rafiki" / "run"
    run.mkdir(parents=True)
    environment = {**os.environ, STACK_VARIABLE: str(folder / "original" / ".rafiki")}
    code = [sys.executable, "-c", "print(1, flush=True); input()"]
    child = subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        # The kernel shows its environment a moment after it has begun.
        assert child.stdout is not None
        child.stdout.readline()
        # As an earlier version wrote it: the process says which stack it serves.
        PidFile(process=handle_of(child.pid), host="127.0.0.1", port=server.port).save(run / "admin.json")
        assert cli("train", "list").code == ExitCode.UNREACHABLE
        assert cli("down").code == 0
        assert child.poll() is None
    finally:
        child.kill()
        child.communicate()
    assert server.calls == []


@pytest.mark.parametrize("name", ["RAFIKI_HOST", "context"])
def test_a_command_that_goes_past_the_projects_stack_says_so_in_one_line(
    cli, project: Callable[[str], Path], server: ContractServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = project("a")
    address = f"127.0.0.1:{server.port}"
    monkeypatch.setenv("RAFIKI_TOKEN", "t")
    if name == "context":
        assert cli("context", "add", "prod", "--host", address, "--use").code == 0
    else:
        monkeypatch.setenv("RAFIKI_HOST", address)
    why = "the context 'prod'" if name == "context" else "RAFIKI_HOST"
    told = f"This goes to {address} ({why}), not to the stack of {place}."
    result = cli("model", "list")
    assert result.code == 0
    assert result.err.count(told) == 1
    assert told not in cli("--quiet", "model", "list").err
    assert told not in cli("--admin", address, "model", "list").err
    assert told not in cli("--context", "local", "model", "list").err
    monkeypatch.chdir(place.parent)
    assert told not in cli("model", "list").err


def test_a_configured_port_that_another_projects_admin_has_is_told(
    cli, project: Callable[[str], Path], server: ContractServer
) -> None:
    place = project("b")
    (place / "rafiki.yaml").write_text(f"admin: {{port: {server.port}}}\n")
    server.answers["get_health"] = {"name": "rafiki admin", "version": "1", "status": "ok", "stack_id": "of-another"}
    result = cli("train", "list")
    assert result.code == ExitCode.UNREACHABLE
    assert f"port {server.port} (admin.port, {place / 'rafiki.yaml'}, line 1) is that of another stack" in result.err
    assert [c.name for c in server.calls] == ["get_health"]


def test_a_login_at_another_stack_that_had_the_port_is_not_used(folder: Path) -> None:
    from rafiki.constants import UserType
    from rafiki.contract.users import TokenView
    from rafiki_cli.target.session import find_login, keep_login

    keep_login("127.0.0.1:3000", "a@rafiki", TokenView(user_id="u", user_type=UserType.ADMIN, token="t"), "stack-a")
    assert find_login("127.0.0.1:3000", "stack-b") is None
    assert find_login("127.0.0.1:3000", "stack-a") is not None
    assert find_login("127.0.0.1:3000") is not None


@pytest.mark.parametrize(
    ("is_there", "other_id", "standing"),
    [(True, "one", Standing.COPIED), (True, "other", Standing.MOVED), (False, "", Standing.MOVED)],
)
def test_a_folder_is_a_copy_when_the_one_that_it_names_still_holds_the_same_stack(
    tmp_path: Path, is_there: bool, other_id: str, standing: Standing
) -> None:
    was, here = tmp_path / "was", tmp_path / "here"
    here.mkdir()
    write_identity(here, StackIdentity(id="one", root=str(was), version="1"))
    if is_there:
        was.mkdir()
        write_identity(was, StackIdentity(id=other_id, root=str(was), version="1"))
    assert examine(here).standing is standing
    was.mkdir(exist_ok=True)
    here.rename(tmp_path / "again")
    assert examine(was).standing is (Standing.HERE if is_there else Standing.NEW)


def test_a_folder_that_is_reached_by_another_path_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_identity(tmp_path / "real", StackIdentity(id="one", root=str(tmp_path / "link"), version="1"))
    assert examine(tmp_path / "real").standing is Standing.HERE


# ---- with real stacks


def test_two_projects_run_side_by_side_and_each_command_speaks_to_its_own(cli, project: Callable[[str], Path]) -> None:
    a = project("a")
    assert cli("up").code == 0
    b = project("b")
    up = cli("up")
    assert up.code == 0
    if admin_of(a).port == 3000:
        assert f"taken by the stack in {a / '.rafiki'}" in up.err
    assert admin_of(a).port != admin_of(b).port
    assert cli("user", "create", "only@b", "--type", "APP_DEVELOPER", "--password-file", _password(b)).code == 0
    state = json.loads(cli("status", "-o", "json").out)
    assert (state["folder"], state["admin"]["stack_id"]) == (str(b / ".rafiki"), id_of(b))
    project("a")
    assert [u["email"] for u in json.loads(cli("user", "list", "-o", "json").out)] == ["superadmin@rafiki"]
    ours = {row["folder"]: row for row in json.loads(cli("status", "--all", "-o", "json").out)}
    assert {ours[str(p / ".rafiki")]["status"] for p in (a, b)} == {"ok"}

    port = admin_of(b).port
    assert cli("down").code == 0
    project("b")
    assert cli("status").code == 0
    assert cli("down").code == 0
    assert cli("up").code == 0
    assert admin_of(b).port == port


def _password(place: Path) -> str:
    (place / "password").write_text("long enough 4 all\n")
    return str(place / "password")


def test_a_port_that_another_program_has_is_told_and_another_is_found(cli, project: Callable[[str], Path]) -> None:
    place = project("a")
    (place / ".rafiki").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (place / ".rafiki" / "admin-port").write_text(f"{port}\n")
        up = cli("up")
    assert up.code == 0
    assert f"Port {port}, which this stack had, is taken by process {os.getpid()}" in up.err
    assert (place / ".rafiki" / "admin-port").read_text().strip() == str(admin_of(place).port)


def test_an_admin_whose_folder_was_deleted_ends_with_its_services(cli, project: Callable[[str], Path]) -> None:
    place = project("a")
    assert cli("up").code == 0
    admin, cache = admin_of(place).process, PidFile.load(place / ".rafiki" / "run" / "cache.json")
    assert cache is not None
    shutil.rmtree(place / ".rafiki")
    eventually(lambda: not admin.is_alive() and not cache.process.is_alive(), "the end of both")
    assert cli("train", "list").code == ExitCode.UNREACHABLE
    # Whoever comes after it in the same place is left alone.
    assert cli("up").code == 0
    assert cli("status").code == 0


def test_a_copied_folder_becomes_a_stack_of_its_own_and_leaves_the_original_alone(
    cli, project: Callable[[str], Path], folder: Path
) -> None:
    a = project("a")
    assert cli("up").code == 0
    assert cli("token", "list").code == 0
    original = admin_of(a)
    # Sockets, which a running stack has, are no files that could be copied.
    shutil.copytree(a, folder / "copy", ignore=shutil.ignore_patterns("*.sock"))
    copy = project("copy")
    for command in (["train", "list"], ["status"]):
        assert cli(*command).code == ExitCode.UNREACHABLE
    assert f"copy of {a / '.rafiki'}" in cli("train", "list").err
    assert "No stack runs" in cli("down").err
    assert original.process.is_alive()

    assert "a stack of its own" in cli("up").err
    assert id_of(copy) not in (None, id_of(a))
    assert admin_of(copy).port != original.port
    for name in ("secrets.json", "superadmin-password", "cache-port"):
        assert (copy / ".rafiki" / name).read_text() != (a / ".rafiki" / name).read_text()
    assert json.loads(cli("whoami", "-o", "json").out)["email"] == "superadmin@rafiki"
    assert cli("down").code == 0
    assert original.process.is_alive()
    project("a")
    assert cli("status").code == 0


def test_a_folder_that_was_moved_under_a_running_stack_goes_on_after_up(
    cli, project: Callable[[str], Path], folder: Path
) -> None:
    a = project("a")
    assert cli("up").code == 0
    former, stack_id = admin_of(a), id_of(a)
    a.rename(folder / "moved")
    moved = project("moved")
    result = cli("train", "list")
    assert result.code == ExitCode.UNREACHABLE
    assert f"moved here from {a / '.rafiki'}" in result.err
    assert cli("up").code == 0
    assert not former.process.is_alive()
    assert find_stack_processes(a / ".rafiki") == []
    assert id_of(moved) == stack_id
    assert cli("train", "list").code == 0


def test_two_ups_at_once_in_two_projects_each_start_their_own(cli, project: Callable[[str], Path]) -> None:
    places = [project("a"), project("b")]
    command = [sys.executable, "-m", "rafiki_cli", "up"]
    both = [subprocess.Popen(command, cwd=p, stderr=subprocess.PIPE, text=True) for p in places]
    said = [p.communicate()[1] for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert len({admin_of(p).port for p in places}) == 2
    # A killed admin is started again at its port, though the other one is down and 3000 may be free.
    port = admin_of(places[1]).port
    kill(admin_of(places[1]).process.pid)
    project("b")
    assert cli("up").code == 0
    assert admin_of(places[1]).port == port
