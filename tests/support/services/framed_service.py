"""A service for tests of the frame: its spec holds the Python code that it runs, with ``service`` at hand."""

from __future__ import annotations

import sys

from rafiki.messages import ServiceSpec
from rafiki.service import ServiceContext, run_service


class ScriptSpec(ServiceSpec, frozen=True, kw_only=True):
    kind = "script"

    code: str


def serve(service: ServiceContext[ScriptSpec]) -> None:
    exec(compile(service.spec.code, "script.py", "exec"), {"service": service})


if __name__ == "__main__":
    sys.exit(run_service(ScriptSpec, serve))
