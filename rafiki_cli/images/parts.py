"""What of an installation is in which image: that of workers, or the one on top of it with all of Rafiki."""

from __future__ import annotations

WORKERS, ADMIN = "workers", "admin"
"""The parts: stages of the Dockerfile, and folders of what it is given."""

PROGRAMS = {
    WORKERS: (
        "rafiki.worker.train", "rafiki.worker.inference", "rafiki.environments.on_node", "rafiki.environments.enter",
        "rafiki.container.inventory",
    ),
    ADMIN: (
        "rafiki.predictor.__main__", "rafiki.search.advisor_worker", "rafiki.admin.__main__",
        "rafiki.admin.courier.__main__", "rafiki_cli.main",
    ),
}  # fmt: skip
"""What is started in them. What these import of Python's own library is compiled."""

NEEDED_BY_WORKERS = frozenset(
    {"msgspec", "numpy", "packaging", "pillow", "pip", "psutil", "redis", "safetensors", "scipy"}
)
"""Of the packages that Rafiki needs. The others are the admin's: a worker has no database, and no command line."""

OF_THE_ADMIN = (
    "rafiki.admin", "rafiki.backup", "rafiki.client", "rafiki.exported", "rafiki.meta_store", "rafiki.predictor",
    "rafiki.search", "rafiki.trackers", "rafiki_cli",
)  # fmt: skip
"""Rafiki's own packages that are not in the image of workers."""
_ALSO_FOR_WORKERS = frozenset(
    f"rafiki_cli/{name}"
    for name in ("__init__.py", "__main__.py", "start.py", "images/__init__.py", "images/compile_library.py",
                 "images/parts.py")
)  # fmt: skip
"""They say what the image of workers lacks, and compile what it has."""


def part_of(path: str) -> str:
    """The part that one of Rafiki's own files is in, by its path in the folder of packages."""
    module = path.replace("/", ".")
    is_of_the_admin = path not in _ALSO_FOR_WORKERS and any(module.startswith(f"{name}.") for name in OF_THE_ADMIN)
    return ADMIN if is_of_the_admin else WORKERS
