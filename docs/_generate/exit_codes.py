"""The table of exit codes."""

from __future__ import annotations

from docs._generate.fields import field_docs
from docs._generate.markdown import code, table
from rafiki.constants import ExitCode


def page() -> str:
    docs = field_docs(ExitCode)
    rows = [(str(c.value), code(c.name), docs.get(c.name, "")) for c in ExitCode]
    return table(["code", "name", "meaning"], rows)
