"""The loaders of examples/datasets, as modules."""

from __future__ import annotations

import csv
import importlib.util
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.registry import get_task

LOADERS = Path(__file__).resolve().parents[3] / "examples" / "datasets"


def load_loader(name: str) -> Any:
    """The module ``name`` of examples/datasets, which finds the ones that it shares code with as a script does."""
    if str(LOADERS) not in sys.path:
        sys.path.append(str(LOADERS))
    full_name = f"rafiki_examples_datasets_{name}"
    if full_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(full_name, LOADERS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full_name] = module
        spec.loader.exec_module(module)
    return sys.modules[full_name]


def load(name: str, out: Path, *arguments: object, task: str) -> list[Path]:
    """What the loader ``name`` wrote, seen to be valid datasets of ``task``; nothing unfinished lies about."""
    paths: list[Path] = load_loader(name).main([*map(str, arguments), "--out", str(out), "--quiet"])
    for path in paths:
        get_task(task).validate_dataset(path)
    assert not list(out.glob(".*"))
    return paths


def refuse(name: str, out: Path, *arguments: object) -> str:
    """What the loader says is wrong; it leaves nothing behind."""
    with pytest.raises(InvalidDatasetError) as caught:
        load_loader(name).main([*map(str, arguments), "--out", str(out), "--quiet"])
    assert not out.exists() or not list(out.iterdir())
    return str(caught.value)


def table(path: Path, name: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(path) as archive:
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
