"""``Any`` may not spread: what a package offers to others says its types, and a count of those that do not may only
fall. mypy checks the rest (``strict`` in pyproject.toml)."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST: dict[str, int] = {
    "rafiki.client": 51,
    "rafiki.model": 1,
}
"""Package -> how many public functions, methods and fields may have ``Any`` in their types. Lower it with the count."""


def packages() -> dict[str, list[Path]]:
    """The modules of each package of the engine and of each room of the command line."""
    found: dict[str, list[Path]] = {}
    for root in ("rafiki", "rafiki_cli"):
        for file in sorted((ROOT / root).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found.setdefault(".".join(parts[:2]) if len(parts) > 2 else root, []).append(file)
    return found


def offered(tree: ast.Module) -> Iterator[ast.AST]:
    """The annotations of what a module offers: public functions, and the public methods and fields of its classes."""

    def of(body: list[ast.stmt], *, is_class: bool) -> Iterator[ast.AST]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from of(node.body, is_class=True)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if not node.name.startswith("_") or node.name == "__init__":
                    yield ast.Tuple([a for a in _annotations(node) if a is not None])
            elif isinstance(node, ast.AnnAssign) and is_class and not ast.unparse(node.target).startswith("_"):
                yield node.annotation

    yield from of(tree.body, is_class=False)


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr | None]:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [*(a.annotation for a in every), node.returns]


def has_any(annotation: ast.AST) -> bool:
    return any(isinstance(n, ast.Name) and n.id in ("Any", "Json") for n in ast.walk(annotation))


def count(files: list[Path]) -> int:
    return sum(has_any(a) for file in files for a in offered(ast.parse(file.read_text("utf-8"))))


COUNTS = Counter({name: count(files) for name, files in packages().items()})


@pytest.mark.parametrize("package", sorted(packages()))
def test_no_more_any_is_offered_to_other_packages(package: str) -> None:
    assert COUNTS[package] <= MOST.get(package, 0), (
        f"{package} offers {COUNTS[package]} functions and fields with Any in their types, {MOST.get(package, 0)} "
        "before. Give them the contract's records or a struct of their own."
    )


def test_what_has_fallen_stays_fallen() -> None:
    assert {name: most for name, most in MOST.items() if COUNTS[name] < most} == {}, "lower these numbers in MOST"


if __name__ == "__main__":
    print({name: n for name, n in sorted(COUNTS.items()) if n})
