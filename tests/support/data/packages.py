"""A package of somebody else's that this process finds, with entries for a registry, for tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rafiki import registry
from rafiki.registry import Registry


@contextmanager
def installed(
    folder: Path, package: str, source: str, points: str, entries: Registry[Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """What an installer leaves of a package: its module in ``folder``, and its entry points beside it.

    Args:
        folder: an empty one.
        package: its name, and that of its module.
        source: of the module.
        points: lines of entry points for the group of ``entries``.
        entries: the registry, which forgets the entries when the block ends.
        monkeypatch: of the test.
    """
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{package}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{entries.kind.group}]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(entries, "_loaded", {})
    monkeypatch.setattr(entries, "_broken", {})
    registry._declared.cache_clear()
    yield
    sys.modules.pop(package, None)
    registry._declared.cache_clear()
