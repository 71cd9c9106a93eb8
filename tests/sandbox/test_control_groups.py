"""Limits that hold for all processes of a box together."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.machines.bubblewrap import needs_bubblewrap

from rafiki.model_check.knob_reader import read_knob_config
from rafiki.sandbox.bubblewrap import find_bubblewrap
from rafiki.sandbox.control_groups import ControlGroups, NoControlGroupsError, open_control_groups
from rafiki.sandbox.group_limits import Excess, GroupLimits
from rafiki.sandbox.sandbox import BoxRequest, Sandbox, exit_code_of

SLEEP_S = "7781"


@pytest.fixture
def groups() -> Iterator[ControlGroups]:
    try:
        found = open_control_groups(f"rafiki-test-{uuid.uuid4().hex[:8]}")
    except NoControlGroupsError as e:
        # Whether a user may make some is the machine's business, in CI, too.
        pytest.skip(f"no control groups: {e}")
    yield found
    found.sweep()


@pytest.fixture
def sandbox(groups: ControlGroups, tmp_path: Path) -> Sandbox:
    return Sandbox(find_bubblewrap(), hidden=tmp_path / "stack", tmp_bytes=8 << 20, groups=groups)


def run(sandbox: Sandbox, code: str, limits: GroupLimits) -> tuple[int, str]:
    """How a program ends in a box of a group, and what it printed."""
    environment = sandbox.environment({"PATH": os.defpath})
    request = BoxRequest(environment=environment, group="one", limits=limits, ends_with_us=True)
    with sandbox.box([sys.executable, "-c", code], request) as box:
        done = subprocess.run(
            box.command, env=environment, pass_fds=box.descriptors, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
    return exit_code_of(done.returncode), done.stdout.strip() + done.stderr.strip()


@needs_bubblewrap
def test_memory_counts_for_all_processes_and_ends_the_box_alone(sandbox: Sandbox) -> None:
    # Three processes, none of which is beyond the limit by itself.
    code = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        held = bytearray(60 << 20)
        time.sleep(60)
        os._exit(0)
codes = [os.waitstatus_to_exitcode(os.wait()[1])]
print(codes, flush=True)
os._exit(9)
"""
    code_of_box, told = run(sandbox, code, GroupLimits(memory_bytes=128 << 20))
    assert "-9" in told or code_of_box == -9, told
    assert sandbox.excess_of("one") == Excess(memory=True)
    sandbox.release("one")
    assert sandbox.excess_of("one") == Excess()


@needs_bubblewrap
def test_a_box_that_forks_without_end_is_refused_and_leaves_nothing(sandbox: Sandbox) -> None:
    code = f"""
import os
n = 0
try:
    for n in range(200):
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "{SLEEP_S}"])
except BlockingIOError:
    print(n)
"""
    code_of_box, told = run(sandbox, code, GroupLimits(n_processes=24))
    assert code_of_box == 0, told
    assert 5 < int(told) < 24
    assert sandbox.excess_of("one").processes
    assert not any(p.info["cmdline"] == ["sleep", SLEEP_S] for p in psutil.process_iter(["cmdline"]))
    sandbox.release("one")


@needs_bubblewrap
def test_what_outlives_the_first_process_of_a_box_is_ended_with_its_group(
    sandbox: Sandbox, groups: ControlGroups
) -> None:
    environment = sandbox.environment({"PATH": os.defpath})
    request = BoxRequest(environment=environment, group="one")
    with sandbox.box(["sleep", SLEEP_S], request) as box:
        child = subprocess.Popen(
            ["/bin/sh", "-c", '"$@" & echo $!; wait', "sh", *box.command], env=environment, pass_fds=box.descriptors,
            stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert child.stdout is not None
        outer = psutil.Process(int(child.stdout.readline()))
        while not outer.children(recursive=True) or outer.name() != "bwrap":
            assert child.poll() is None
        inner = outer.children(recursive=True)
    outer.kill()
    child.wait(60)
    sandbox.release("one")
    assert not psutil.wait_procs(inner, timeout=60)[1]


@needs_bubblewrap
def test_a_model_that_eats_memory_at_its_upload_is_refused_with_the_limit(sandbox: Sandbox) -> None:
    source = b"""
import os
held = []
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(64 << 20)
        os.wait() if False else __import__("time").sleep(60)
        os._exit(0)
for _ in range(8):
    if os.waitstatus_to_exitcode(os.wait()[1]) == -9:
        os.kill(os.getpid(), 9)
"""
    reading = read_knob_config(source, "M", "eats.py", timeout_s=60, memory_bytes=256 << 20, sandbox=sandbox)
    assert reading.error is not None
    assert "more than 256 MB of memory" in reading.error


def test_the_second_version_is_told_the_same_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    mounts = f"41 31 0:38 / {tmp_path} rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
    groups = open_control_groups("rafiki-x", mounts, "0::/\n") if os.geteuid() == 0 else None
    if groups is None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        groups = open_control_groups("rafiki-x", mounts, "0::/\n")
    command = groups.make("box", GroupLimits(memory_bytes=1 << 30, n_processes=64, cores=1.5))
    folder = tmp_path / "rafiki-x-box"
    assert command[-2:] == [str(folder), "--"]
    told = {name: (folder / name).read_text() for name in ("memory.max", "pids.max", "cpu.max", "memory.oom.group")}
    assert told == {"memory.max": str(1 << 30), "pids.max": "64", "cpu.max": "150000 100000", "memory.oom.group": "1"}
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    (folder / "pids.events").write_text("max 0\n")
    assert groups.excess_of("box") == Excess(memory=True)


@pytest.mark.parametrize(
    ("controllers", "mounts", "reason"),
    [
        ("hugetlb\n", "41 31 0:38 / {} rw - cgroup2 cgroup2 rw\n", "no memory and pids"),
        ("", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", "no control groups are mounted"),
    ],
)
def test_a_machine_without_them_says_why(tmp_path: Path, controllers: str, mounts: str, reason: str) -> None:
    (tmp_path / "cgroup.controllers").write_text(controllers)
    with pytest.raises(NoControlGroupsError, match=reason):
        open_control_groups("rafiki-x", mounts.format(tmp_path), "0::/\n")
