"""Values of arguments and options that need no pydantic: Typer loads it (60 ms) for every value, even a default."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

if TYPE_CHECKING:
    from typer._coercion import RuntimeParam
    from typer.core import TyperArgument, TyperOption

    from rafiki_cli.click_types import Context, Parameter

    TyperParameter: TypeAlias = TyperArgument | TyperOption


class QuickValues:
    """Stands before what Typer converts the values of a parameter with, which is made when it is needed."""

    def __init__(self, make: Callable[[], RuntimeParam]) -> None:
        self._make = make

    def coerce(self, value: object, param: TyperParameter, ctx: Context) -> object:
        """``value`` as the parameter's type; refusals are Typer's."""
        is_many = param.multiple or param.nargs == -1
        if value is None:
            return () if is_many else None
        if not is_many and param.type_descriptor.parameter_info.parser is None:
            kind = param.type_descriptor.annotation
            if kind in (str, int, float, bool) and type(value) is kind:
                return value
            if isinstance(kind, type) and issubclass(kind, Enum):
                if isinstance(value, kind):
                    return value
                if value in [member.value for member in kind]:
                    return kind(value)
            if kind is int and _is_plain_number(value, param):
                return int(value)
            if kind is Path and _is_plain_path(value, param):
                return Path(value)
        return self._make().coerce(value, param=param, ctx=ctx)


def _is_plain_number(value: object, param: TyperParameter) -> TypeGuard[str]:
    info = param.type_descriptor.parameter_info
    is_unbounded = info.min is None and info.max is None
    return is_unbounded and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value) is not None


def _is_plain_path(value: object, param: TyperParameter) -> TypeGuard[str]:
    """Whether Typer would find nothing wrong with a path: commands check files themselves, with their own words."""
    info = param.type_descriptor.parameter_info
    is_plain = info.file_okay and info.dir_okay and not (info.exists or info.writable or info.resolve_path)
    return is_plain and isinstance(value, str) and (not os.path.exists(value) or os.access(value, os.R_OK))


def spare_pydantic(params: Iterable[Parameter]) -> None:
    """Have simple values of a command's parameters converted without pydantic, where this version of Typer uses it."""
    for param in params:
        if hasattr(param, "get_runtime_param") and hasattr(param, "type_descriptor"):
            param.get_runtime_param = _once(QuickValues(param.get_runtime_param))


def _once(quick: QuickValues) -> Callable[[], QuickValues]:
    return lambda: quick
