"""Which errors each call of the admin may answer with: read from the code that serves it.

The operation, the functions of Rafiki that it calls, and the promises ("Raises:") of the stores' interfaces are walked.
What every call may answer is said once on the page and left out here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
import types
from functools import cache
from typing import Any

from rafiki import errors
from rafiki.contract.endpoint import AnyEndpoint

EVERY_CALL = (
    "InvalidRequestError",
    "UnauthorizedError",
    "RequestTooLargeError",
    "MetaStoreError",
    "CacheUnavailableError",
    "InternalError",
)


def errors_of(endpoint: AnyEndpoint) -> list[str]:
    """Names of the errors that this call in particular answers with, in the order of the code."""
    found: dict[str, None] = {}
    operation = _operation(endpoint.name)
    if operation is not None:
        _look(operation, found, set())
    wanted = {n for n, kind in errors.error_types().items() if issubclass(kind, errors.RequestRefusedError)}
    wanted |= {"EnvironmentBusyError", "InvalidServiceError", "DamagedFileError"}
    return [name for name in found if name in wanted and name not in EVERY_CALL and name != "RequestRefusedError"]


@cache
def _operation(name: str) -> Any:
    import pkgutil

    package = importlib.import_module("rafiki.admin.ops")
    for module in pkgutil.iter_modules(package.__path__):
        found = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), name, None)
        if inspect.isfunction(found) and found.__module__.startswith(package.__name__):
            return found
    return None


@cache
def _promises() -> dict[str, list[str]]:
    """Method of a store's interface -> the errors that its docstring names."""
    found: dict[str, list[str]] = {}
    for name in ("users", "datasets", "models", "train_jobs", "trials", "inference_jobs"):
        module = importlib.import_module(f"rafiki.meta_store.base.{name}")
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__:
                for method, value in vars(kind).items():
                    _, _, raises = (getattr(value, "__doc__", None) or "").partition("Raises:")
                    # A record looked up by an id that another record holds is there: no caller sees that fail.
                    if not re.fullmatch(r"get_(user|model|dataset|trial|(sub_)?train_job|inference_job)", method):
                        named = re.findall(r"\b([A-Z]\w+Error)\b", raises)
                        found[method] = [n for n in named if n != "InvalidUserError"]
    return found


def _look(function: Any, found: dict[str, None], seen: set[Any]) -> None:
    if function in seen or len(seen) > 200:
        return
    seen.add(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return
    names = getattr(function, "__globals__", {})
    for node in ast.walk(tree):
        match node:
            case ast.Raise(exc=ast.Name(id=name)) | ast.Raise(exc=ast.Call(func=ast.Name(id=name))):
                found.setdefault(name)
            case ast.Call(func=ast.Name(id=name)):
                called = names.get(name)
                if isinstance(called, types.FunctionType) and called.__module__.startswith("rafiki."):
                    _look(called, found, seen)
            case ast.Call(func=ast.Attribute(attr=name, value=ast.Attribute(value=ast.Attribute(attr="store")))):
                for promised in _promises().get(name, []):
                    found.setdefault(promised)
