"""The part of Rafiki that travels in an export: the modules that it runs by, and all that these import."""

from __future__ import annotations

import ast
import importlib.util
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import rafiki
from rafiki.errors import RafikiError

PACKAGE = "rafiki"
_ENTRIES = ("rafiki.exported.predict", "rafiki.exported.serve", "rafiki.constants")
_NOT_IN_AN_EXPORT = frozenset({"rafiki.model.dev"})
"""The door to the local run, which needs the advisor. What stands in its place says so."""
_DEV = '''"""Not a part of exports: trying a model needs all of Rafiki."""

from rafiki.errors import ModelError


def test_model_class(*args, **kwargs):
    raise ModelError("test_model_class() is not a part of exports. Install Rafiki to train or try the model.")
'''
_NOTE = """\
This folder is a copy of the part of Rafiki {version} that the exported models run by. It is complete as it is, and in
the way of no installed Rafiki: `predict.py` and `serve.py` find it before any other. Change nothing in it; export anew
instead.
"""


def write_engine(folder: Path, task_module: str, model_sources: Iterable[bytes]) -> list[str]:
    """Write what the models need of Rafiki as the package ``rafiki`` in ``folder``.

    Args:
        folder: the exported folder.
        task_module: the module with the rules of the models' task. Of one of another package, what that package
            imports of Rafiki travels; the package itself is for requirements.txt.
        model_sources: the models' files; what they import of Rafiki travels too.

    Returns:
        The modules, by name.
    """
    roots = {*_ENTRIES, *_model_package()}
    if _file_of(task_module) is not None:
        roots.add(task_module)
    for source in itertools.chain(model_sources, () if task_module in roots else _package_sources(task_module)):
        roots |= {name for name in imports_of(source) if _file_of(name)}
    modules = closure(roots - _NOT_IN_AN_EXPORT)
    for name in modules:
        file = _file_of(name)
        assert file is not None
        target = folder / file.relative_to(_root())
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    (folder / PACKAGE / "model" / "dev.py").write_text(_DEV)
    (folder / PACKAGE / "NOTE.txt").write_text(_NOTE.format(version=rafiki.__version__))
    return modules


def closure(roots: Iterable[str]) -> list[str]:
    """The modules and all that they import of Rafiki, with the packages they lie in; sorted."""
    found: set[str] = set()
    left = list(roots)
    while left:
        name = left.pop()
        if name in found or name in _NOT_IN_AN_EXPORT:
            continue
        file = _file_of(name)
        if file is None:
            raise RafikiError(f"This installation of Rafiki lacks {name}. Install it again.")
        found.add(name)
        left += _parents(name)
        left += [imported for imported in imports_of(file.read_bytes()) if _file_of(imported)]
    return sorted(found)


def imports_of(source: bytes) -> set[str]:
    """The modules of Rafiki that a Python file imports, at any place but for type checkers alone. A name that is
    imported from a package may be a module or not: both are told. What is no valid Python imports nothing."""
    found: set[str] = set()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return found
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name == PACKAGE or name.startswith(f"{PACKAGE}.")}


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _is_for_type_checkers(node.test):
            for other in node.orelse:
                yield from (other, *_nodes(other))
            continue
        yield node
        yield from _nodes(node)


def _is_for_type_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _model_package() -> set[str]:
    """All modules of the SDK: model code reaches many of them by name at run time."""
    return {f"rafiki.model.{file.stem}" for file in (_root() / PACKAGE / "model").glob("[a-z]*.py")}


def _package_sources(module: str) -> Iterator[bytes]:
    """The files of another package: all that may be loaded with one of its modules."""
    top = importlib.util.find_spec(module.partition(".")[0])
    if top is None:
        return
    folders = top.submodule_search_locations
    if folders is None:
        files = [Path(top.origin)] if top.origin else []
    else:
        files = [file for folder in folders for file in Path(folder).rglob("*.py")]
    for file in files:
        yield file.read_bytes()


def _root() -> Path:
    return Path(rafiki.__file__).resolve().parent.parent


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _file_of(name: str) -> Path | None:
    """Where a module's source is; None when the name is no module of Rafiki."""
    path = _root().joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None
