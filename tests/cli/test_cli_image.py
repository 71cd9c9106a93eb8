"""``rafiki image``, as far as no engine is needed. The two Docker hosts of the suite are given their image by it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from rafiki.errors import ContainerError, InvalidRequestError
from rafiki_cli.images import site_files
from rafiki_cli.images.build_context import DOCKERFILE, pack
from rafiki_cli.images.engine import ImageEngine


def test_the_image_gets_what_rafiki_needs_and_nothing_else() -> None:
    names = {d.metadata["Name"].lower().replace("_", "-") for d in site_files.find_needed(frozenset())}
    assert {"rafiki-ml", "msgspec", "numpy", "redis", "hiredis"} <= names
    assert not {"pytest", "mypy", "sphinx", "scikit-learn"} & names
    with_templates = {d.metadata["Name"].lower() for d in site_files.find_needed(frozenset({"templates"}))}
    assert "scikit-learn" in with_templates


def test_what_is_needed_and_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str, found: object = metadata.distribution) -> metadata.Distribution:
        if name == "msgspec":
            raise metadata.PackageNotFoundError(name)
        return found(name)  # type: ignore[operator, no-any-return]

    monkeypatch.setattr(site_files.metadata, "distribution", distribution)
    with pytest.raises(InvalidRequestError, match="The package msgspec is not installed here"):
        site_files.find_needed(frozenset())


def test_rafikis_own_files_go_into_it_without_what_is_compiled() -> None:
    own = next(d for d in site_files.find_needed(frozenset()) if d.metadata["Name"] == "rafiki-ml")
    paths = {path for path, _ in site_files.files_of(own)}
    assert {"rafiki/worker/train.py", "rafiki_cli/main.py", "rafiki_cli/images/Dockerfile"} <= paths
    assert any(path.endswith(".dist-info/METADATA") for path in paths)
    assert not [path for path in paths if path.endswith(".pyc") or ".." in path]


def test_two_builds_of_the_same_files_are_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "site" / "pkg").mkdir(parents=True)
        for file in ("b.py", "a.py"):
            (folder / "site" / "pkg" / file).write_text(file)
            (folder / "site" / "pkg" / file).chmod(0o600 if name == "one" else 0o640)
        pack(folder, tmp_path / f"{name}.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_the_dockerfile_is_that_of_the_folder_of_dockerfiles() -> None:
    beside = Path(__file__).parents[2] / "dockerfiles" / "Dockerfile"
    assert beside.read_text() == DOCKERFILE.read_text()
    assert "USER 10001:10001" in DOCKERFILE.read_text()


def test_no_engine_is_said_with_what_to_do() -> None:
    with pytest.raises(ContainerError, match=r"No Docker engine answers at unix:///nowhere.*--engine"):
        ImageEngine("unix:///nowhere/docker.sock")
