"""The filter of system calls: what it refuses, on each processor, and that libraries do not miss it."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.machines.bubblewrap import needs_bubblewrap

from rafiki.sandbox.bubblewrap import find_bubblewrap
from rafiki.sandbox.sandbox import BoxRequest, Sandbox
from rafiki.sandbox.seccomp import Instruction, encode, find_filter, open_filter, program_of
from rafiki.sandbox.system_calls import MACHINES, REFUSALS, Machine

ALLOWED, KILLED = "allowed", "killed"
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def verdict(program: list[Instruction], arch: int, number: int, *arguments: int) -> str:
    """What the kernel's interpreter would answer: the few instructions of BPF that a filter is made of."""
    data = {0: number, 4: arch, **{16 + 8 * i: value & 0xFFFFFFFF for i, value in enumerate(arguments)}}
    loaded, at = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        match code:
            case 0x20:
                loaded = data.get(value, 0)
            case 0x15:
                at += if_true if loaded == value else if_false
            case 0x25:
                at += if_true if loaded > value else if_false
            case 0x45:
                at += if_true if loaded & value else if_false
            case 0x06:
                if value & 0x7FFF0000 == 0x00050000:
                    return errno.errorcode[value & 0xFFFF]
                return {0x7FFF0000: ALLOWED, 0x80000000: KILLED}[value]


@pytest.fixture(params=sorted(MACHINES))
def machine(request: pytest.FixtureRequest) -> Machine:
    return MACHINES[request.param]


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("openat", (0, 0, 0, 0o6777), ALLOWED),  # without O_CREAT the mode is whatever was in the register
        ("openat", (0, 0, 0o101, 0o644), ALLOWED),
        ("openat", (0, 0, 0o101, 0o4755), "EPERM"),
        ("openat", (0, 0, 0o20200001, 0o2755), "EPERM"),
        ("fchmod", (1, 0o755), ALLOWED),
        ("fchmod", (1, 0o4755), "EPERM"),
        ("fchmodat", (0, 0, 0o2755), "EPERM"),
        ("fchmodat2", (0, 0, 0o4755, 0), "EPERM"),
        ("fcntl", (1, 3), ALLOWED),
        ("fcntl", (1, 1024, 1), "EPERM"),
        ("ioctl", (0, 0x5401), ALLOWED),
        ("ioctl", (0, 0x5412), "EPERM"),
        ("ioctl", (0, 0xFFFFFFFF00005412), "EPERM"),  # the kernel reads the lower half alone
        ("clone", (0x3D0F00,), ALLOWED),  # a thread
        ("clone", (0x10000011,), "EPERM"),
        ("unshare", (0x400,), ALLOWED),
        ("unshare", (0x80,), "EPERM"),
        ("clone3", (), "ENOSYS"),
        ("socket", (1, 1, 0), ALLOWED),
        ("socket", (2, 1, 0), ALLOWED),
        ("socket", (10, 2, 0), ALLOWED),
        ("socket", (16, 3, 0), ALLOWED),
        ("socket", (16, 3, 15), "EPROTONOSUPPORT"),
        ("socket", (40, 1, 0), "EAFNOSUPPORT"),
        ("socket", (38, 5, 0), "EAFNOSUPPORT"),
        ("personality", (0xFFFFFFFF,), ALLOWED),
        ("personality", (0,), ALLOWED),
        ("personality", (0x0400000,), "EPERM"),
        ("io_uring_setup", (), "ENOSYS"),
        ("keyctl", (), "EPERM"),
        ("mount", (), "EPERM"),
        ("setns", (), "EPERM"),
    ],
)
def test_calls_are_refused_by_what_they_ask_for(
    machine: Machine, call: str, arguments: tuple[int, ...], expected: str
) -> None:
    assert verdict(program_of(machine), machine.audit_arch, machine.numbers[call], *arguments) == expected


