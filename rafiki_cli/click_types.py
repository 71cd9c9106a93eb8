"""Click's types, for annotations alone: Typer holds a copy of click, or (before 0.26) uses click itself.

Import it under ``TYPE_CHECKING``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer._click.core import Command, Context, Parameter
    from typer._click.formatting import HelpFormatter

    __all__ = ["Command", "Context", "HelpFormatter", "Parameter"]
