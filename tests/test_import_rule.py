"""House rules that a reader of one file cannot see."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = sorted((ROOT / "rafiki").rglob("*.py"))
# Besides config.py: what hands (parts of) its own environment on to a process that it starts.
READS_ENVIRONMENT = {
    "rafiki/config.py", "rafiki/user_environment.py",
    "rafiki/container/process.py", "rafiki/model_check/knob_reader.py",
    # What a container back end tells a service that runs elsewhere.
    "rafiki/utils/spec.py", "rafiki/stores/remote/host_copies.py",
    # What model code starts is told where the model's module is.
    "rafiki/model/loader.py",
    # What begins in a container passes on the environment that it finds there.
    "rafiki/environments/enter.py", "rafiki/environments/on_node.py",
}  # fmt: skip
# Its waits are bounded delays of an event loop between two tries, or two looks.
SLEEPS: set[str] = set()
LAZY = ["numpy", "scipy", "PIL", "sqlalchemy", "httpx", "starlette"]


def test_floors_are_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def environment_reads(tree: ast.AST) -> Iterator[int]:
    """Lines that read the environment; writing a variable is no reading."""
    written = {
        id(target.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Subscript)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _dotted(node) in ("os.environ", "os.environb", "os.getenv"):
            if id(node) not in written:
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (node.lineno for name in node.names if name.name in ("environ", "getenv"))


def imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def sleeps(tree: ast.AST) -> list[int]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [c for c in calls if _dotted(c.func).rpartition(".")[2] == "sleep"]
    # A sleep of no time is how a coroutine lets others go on.
    return [c.lineno for c in found if [ast.unparse(argument) for argument in c.args] != ["0"]]


def where(look: Callable[[ast.AST], Iterable[object]]) -> dict[str, list[object]]:
    """What ``look`` finds in the engine, by file."""
    found = {f.relative_to(ROOT).as_posix(): list(look(ast.parse(f.read_text()))) for f in ENGINE}
    return {name: finds for name, finds in found.items() if finds}


def test_only_the_configuration_reads_the_environment() -> None:
    assert where(environment_reads).keys() == READS_ENVIRONMENT


def test_nothing_is_pickled() -> None:
    unsafe = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
    assert where(lambda tree: imports(tree) & unsafe) == {}


def test_nothing_sleeps() -> None:
    assert where(sleeps).keys() == SLEEPS


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("rafiki.config", []),
        ("rafiki.client", []),
        ("rafiki.contract.all", []),
        ("rafiki.model_check.knob_reader", []),
        ("rafiki.tasks.registry", []),
        ("rafiki.param_store.folder", []),
        ("rafiki.search.advisor_worker", ["numpy", "scipy", "sqlalchemy"]),
        ("rafiki.admin.__main__", ["sqlalchemy", "starlette"]),
    ],
)
def test_a_module_loads_no_more_of_the_heavy_libraries_than_it_needs(module: str, allowed: list[str]) -> None:
    code = f"import sys, {module}; print(*[n for n in {LAZY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= set(allowed)
