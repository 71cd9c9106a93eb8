"""Makes a stack of a backup, in a folder where none is, or in the place of one that is down."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from rafiki import __version__, states
from rafiki.backup.archive import Archive, Progress
from rafiki.backup.manifest import STACK_FILES, describe
from rafiki.backup_report import RestoreReport
from rafiki.data_store.base import DataStore
from rafiki.errors import BackupRefusedError, DamagedFileError, InvalidDatasetError, NewerDatabaseError
from rafiki.meta_store import MetaStore, open_meta_store
from rafiki.param_store.base import ParamStore
from rafiki.stack_folder import Secrets, StackFolder
from rafiki.stack_identity import StackIdentity, Standing, examine
from rafiki.stores import open_data_store, open_param_store
from rafiki.utils.disk_space import free_bytes
from rafiki.utils.files import write_private

_PIECE_BYTES = 1 << 20
_MOST_BYTES_OF_STACK_FILE = 1 << 20
_MOST_BYTES_OF_VALIDATION = 256 << 20
_MARGIN_BYTES = 16 << 20
_SPACE_OF_DATABASE = 3
"""A database, with its indices and its log, is at most about so many times as large as the rows of its tables."""


def restore_backup(folder: StackFolder, file: Path, *, is_replacing: bool, progress: Progress) -> RestoreReport:
    """Make the stack that was saved in ``file``. Everything of the backup is checked before anything is written.

    Args:
        folder: where it will be; the configuration names its database and its stores.
        file: the backup.
        is_replacing: whether it takes the place of the stack that is there. Its former database is kept if it is
            SQLite; files of its stores stay.
        progress: told twice through the backup: as it is checked, and as its files are stored.

    Raises:
        BackupRefusedError: there is a stack, or it runs, or the disk has too little space.
        DamagedFileError: the backup is damaged.
        NewerDatabaseError: the backup is of a newer version of Rafiki.
    """
    with Archive(file) as archive, open_meta_store(folder.meta_store_url) as store:
        manifest = archive.manifest
        archive.refuse_newer_form()
        if not store.knows_revision(manifest.database.revision):
            raise NewerDatabaseError(
                f"{file} was written by Rafiki {manifest.version}, with the schema {manifest.database.revision}, which "
                f"this version ({__version__}) does not know. Install {manifest.version} or a newer one. Nothing was "
                "written."
            )
        _refuse_running(folder)
        _refuse_stack(folder, store, is_replacing=is_replacing)
        archive.check(progress)
        kept = {name: _read_stack_file(archive, name) for name in STACK_FILES}
        _check_space(folder, archive)
        folder.create()
        with _held(folder):
            stored = _Stored(open_data_store(folder.datasets), open_param_store(folder.params))
            try:
                stored.put_all(archive, progress)
                renames = {("datasets", "store_id"): stored.renamed}
                former = store.load(manifest.database, archive.read_table, renames, is_replacing=is_replacing)
            except BaseException:
                stored.take_back()
                raise
            finally:
                stored.close()
            for name, text in kept.items():
                if text is not None:
                    write_private(folder.root / name, text)
        n_live = [_count_live(archive, table) for table in ("train_jobs", "inference_jobs")]
        examined = examine(folder.root)
        return RestoreReport(
            backup=describe(str(file), archive.size_bytes, manifest), root=str(folder.root),
            n_live_train_jobs=n_live[0], n_live_inference_jobs=n_live[1],
            former_database=str(former) if former else None,
            copy_of=str(examined.old_root) if examined.standing is Standing.COPIED else None,
        )  # fmt: skip


def _refuse_running(folder: StackFolder) -> None:
    if (admin := folder.find_admin()) is not None:
        raise BackupRefusedError(
            f"The stack in {folder.root} runs (process {admin.process.pid}). Stop it first: `rafiki down`."
        )
    if folder.is_starting:
        raise BackupRefusedError(f"The stack in {folder.root} is being started. Stop it first: `rafiki down`.")


def _refuse_stack(folder: StackFolder, store: MetaStore, *, is_replacing: bool) -> None:
    if is_replacing:
        return
    if not store.is_empty() or examine(folder.root).standing is not Standing.NEW:
        raise BackupRefusedError(
            f"There is a stack in {folder.root}. Restore into another folder with --into FOLDER, or put the backup in "
            "its place with --force: what came to it since is lost then."
        )


@contextmanager
def _held(folder: StackFolder) -> Iterator[None]:
    """The lock that the stack's admin holds while it runs."""
    with (folder.run / "admin.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise BackupRefusedError(f"An admin of the stack in {folder.root} runs. Stop it: `rafiki down`.") from e
        yield


def _read_stack_file(archive: Archive, name: str) -> str | None:
    """A file of the stack's folder, if the backup has it and it is what it should be."""
    if not any(f.name == f"stack/{name}" for f in archive.manifest.files):
        return None
    with archive.open(f"stack/{name}") as opened:
        raw = opened.read(_MOST_BYTES_OF_STACK_FILE)
    kinds: dict[str, type[Secrets] | type[StackIdentity]] = {"secrets.json": Secrets, "stack.json": StackIdentity}
    try:
        if (kind := kinds.get(name)) is not None:
            msgspec.json.decode(raw, type=kind)
        return raw.decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise DamagedFileError(f"{archive.path}: its {name} is damaged. Nothing was written.") from e


def _check_space(folder: StackFolder, archive: Archive) -> None:
    files = archive.manifest.files
    rows = sum(f.size_bytes for f in files if f.name.startswith("tables/"))
    needed = sum(f.size_bytes for f in files) + rows * (_SPACE_OF_DATABASE - 1) + _MARGIN_BYTES
    # The stores may be on other disks; then this asks for too much, and never for too little.
    places = dict.fromkeys(folder.disk_space().folders)
    for place in places:
        if (free := free_bytes(place)) < needed:
            raise BackupRefusedError(
                f"The disk of {place} has {free >> 20:,} MB free; the backup needs about {needed >> 20:,}. Free some. "
                "Nothing was written."
            )


def _count_live(archive: Archive, name: str) -> int:
    live: dict[str, list[str]] = {
        "train_jobs": [*states.live_statuses(states.TRAIN_JOB_TRANSITIONS)],
        "inference_jobs": [*states.live_statuses(states.INFERENCE_JOB_TRANSITIONS)],
    }
    table = next(t for t in archive.manifest.database.tables if t.name == name)
    at = table.columns.index("status")
    return sum(row[at] in live[name] for row in archive.read_table(table))


class _Stored:
    """The files of a backup on their way into the stores."""

    def __init__(self, datasets: DataStore, params: ParamStore) -> None:
        self._datasets, self._params = datasets, params
        self.renamed: dict[str, str] = {}
        """The id that a dataset had -> the one that this store has made for it."""
        self._new_params: list[str] = []

    def put_all(self, archive: Archive, progress: Progress) -> None:
        there = {f.id for f in self._params.list_stored()}
        # What lies beside parameters comes after them.
        files = [f for f in archive.manifest.files if f.name.startswith(("datasets/", "params/"))]
        total, done = sum(f.size_bytes for f in files), 0
        for file in sorted(files, key=lambda f: (f.name.endswith(".validation"), f.name)):
            kind, _, file_id = file.name.partition("/")
            if kind == "datasets":
                self._put_dataset(archive, file.name, file_id)
            elif file_id.endswith(".validation"):
                self._put_validation(archive, file.name, file_id.removesuffix(".validation"), file.size_bytes)
            else:
                self._put_params(archive, file.name, file_id, is_there=file_id in there)
            done += file.size_bytes
            progress(done, total)

    def _put_dataset(self, archive: Archive, name: str, store_id: str) -> None:
        with contextlib.suppress(InvalidDatasetError, DamagedFileError):
            self._datasets.verify(store_id)
            return  # The store has it still.
        with archive.open(name) as file:
            self.renamed[store_id] = self._datasets.save(file).store_id

    def _put_params(self, archive: Archive, name: str, params_id: str, *, is_there: bool) -> None:
        if is_there:
            with contextlib.suppress(DamagedFileError):
                self._params.read_bytes(params_id)
                return
            self._params.delete(params_id)
        with archive.open(name) as file:
            self._params.put(params_id, iter(lambda: file.read(_PIECE_BYTES), b""))
        self._new_params.append(params_id)

    def _put_validation(self, archive: Archive, name: str, params_id: str, size_bytes: int) -> None:
        if size_bytes > _MOST_BYTES_OF_VALIDATION or self._params.has_validation(params_id):
            return
        with archive.open(name) as file:
            self._params.put_validation(params_id, file.read())

    def take_back(self) -> None:
        """Remove what was stored: the restore has failed, and nothing will refer to it."""
        for store_id in self.renamed.values():
            self._datasets.delete(store_id)
        for params_id in self._new_params:
            self._params.delete(params_id)

    def close(self) -> None:
        self._datasets.close()
        self._params.close()