def test_calls_that_are_newer_or_of_another_architecture_are_not_known(machine: Machine) -> None:
    program = program_of(machine)
    assert verdict(program, machine.audit_arch, 462) == ALLOWED
    assert verdict(program, machine.audit_arch, 463) == "ENOSYS"
    assert verdict(program, machine.audit_arch, 0x40000000 + machine.numbers["keyctl"]) == "ENOSYS"  # x32
    assert verdict(program, 0x40000003, machine.numbers["keyctl"]) == KILLED  # i386
    assert verdict(program, 0x40000003, 4) == KILLED


def test_each_processor_refuses_all_calls_that_it_has(machine: Machine) -> None:
    program = program_of(machine)
    unconditional = {call for refusal in REFUSALS if not refusal.tests for call in refusal.calls}
    refused = unconditional & machine.numbers.keys()
    assert len(refused) > 40
    assert {verdict(program, machine.audit_arch, machine.numbers[call]) for call in refused} == {"EPERM", "ENOSYS"}
    assert machine.numbers.keys() <= {call for refusal in REFUSALS for call in refusal.calls}
    # As many instructions as the kernel takes, and a pipe holds them.
    assert len(program) < 4096
    assert len(encode(program)) < 4096 * 8


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_the_numbers_are_those_of_the_kernels_headers(name: str) -> None:
    if not HEADERS[name].exists():
        pytest.skip("the kernel's headers are not installed")
    told = {
        found[1].removeprefix("3264_"): int(found[2])
        for found in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", HEADERS[name].read_text())
    }
    assert told
    # Headers may be older than calls are.
    assert {call: told[call] for call in MACHINES[name].numbers if call in told} == {
        call: number for call, number in MACHINES[name].numbers.items() if call in told
    }


def test_a_descriptor_reads_the_whole_filter_once() -> None:
    import os

    descriptor = open_filter(b"program")
    try:
        assert (os.read(descriptor, 100), os.read(descriptor, 100)) == (b"program", b"")
    finally:
        os.close(descriptor)


LIBRARIES = """
import concurrent.futures, multiprocessing, os, socket, subprocess, threading
import numpy as np

def double(x):
    return 2 * x

def main():
    for method in ("fork", "spawn", "forkserver"):
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            assert list(pool.map(double, range(3))) == [0, 2, 4], method
    thread = threading.Thread(target=np.linalg.svd, args=(np.random.rand(50, 50),))
    thread.start()
    thread.join()
    assert subprocess.run(["/bin/sh", "-c", "echo hello"], capture_output=True, check=True).stdout == b"hello\\n"
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    left, right = socket.socketpair()
    os.makedirs("/tmp/a/b", mode=0o755)
    os.chmod("/tmp/a", 0o700)
    for name in ("joblib", "sklearn", "lightgbm", "torch", "psutil"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        if name == "joblib":
            assert module.Parallel(2)(module.delayed(double)(x) for x in range(3)) == [0, 2, 4]
        if name == "lightgbm":
            data = np.random.rand(100, 3)
            module.LGBMRegressor(n_estimators=2, n_jobs=2, verbose=-1).fit(data, data[:, 0])
        if name == "torch":
            data = module.utils.data.DataLoader(list(range(4)), num_workers=1)
            assert sum(int(batch) for batch in data) == 6
            assert module.nn.Linear(64, 64)(module.rand(8, 64)).sum().item() is not None
        if name == "psutil":
            module.cpu_percent(), module.virtual_memory(), module.net_if_addrs(), module.Process().memory_info()
    print("all work")

if __name__ == "__main__":
    main()
"""


@needs_bubblewrap
def test_libraries_work_within_the_filter(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(LIBRARIES)
    found = find_bubblewrap()
    assert found.can_filter == (find_filter() is not None)
    sandbox = Sandbox(found, hidden=tmp_path / "stack", tmp_bytes=256 << 20)
    environment = sandbox.environment({"PATH": "/usr/bin:/bin"})
    request = BoxRequest(environment=environment, mounts={"/run/program.py": program})
    with sandbox.box([sys.executable, "/run/program.py"], request) as box:
        done = subprocess.run(
            box.command, env=environment, capture_output=True, text=True, timeout=300, check=False,
            pass_fds=box.descriptors,
        )  # fmt: skip
    assert done.stdout.strip() == "all work", done.stderr
