"""Writes an exported folder, in one step: it appears whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rafiki.errors import DamagedFileError, RafikiError
from rafiki.registry import RAFIKI
from rafiki.tasks.registry import TASKS, get_task
from rafiki.utils.clock import utc_now
from rafiki.utils.ids import model_ref
from rafiki.utils.paths import why
from rafiki_cli.export import texts, vendor
from rafiki_cli.export.manifest import Manifest, Member
from rafiki_cli.origin import Origin, OriginKind, missing_line, origin_of
from rafiki_cli.terminal import UsageError

if TYPE_CHECKING:
    from rafiki.contract.exports import ExportView

MANIFEST = "manifest.json"
_FORMAT = "rafiki-export"
_FORMAT_VERSION = 1


class ConflictingPackagesError(RafikiError):
    """Members of the ensemble need different versions of a package."""


def check_target(target: Path, *, is_forced: bool) -> None:
    """Check that an export may be written to ``target``.

    Raises:
        UsageError: when something is there that is not to be replaced: anything without ``--force``, and what is no
            export even with it.
    """
    if not target.exists() and not target.is_symlink():
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    if not is_forced:
        raise UsageError(f"{target}: is there already. Replace it with --force, or name another place with --to.")
    if not _is_export(target):
        raise UsageError(f"{target}: this is no export of Rafiki, so --force does not replace it. Remove it yourself.")


def _is_export(target: Path) -> bool:
    if target.suffix == ".zip" and target.is_file():
        with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(target) as archive:
            return any(name.endswith(f"/{MANIFEST}") for name in archive.namelist())
        return False
    try:
        found = json.loads((target / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("format") == _FORMAT


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` that takes its place when the block ends well, and is gone otherwise.

    Raises:
        UsageError: when it cannot be made there.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        home = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as e:
        raise UsageError(f"{target}: cannot be written: {why(e)}.") from e
    folder = home / target.name
    folder.mkdir()
    try:
        yield folder
        _replace(target, folder, home)
    except OSError as e:
        raise RafikiError(f"{target}: cannot be written: {e.strerror or e}.") from e
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _replace(target: Path, folder: Path, home: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        target.rename(home / "replaced")
    try:
        folder.rename(target)
    except BaseException:
        if (home / "replaced").exists():
            (home / "replaced").rename(target)
        raise


def write_export(
    folder: Path, view: ExportView, model_files: Mapping[str, bytes], read_params: Callable[[str], bytes]
) -> Manifest:
    """Write all of an export; returns its manifest.

    Args:
        folder: an empty one.
        view: what the admin answered to ``get_export``.
        model_files: the files of its models, by the models' ids.
        read_params: gives the parameters of a trial by its id; they are held one at a time.

    Raises:
        ConflictingPackagesError: when no one set of packages does for all members.
        DamagedFileError: when what came is not what the admin told of.
    """
    package = find_task_package(view.task)
    requirements = _requirements([*((m.name, m.packages) for m in view.models), _task_needs(view.task, package)])
    models = {m.id: m for m in view.models}
    names = _file_names([m.name for m in view.models])
    files = {model_id: f"models/{name}.py" for model_id, name in zip(models, names, strict=True)}
    for model_id, path in files.items():
        _write(folder / path, model_files[model_id], models[model_id].file_sha256)
    members: list[Member] = []
    for m in view.members:
        model = models[m.model_id]
        path = f"parameters/{Path(files[model.id]).stem}-{m.no}.safetensors"
        _write(folder / path, read_params(m.trial_id), m.params_sha256)
        members.append(
            {
                "trial_id": m.trial_id, "name": m.label, "model": model_ref(model.name, model.version),
                "model_class": model.model_class,
                "model_file": {"path": files[model.id], "sha256": model.file_sha256},
                "parameters": {"path": path, "sha256": m.params_sha256},
                "knobs": m.knobs, "score": m.score, "weight": m.weight,
            }
        )  # fmt: skip
    vendor.write_engine(folder, type(get_task(view.task)).__module__, model_files.values())
    manifest: Manifest = {
        "format": _FORMAT, "format_version": _FORMAT_VERSION, "app": view.app, "app_version": view.app_version,
        "task": view.task, "rafiki_version": view.rafiki_version, "python_version": view.python_version,
        "train_job_id": view.train_job_id, "inference_job_id": view.inference_job_id,
        "datetime_exported": utc_now().isoformat(), "ensemble": msgspec.to_builtins(view.ensemble), "members": members,
        "requirements": requirements,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "requirements.txt").write_text("".join(f"{_as_installed(line, package)}\n" for line in requirements))
    (folder / "README.md").write_text(texts.readme(view, members), encoding="utf-8")
    image = re.sub(r"[^a-z0-9]+", "-", view.app.lower()).strip("-") or "app"
    (folder / "Dockerfile").write_text(texts.DOCKERFILE.format(image=image, python=view.python_version))
    for name, text in (("predict.py", texts.PREDICT), ("serve.py", texts.SERVE)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return manifest


def zip_folder(folder: Path, target: Path) -> None:
    """Write ``target``, a zip of the folder under the folder's own name, in one step."""
    fd, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(fd, "wb") as f, zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(p for p in folder.rglob("*") if p.is_file()):
                archive.write(file, f"{folder.name}/{file.relative_to(folder)}")
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class TaskPackage(NamedTuple):
    """The package of others that brings a task."""

    name: str
    version: str
    origin: Origin


def find_task_package(task: str) -> TaskPackage | None:
    """What brings a task; None where it comes with Rafiki."""
    name = TASKS.package_of(task)
    if name == RAFIKI:
        return None
    found = importlib.metadata.distribution(name)
    return TaskPackage(name, found.version, origin_of(found))


def _task_needs(task: str, package: TaskPackage | None) -> tuple[str, dict[str, str]]:
    """The name of a task, and name -> version of what brings it."""
    return f"the task {task}", {package.name: package.version} if package else {}


def _as_installed(requirement: str, package: TaskPackage | None) -> str:
    """A line of requirements.txt. What came from elsewhere than an index is not asked for there by its name alone: that
    may be somebody else's."""
    if package is None or requirement.partition("==")[0] != package.name or package.origin.kind is OriginKind.INDEX:
        return requirement
    if package.origin.is_local:
        return f"{missing_line(package.name, package.origin)}, or by {requirement} where an index has it."
    return f"{package.name} @ {package.origin.address}"


def _requirements(parts: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """One version a package, of what the parts need: names with package -> version."""
    found: dict[str, tuple[str, str]] = {}
    for name, packages in parts:
        for package, version in packages.items():
            other, other_version = found.setdefault(package, (name, version))
            if other_version != version:
                raise ConflictingPackagesError(
                    f"{other} runs with {package} {other_version} and {name} with {package} {version}, and "
                    "one process cannot have both. Export members of one of them: --trial MODEL#N."
                )
    return [f"{package}=={version}" for package, (_, version) in sorted(found.items())]


def _file_names(names: Sequence[str]) -> list[str]:
    """A file name for each name of a model, all different on any file system."""
    taken: set[str] = set()
    found = []
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")[:80] or "model"
        candidate, n = base, 2
        while candidate.lower() in taken:
            candidate, n = f"{base}_{n}", n + 1
        taken.add(candidate.lower())
        found.append(candidate)
    return found


def _write(file: Path, data: bytes, sha256: str) -> None:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedFileError(f"{file.name}: what came is not what the admin told of. Export again.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
