"""The filter of system calls that a box is given, as the kernel takes it: a small program in classic BPF.

https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html; ``bwrap --seccomp`` reads it from a file
descriptor. Numbers are compared as far as the kernel reads them, which for all these arguments is their lower half.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
import sys
from functools import cache
from typing import NamedTuple

from rafiki.sandbox.system_calls import LAST_KNOWN, MACHINES, REFUSALS, HasBits, IsAmong, Machine, Refusal, Test

_LOAD, _IF_EQUAL, _IF_GREATER, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_ARGUMENT_BYTES = 8


class Instruction(NamedTuple):
    """One of BPF: ``if_true`` and ``if_false`` are how many instructions a jump passes over."""

    code: int
    if_true: int
    if_false: int
    value: int


@cache
def find_filter() -> bytes | None:
    """The filter for this machine; None where its processor's calls are not known."""
    machine = MACHINES.get(platform.machine())
    if machine is None or sys.byteorder != "little" or sys.maxsize < 1 << 32:
        return None
    return encode(program_of(machine))


def program_of(machine: Machine) -> list[Instruction]:
    """The instructions for one processor."""
    program = [
        _load(_ARCH_AT),
        # Programs of another architecture have other numbers: none of ours is.
        Instruction(_IF_EQUAL, 1, 0, machine.audit_arch),
        _return(_KILL),
        _load(_NUMBER_AT),
        # The numbers of x32 on x86-64 are far above, too.
        Instruction(_IF_GREATER, 0, 1, LAST_KNOWN),
        _return(_ERROR | errno.ENOSYS),
    ]
    for call, refusals in _by_call().items():
        if (number := machine.numbers.get(call)) is not None:
            block = _block_of(refusals)
            program += [Instruction(_IF_EQUAL, 0, len(block), number), *block]
    return [*program, _return(_ALLOW)]


def encode(program: list[Instruction]) -> bytes:
    """As ``struct sock_filter`` one after the other."""
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def open_filter(program: bytes) -> int:
    """A descriptor that reads the filter once. Whoever starts the box passes it on, and closes it.

    Raises:
        OSError: when there is none left.
    """
    # It fits into the buffer of a pipe, so nobody waits.
    reader, writer = os.pipe()
    try:
        os.write(writer, program)
    finally:
        os.close(writer)
    return reader


def _by_call() -> dict[str, list[Refusal]]:
    found: dict[str, list[Refusal]] = {}
    for refusal in REFUSALS:
        for call in refusal.calls:
            found.setdefault(call, []).append(refusal)
    return found


def _block_of(refusals: list[Refusal]) -> list[Instruction]:
    """What decides on a call once its number is known. It ends with a verdict."""
    block: list[Instruction] = []
    for refusal in refusals:
        part = [_return(_ERROR | refusal.error)]
        # From the end, because jumps go forward, over what follows.
        for test in reversed(refusal.tests):
            part = [*_steps_of(test, len(part)), *part]
        block += part
    return block if not refusals[-1].tests else [*block, _return(_ALLOW)]


def _steps_of(test: Test, n_after: int) -> list[Instruction]:
    """Goes on behind it where the test holds; passes over ``n_after`` more instructions where not."""
    load = _load(_ARGUMENTS_AT + _ARGUMENT_BYTES * test.argument)
    if isinstance(test, HasBits):
        return [load, Instruction(_IF_ANY_BIT, 0, n_after, test.bits)]
    left = range(len(test.values) - 1, -1, -1)
    steps = [load]
    for n_left, value in zip(left, test.values, strict=True):
        if isinstance(test, IsAmong):
            steps.append(Instruction(_IF_EQUAL, n_left, 0 if n_left else n_after, value))
        else:
            steps.append(Instruction(_IF_EQUAL, n_left + n_after, 0, value))
    return steps


def _load(at: int) -> Instruction:
    return Instruction(_LOAD, 0, 0, at)


def _return(verdict: int) -> Instruction:
    return Instruction(_RETURN, 0, 0, verdict)
