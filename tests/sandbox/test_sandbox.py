"""The box of model code: what a command in it sees, writes and may use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.machines.bubblewrap import needs_bubblewrap

from rafiki.errors import ConfigError, StackError
from rafiki.sandbox.bubblewrap import NoBubblewrapError, find_bubblewrap, open_sandbox, why_no_sandbox
from rafiki.sandbox.limits import Limits, limits_of
from rafiki.sandbox.python_files import files_of
from rafiki.sandbox.sandbox import BoxRequest, Sandbox
from rafiki.settings import ContainerConfig
from rafiki.utils.sockets import listen_at

TMP_BYTES = 8 << 20


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """The folder of a stack, in a folder that holds other things, too."""
    made = tmp_path / "project" / ".rafiki"
    made.mkdir(parents=True)
    (made / "secrets.json").write_text("secret")
    (made.parent / "notes.txt").write_text("notes")
    return made


@pytest.fixture
def sandbox(stack: Path) -> Sandbox:
    return Sandbox(find_bubblewrap(), hidden=stack, tmp_bytes=TMP_BYTES)


def run(sandbox: Sandbox, code: str, python: str = sys.executable, **request: object) -> str:
    """What a program prints that runs in a box; its error, where it fails."""
    environment = sandbox.environment({"PATH": os.defpath})
    box = BoxRequest(environment=environment, python=python, **request)  # type: ignore[arg-type]
    with sandbox.box([python, "-c", code], box) as made:
        done = subprocess.run(
            made.command, env=environment, capture_output=True, text=True, timeout=60, check=False,
            pass_fds=made.descriptors,
        )  # fmt: skip
    return done.stdout.strip() or done.stderr.strip()


@needs_bubblewrap
def test_python_its_packages_and_rafiki_are_there(sandbox: Sandbox) -> None:
    assert run(sandbox, "import msgspec, numpy, rafiki; print(numpy.arange(3).sum(), rafiki.__version__)").startswith(
        "3 "
    )


@needs_bubblewrap
def test_what_is_not_asked_for_is_not_seen(sandbox: Sandbox, stack: Path) -> None:
    hidden = [str(stack / "secrets.json"), str(stack.parent / "notes.txt"), "/root/.ssh", "/home"]
    code = f"import os; print([os.path.exists(p) for p in {hidden!r}])"
    assert run(sandbox, code) == "[False, False, False, False]"


@needs_bubblewrap
def test_what_is_asked_for_can_be_read_and_not_written(sandbox: Sandbox, stack: Path) -> None:
    data, beside = stack / "datasets" / "a.csv", stack / "datasets" / "b.csv"
    data.parent.mkdir()
    data.write_text("1,2,3")
    beside.write_text("4,5,6")
    code = f"""
import os
print(open({str(data)!r}).read(), os.listdir({str(data.parent)!r}))
try:
    open({str(data)!r}, 'w')
except OSError as e:
    print(type(e).__name__, e.errno)
"""
    assert run(sandbox, code, reads=[data]).splitlines() == ["1,2,3 ['a.csv']", "OSError 30"]


@needs_bubblewrap
def test_a_stack_within_what_can_be_read_stays_hidden(stack: Path) -> None:
    sandbox = Sandbox(find_bubblewrap(), hidden=stack, tmp_bytes=TMP_BYTES, readable=[stack.parent])
    asked = stack / "asked.bin"
    asked.write_text("asked")
    code = f"import os; print(open({str(stack.parent / 'notes.txt')!r}).read(), os.listdir({str(stack)!r}))"
    assert run(sandbox, code, reads=[asked]) == "notes ['asked.bin']"


@needs_bubblewrap
def test_a_folder_to_write_keeps_what_was_written(sandbox: Sandbox, stack: Path) -> None:
    made = stack / "environments" / "one"
    made.mkdir(parents=True)
    run(sandbox, "open('file', 'w').write('text')", writes=[made], folder=str(made))
    assert (made / "file").read_text() == "text"


@needs_bubblewrap
def test_its_temporary_folder_is_its_own_and_of_limited_size(sandbox: Sandbox, tmp_path: Path) -> None:
    code = """
import os, tempfile
print(tempfile.gettempdir(), os.path.expanduser("~"))
for folder in ("/tmp", "/dev/shm"):
    try:
        with open(folder + "/large", "wb") as f:
            for _ in range(64):
                f.write(bytes(1 << 20))
        print("wrote all")
    except OSError as e:
        print(e.errno)
"""
    assert run(sandbox, code).splitlines() == ["/tmp /tmp/home", "28", "28"]
    assert not Path("/tmp/large").exists()


@needs_bubblewrap
@pytest.mark.parametrize(("network", "seen"), [(False, "refused"), (True, "reached")])
def test_the_network_is_the_machines_only_where_it_is_asked_for(sandbox: Sandbox, network: bool, seen: str) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
import socket
try:
    socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), timeout=10)
    print("reached")
except OSError:
    print("refused")
"""
        assert run(sandbox, code, network=network) == seen


