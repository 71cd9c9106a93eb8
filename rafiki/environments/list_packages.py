"""``python -m rafiki.environments.list_packages``: the installed packages that model files need, with their versions.

Run with the interpreter that the models run with: it lists what that one has. The files are read, not run.
A request (:class:`PackagesRequest`, JSON) comes on stdin; the answer, name -> version, goes to stdout.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import rafiki
from rafiki import distribution
from rafiki.errors import ContainerError
from rafiki.sandbox.sandbox import Box, BoxRequest, Sandbox

_TIMEOUT_S = 60.0


class PackagesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Packages are named, or follow from what a source imports."""

    source: bytes = b""
    names: list[str] = []


def list_packages(
    request: PackagesRequest,
    environment: Mapping[str, str],
    python: str | None = None,
    sandbox: Sandbox | None = None,
) -> dict[str, str]:
    """Name -> version of the named packages, of those that the source imports, and of what these need in turn.

    What another package needs on some systems only (GPU libraries) is left to the installer of that system.

    Args:
        request: what to start from. A source that is no valid Python imports nothing.
        environment: of the process that looks.
        python: the interpreter to ask; None = this one's kind.
        sandbox: makes the box that an interpreter is asked in into which strangers' packages were installed.

    Raises:
        ContainerError: when the interpreter does not answer.
    """
    folder = str(Path(rafiki.__file__).resolve().parent.parent)
    variables = {**environment, "PYTHONPATH": folder}
    command = [python or sys.executable, "-m", "rafiki.environments.list_packages"]
    boxed: AbstractContextManager[Box] = contextlib.nullcontext(Box(command))
    if sandbox is not None and python is not None:
        variables = sandbox.environment(variables)
        boxed = sandbox.box(command, BoxRequest(environment=variables, python=python, ends_with_us=True))
    try:
        with boxed as box:
            child = subprocess.run(
                box.command, input=msgspec.json.encode(request), capture_output=True, timeout=_TIMEOUT_S, check=True,
                cwd=folder, env=variables, pass_fds=box.descriptors,
            )  # fmt: skip
        return msgspec.json.decode(child.stdout, type=dict[str, str])
    except subprocess.CalledProcessError as e:
        last = (e.stderr.decode(errors="replace").strip().splitlines() or [""])[-1][:300]
        raise ContainerError(f"The packages of a model cannot be listed: {last}") from e
    except (subprocess.TimeoutExpired, msgspec.DecodeError, OSError) as e:
        raise ContainerError(f"The packages of a model cannot be listed: {e}") from e


def imported_modules(source: bytes) -> set[str]:
    """The top-level modules that a Python file imports anywhere in it; none when it is no valid Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def packages_of(request: PackagesRequest) -> dict[str, str]:
    """As :func:`list_packages`, of this interpreter."""
    homes = importlib.metadata.packages_distributions()
    modules = imported_modules(request.source) - sys.stdlib_module_names - {"rafiki"}
    roots = [*request.names, *(name for module in sorted(modules) for name in homes.get(module, ()))]
    return dict(sorted(_with_needs(roots).items()))


def _with_needs(names: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    left = [canonicalize_name(name) for name in names]
    while left:
        name = left.pop()
        if name in found or name in distribution.NAMES:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        # Without the label of a build (2.5.1+cpu): indexes know the version alone.
        found[name] = package.version.partition("+")[0]
        left += [canonicalize_name(r.name) for r in map(_parse, package.requires or []) if r and r.marker is None]
    return found


def _parse(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def main() -> int:
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=PackagesRequest)
    sys.stdout.buffer.write(msgspec.json.encode(packages_of(request)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
