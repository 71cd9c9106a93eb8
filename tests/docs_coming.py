"""What the pages may tell of before it is there. What is there is checked like everything else.

Empty these at a release.
"""

from __future__ import annotations

COMING_COMMANDS: set[tuple[str, ...]] = {
    *((name,) for name in ("init", "template", "run", "schema", "doctor", "export", "gc", "token", "context")),
    *((name,) for name in ("completion", "stop-all")),
    ("model", "test"), ("model", "new"), ("model", "download"), ("infer", "watch"), ("config", "set"),
    ("config", "get"), ("train", "compare"), ("train", "importance"), ("trial", "plot"), ("user", "password"),
}  # fmt: skip
COMING_OPTIONS = {"--context", "--follow", "--sort", "--verbose", "--watch"}
COMING_VALUES = {"jsonl"}
COMING_ERRORS = {"ApiTokenExistsError", "InvalidApiTokenError", "TooManyStreamsError"}
