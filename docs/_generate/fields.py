"""The string literals below the fields of a class: the docstrings that Python itself does not keep."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from functools import cache


@cache
def field_docs(kind: type) -> dict[str, str]:
    """Field or enum member -> its docstring, also those of base classes. Fields without one are left out."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.split(".")[0] in ("rafiki", "rafiki_cli"):
            found |= _own_field_docs(owner)
    return found


@cache
def _own_field_docs(kind: type) -> dict[str, str]:
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    return docs_in(tree.body)


def docs_in(statements: list[ast.stmt]) -> dict[str, str]:
    """Assigned name -> the string literal right after the assignment."""
    found: dict[str, str] = {}
    for statement, following in itertools.pairwise(statements):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case _:
                continue
        match following:
            case ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text)
    return found


def module_docs(path: str) -> dict[str, str]:
    """The same of the names that a module's file assigns."""
    with open(path, encoding="utf-8") as file:
        return docs_in(ast.parse(file.read()).body)
