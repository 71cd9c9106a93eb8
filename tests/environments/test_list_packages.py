"""Which installed packages a model file needs, without running it."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import venv
from pathlib import Path

import numpy
import pytest

from rafiki.environments.list_packages import PackagesRequest, imported_modules, list_packages, packages_of
from rafiki.errors import ContainerError

SOURCE = b"""
import os, json
import sklearn.svm as svm
from numpy import array
from . import sibling
from rafiki.model import BaseModel
raise RuntimeError("it was run")

def later():
    from PIL import Image
    import glimmering_nothing
"""


def test_imports_are_found_at_any_depth_and_nothing_is_run() -> None:
    assert imported_modules(SOURCE) == {"os", "json", "sklearn", "numpy", "rafiki", "PIL", "glimmering_nothing"}
    assert imported_modules(b"import ) nonsense") == set()
    assert imported_modules(b"x = '\0'") == set()


def test_packages_come_with_those_that_they_need_in_their_versions() -> None:
    found = packages_of(PackagesRequest(source=SOURCE))
    assert {"scikit-learn", "scipy", "joblib", "threadpoolctl", "numpy", "pillow"} <= found.keys()
    assert found["numpy"] == numpy.__version__
    # Neither the engine nor what it needs itself.
    assert not {"rafiki", "sqlalchemy", "glimmering-nothing"} & found.keys()


def test_named_packages_count_though_nothing_imports_them() -> None:
    found = packages_of(PackagesRequest(names=["MsgSpec", "no-such-package"]))
    assert found == {"msgspec": importlib.metadata.version("msgspec")}


def add_package(home: Path, name: str, version: str, *needs: str) -> None:
    folder = home / f"{name}-{version}.dist-info"
    folder.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
    (folder / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    (folder / "top_level.txt").write_text(f"{name}\n")


def test_labels_of_builds_and_needs_of_single_systems_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_package(tmp_path, "glimmer", "2.1+cpu", "shimmer>=1", "cuda-things; sys_platform != 'win32'", "x; extra == 'y'")
    add_package(tmp_path, "shimmer", "1.5", "glimmer")
    add_package(tmp_path, "cuda_things", "12.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert packages_of(PackagesRequest(source=b"import glimmer")) == {"glimmer": "2.1", "shimmer": "1.5"}


def test_the_interpreter_that_is_named_is_the_one_that_is_asked(tmp_path: Path) -> None:
    venv.create(tmp_path / "other", with_pip=False, symlinks=True)
    [library] = (tmp_path / "other" / "lib").glob("python3*/site-packages")
    add_package(library, "glimmer", "3.0")
    (library / "ours.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")) + "\n")
    environment = {"PATH": os.defpath}
    request = PackagesRequest(source=b"import glimmer, numpy")
    found = list_packages(request, environment, str(tmp_path / "other" / "bin" / "python"))
    assert found == {"glimmer": "3.0", "numpy": numpy.__version__}
    assert list_packages(request, environment) == {"numpy": numpy.__version__}


def test_an_interpreter_that_does_not_answer_is_an_error() -> None:
    for python in ("/no/such/python", "/bin/false"):
        with pytest.raises(ContainerError, match="cannot be listed"):
            list_packages(PackagesRequest(), {"PATH": os.defpath}, python)