@needs_bubblewrap
def test_its_exit_code_and_its_death_are_told(sandbox: Sandbox) -> None:
    environment = sandbox.environment({"PATH": os.defpath})
    codes = []
    for code in ("raise SystemExit(7)", "import os; os.kill(os.getpid(), 11)"):
        with sandbox.box([sys.executable, "-c", code], BoxRequest(environment=environment)) as box:
            done = subprocess.run(box.command, env=environment, timeout=60, check=False, pass_fds=box.descriptors)
        codes.append(done.returncode)
    assert codes == [7, 128 + 11]


@needs_bubblewrap
def test_an_environment_with_packages_of_strangers_is_not_run_outside_of_the_box(tmp_path: Path, stack: Path) -> None:
    # A .pth file runs whenever its interpreter starts.
    environment = stack / "environments" / "one"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=120)
    marker = tmp_path / "escaped"
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "evil.pth").write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n")
    sandbox = Sandbox(find_bubblewrap(), hidden=stack, tmp_bytes=TMP_BYTES)
    assert run(sandbox, "print('started')", python=str(environment / "bin" / "python")).endswith("started")
    assert not marker.exists()


@needs_bubblewrap
@pytest.mark.parametrize(
    ("action", "setting"),
    [
        ("open('/home/me/weights.bin')", "container.readable"),
        ("__import__('urllib.request').request.urlopen('http://example.org')", "container.network"),
        ("open('relative.bin')", None),
    ],
)
def test_what_a_box_keeps_from_a_model_is_told_with_the_setting(
    sandbox: Sandbox, action: str, setting: str | None
) -> None:
    code = f"""
from rafiki.model.loader import user_traceback
try:
    {action}
except OSError as e:
    print(user_traceback(e))
"""
    told = run(sandbox, code)
    assert "rror" in told
    assert ("rafiki.yaml" in told, setting is None or setting in told) == (setting is not None, True)


def test_the_files_of_python_are_its_installation_and_no_folder_of_the_user(tmp_path: Path) -> None:
    package, plain = tmp_path / "package", tmp_path / "data"
    package.mkdir()
    plain.mkdir()
    (package / "__init__.py").touch()
    (plain / "table.csv").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "module.py").touch()
    found = files_of(sys.executable, {"PYTHONPATH": str(tmp_path)})
    assert {f.name for f in found if f.parent == tmp_path} == {"package", "module.py"}
    assert Path(sys.executable) in found
    assert Path.home() not in found


def test_the_setting_says_whether_there_is_a_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_bubblewrap.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    try:
        with pytest.raises(NoBubblewrapError, match="not installed"):
            find_bubblewrap()
        assert open_sandbox(ContainerConfig(sandbox="auto"), tmp_path, tmp_path) is None
        assert "not installed" in str(why_no_sandbox(ContainerConfig(sandbox="auto")))
        assert "is none" in str(why_no_sandbox(ContainerConfig(sandbox="none")))
        with pytest.raises(StackError, match="apt install bubblewrap"):
            open_sandbox(ContainerConfig(sandbox="bubblewrap"), tmp_path, tmp_path)
        with pytest.raises(ConfigError, match="none of auto, bubblewrap, none"):
            open_sandbox(ContainerConfig(sandbox="firejail"), tmp_path, tmp_path)
    finally:
        find_bubblewrap.cache_clear()


def test_a_program_that_makes_no_boxes_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.8.0 && exit\n'
        "echo 'No permissions to create new namespace' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    find_bubblewrap.cache_clear()
    try:
        with pytest.raises(NoBubblewrapError, match="cannot make a box here: No permissions to create new namespace"):
            find_bubblewrap()
    finally:
        find_bubblewrap.cache_clear()


def test_limits_hold_for_the_process_and_are_never_raised() -> None:
    code = """
import resource
from rafiki.sandbox.limits import Limits, limits_of
Limits(file_bytes=1 << 20, n_files=64).apply()
Limits(file_bytes=1 << 30, n_files=128).apply()
print(resource.getrlimit(resource.RLIMIT_FSIZE)[1], resource.getrlimit(resource.RLIMIT_NOFILE)[1],
      resource.getrlimit(resource.RLIMIT_CORE)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [str(1 << 20), "64", "0"]
    assert Limits() == Limits(memory_bytes=None, n_processes=None, file_bytes=None, n_files=None)


def test_the_log_of_a_box_is_no_larger_than_what_else_it_may_write() -> None:
    settings = ContainerConfig(max_file_mb=16384, tmp_mb=64)
    assert limits_of(settings, is_boxed=True).file_bytes == 64 << 20
    assert limits_of(settings, is_boxed=False).file_bytes == 16384 << 20
    assert limits_of(ContainerConfig(max_file_mb=8, tmp_mb=64), is_boxed=True).file_bytes == 8 << 20


def test_a_socket_listens_at_a_path_of_any_length_and_replaces_an_old_one(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    for _ in range(2):
        sock = listen_at(folder / "door.sock")
        assert (folder / "door.sock").is_socket()
        assert (folder / "door.sock").stat().st_mode & 0o777 == 0o600
        sock.close()
