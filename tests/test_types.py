"""``Any`` does not cross a package border: no public function, method, field or alias has it in its types, but for the
few that are named here. mypy (``strict`` and ``disallow_any_explicit`` in pyproject.toml) checks the rest."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXCEPTIONS = {
    "rafiki.client.plain_answers.Json": "the published client answers with plain dicts, which scripts index",
    "rafiki.client.prediction.PredictorClient.predict": "a prediction is whatever the model's author returns",
    "rafiki.client.prediction.PredictorClient.predict_many": "as predict()",
    "rafiki.client.prediction.PredictorAnswer.prediction": "as predict()",
    "rafiki.client.prediction.PredictorAnswer.predictions": "as predict()",
    "rafiki.model.base.Params": "models annotate what they dump with types of their own, which object refuses",
    "rafiki.model.base.BaseModel.train": "models override it with named arguments of types of their own",
    "rafiki.model.base.BaseModel.predict": "models override it with types of their own",
    "rafiki.model.dataset_audio.AudioFilesDataset.df": "a DataFrame where pandas is installed, which no types are for",
}
"""What is published with ``Any`` on purpose -> why. Whoever uses one of these aliases does not count."""


class Module(NamedTuple):
    name: str
    tree: ast.Module


class Offer(NamedTuple):
    """One public function, method, field or alias, by its whole name, and the types that it tells."""

    name: str
    types: ast.AST


def module_files() -> dict[str, Path]:
    """The modules of the engine and of the command line by name."""
    found = {}
    for root in ("rafiki", "rafiki_cli"):
        for file in sorted((ROOT / root).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def package_of(name: str) -> str:
    """The package of the engine, or the room of the command line, that a module is in."""
    return ".".join(name.split(".")[:2])


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those that mypy reads: of ``if TYPE_CHECKING`` the first branch alone."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from statements(node.body)
        else:
            yield node


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def offers(module: Module) -> Iterator[Offer]:
    def of(body: list[ast.stmt], owner: str, *, is_class: bool) -> Iterator[Offer]:
        for node in statements(body):
            if isinstance(node, ast.ClassDef) and is_public(node.name):
                yield Offer(f"{owner}.{node.name}", ast.Tuple(node.bases))
                yield from of(node.body, f"{owner}.{node.name}", is_class=True)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_public(node.name):
                yield Offer(f"{owner}.{node.name}", ast.Tuple([a for a in annotations(node) if a is not None]))
                if is_class and node.name == "__init__":
                    yield from attributes(node, owner)
            elif isinstance(node, ast.AnnAssign) and is_public(ast.unparse(node.target)):
                name = f"{owner}.{ast.unparse(node.target)}"
                is_alias = ast.unparse(node.annotation).endswith("TypeAlias")
                yield Offer(name, node.value if is_alias and node.value is not None else node.annotation)
            elif isinstance(node, ast.Assign) and not is_class and is_alias_value(node.value):
                yield from (Offer(f"{owner}.{ast.unparse(t)}", node.value) for t in node.targets)

    yield from of(module.tree.body, module.name, is_class=False)


def attributes(init: ast.FunctionDef | ast.AsyncFunctionDef, owner: str) -> Iterator[Offer]:
    """The public attributes whose types ``__init__`` names."""
    for node in ast.walk(init):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target).startswith("self."):
            name = ast.unparse(node.target).removeprefix("self.")
            if is_public(name):
                yield Offer(f"{owner}.{name}", node.annotation)


def annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr | None]:
    a = node.args
    every = [*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg]
    return [*(argument.annotation for argument in every if argument is not None), node.returns]


def is_alias_value(value: ast.expr) -> bool:
    """Whether what is assigned at the top of a module may be a type: ``dict[str, Any]``, ``A | B``, ``Any``."""
    return isinstance(value, ast.Subscript | ast.BinOp | ast.Name)


def imported(module: Module) -> dict[str, str]:
    """Name in the module -> whole name of what it is."""
    names = {}
    for node in statements(module.tree.body):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
    return names


def used_names(types: ast.AST) -> Iterator[str]:
    for node in ast.walk(types):
        if isinstance(node, ast.Name | ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A type in quotes, or the text of a Literal.
            try:
                yield from used_names(ast.parse(node.value, mode="eval").body)
            except SyntaxError:
                continue


def find_any(found: list[Module]) -> dict[str, str]:
    """Each offer with ``Any`` in its types, or with an alias of it -> its module."""
    every = [(m, imported(m), list(offers(m))) for m in found]
    anys = {"typing.Any"}
    while True:
        hits = {
            offer.name: module.name
            for module, names, own in every
            for offer in own
            if not anys.isdisjoint(whole_names(offer.types, module.name, names))
        }
        more = hits.keys() - EXCEPTIONS.keys() - anys
        if not more:
            return hits
        anys |= more


def whole_names(types: ast.AST, module: str, imports: dict[str, str]) -> Iterator[str]:
    for used in used_names(types):
        head, dot, rest = used.partition(".")
        yield f"{imports.get(head, f'{module}.{head}')}{dot}{rest}"


@functools.cache  # Made by the worker that runs these tests: it takes two seconds, and every worker collects.
def hits_of_all() -> dict[str, str]:
    return find_any([Module(name, ast.parse(file.read_text("utf-8"))) for name, file in module_files().items()])


@pytest.mark.parametrize("package", sorted({package_of(name) for name in module_files()}))
def test_no_public_type_of_a_package_has_any(package: str) -> None:
    hits = [name for name, module in hits_of_all().items() if package_of(module) == package and name not in EXCEPTIONS]
    assert hits == [], (
        "These have Any in their types. Give them a record of the contract, a struct, or a type of "
        "rafiki.utils.values; object takes anything."
    )


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_is_still_needed(name: str) -> None:
    assert name in hits_of_all(), f"{name} has no Any in its types any more: take it out of EXCEPTIONS"


@pytest.mark.parametrize(
    "line",
    [
        "def f(a: Any) -> None: ...",
        "def f(*args: Any) -> None: ...",
        "def f(**options: dict[str, Any]) -> None: ...",
        "async def f() -> list[Any]: ...",
        "def f(a: 'dict[str, Any]') -> None: ...",
        "def f(a: typing.Any) -> None: ...",
        "def f(a: Plain) -> None: ...",
        "def f(a: other.Plain) -> None: ...",
        "class A:\n    field: Any = None",
        "class A:\n    def __init__(self) -> None:\n        self.field: Any = None",
        "class A(Sequence[Any]): ...",
        "Alias: TypeAlias = dict[str, Any]",
        "Alias = dict[str, Any]",
        "if TYPE_CHECKING:\n    Alias = dict[str, Any]",
    ],
)
def test_any_is_found_wherever_a_type_may_hold_it(line: str) -> None:
    other = Module("other", ast.parse("from typing import Any\nPlain = dict[str, Any]"))
    top = "import other\nimport typing\nfrom typing import Any\nfrom other import Plain\n"
    assert [n for n in find_any([other, Module("own", ast.parse(top + line))]) if n.startswith("own.")]


@pytest.mark.parametrize(
    "line",
    [
        "def _f(a: Any) -> None: ...",
        "class A:\n    _field: Any = None",
        "if TYPE_CHECKING:\n    Alias = object\nelse:\n    Alias = Any",
        "def f(a: Literal['Any other']) -> None: ...",
    ],
)
def test_what_is_private_or_never_read_by_mypy_does_not_count(line: str) -> None:
    assert find_any([Module("own", ast.parse("from typing import Any\n" + line))]) == {}
