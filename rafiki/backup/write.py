"""Makes a backup of a stack, which may be at work meanwhile.

The database is read at one moment; then the files that it names, which never change. What is freed between the two is
missing in the stores too, and is told.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from rafiki import __version__
from rafiki.backup.archive import Progress
from rafiki.backup.manifest import FORMAT, MANIFEST, STACK_FILES, BackupFile, Manifest, describe, sha256_in
from rafiki.backup_report import BackupReport, LeftOut
from rafiki.data_store.base import DataStore
from rafiki.errors import BackupRefusedError, DamagedFileError, InvalidDatasetError, InvalidTrialError
from rafiki.meta_store import open_meta_store
from rafiki.meta_store.base.dump import DatabaseDump, read_rows
from rafiki.param_store.base import ParamStore
from rafiki.stack_folder import StackFolder
from rafiki.stack_identity import read_identity
from rafiki.stores import open_data_store, open_param_store
from rafiki.utils.clock import utc_now
from rafiki.utils.disk_space import free_bytes
from rafiki.utils.paths import why

_PIECE_BYTES = 1 << 20
_IN_MEMORY_BYTES = 64 << 20
_MOST_BYTES_OF_VALIDATION = 256 << 20
_MARGIN_BYTES = 16 << 20


def write_backup(
    folder: StackFolder, file: Path, *, has_stores: bool, is_replacing: bool, progress: Progress
) -> BackupReport:
    """Save a stack in ``file``, which appears whole or not at all, with mode 0600.

    Raises:
        BackupRefusedError: the file is there and is not to be replaced, its folder cannot be written, or the disk has
            too little space.
        MetaStoreError: the database cannot be read.
    """
    if file.exists() and not is_replacing:
        raise BackupRefusedError(f"{file} is there already. Name another file, or replace it with --force.")
    created = utc_now()
    with _work_folder(file) as work, open_meta_store(folder.meta_store_url) as store:
        _check_space(file.parent, 2 * store.size_bytes(), "the database")
        dump = store.dump(work)
        named = _NamedFiles(work, dump)
        made = work / "backup.tar"
        with made.open("xb") as opened:
            writer = _Writer(opened, work)
            for table in dump.tables:
                path = work / f"{table.name}.jsonl"
                with path.open("rb") as rows:
                    writer.add(f"tables/{table.name}.jsonl", rows)
                path.unlink()
            for name in STACK_FILES:
                if (path := folder.root / name).is_file():
                    with path.open("rb") as secret:
                        writer.add(f"stack/{name}", secret)
            if has_stores:
                _add_stores(writer, folder, named, file.parent, progress)
            identity = read_identity(folder.root)
            manifest = Manifest(
                format=FORMAT, version=__version__, stack_id=identity.id if identity else None,
                stack_root=str(folder.root), datetime_created=created, database=dump, has_stores=has_stores,
                files=writer.files, left_out=writer.left_out,
            )  # fmt: skip
            writer.end(manifest)
            opened.flush()
            os.fsync(opened.fileno())
        made.chmod(0o600)
        os.replace(made, file)
        return describe(str(file), file.stat().st_size, manifest)


@contextmanager
def _work_folder(file: Path) -> Iterator[Path]:
    """A folder beside the backup, where only this user looks in; it goes, whatever happens."""
    try:
        work = Path(tempfile.mkdtemp(prefix=".rafiki-backup-", dir=file.parent))
    except OSError as e:
        raise BackupRefusedError(f"Nothing can be written in {file.parent}: {why(e)}.") from e
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_space(folder: Path, needed_bytes: int, what: str) -> None:
    free = free_bytes(folder)
    needed_bytes += _MARGIN_BYTES
    if free < needed_bytes:
        raise BackupRefusedError(
            f"The disk of {folder} has {free >> 20:,} MB free; {what} needs about {needed_bytes >> 20:,}. "
            "Free some, or name a file on another disk."
        )


class _NamedFiles:
    """The files that the rows of a dump name."""

    def __init__(self, work: Path, dump: DatabaseDump) -> None:
        self.datasets: list[str] = []
        self.params: list[str] = []
        for table in dump.tables:
            if table.name not in ("datasets", "trials"):
                continue
            with (work / f"{table.name}.jsonl").open("rb") as file:
                for row in read_rows(table, file):
                    self._take(table.name, dict(zip(table.columns, row, strict=True)))
        self.datasets = list(dict.fromkeys(self.datasets))
        self.params = list(dict.fromkeys(self.params))

    def _take(self, table: str, row: dict[str, object]) -> None:
        if table == "datasets" and isinstance(store_id := row["store_id"], str):
            self.datasets.append(store_id)
        if table == "trials":
            if isinstance(params_id := row.get("params_id"), str):
                self.params.append(params_id)
            if isinstance(checkpoint := row.get("checkpoint"), str):
                self.params.append(msgspec.json.decode(checkpoint)["params_id"])


class _Writer:
    """The tar file. Its members are named by what is written into it."""

    def __init__(self, file: BinaryIO, scratch: Path) -> None:
        self._scratch = scratch
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by end
        self.files: list[BackupFile] = []
        self.left_out: list[LeftOut] = []

    def add(self, name: str, source: BinaryIO) -> None:
        """All that is in an open file, from its beginning.

        Raises:
            OSError: it cannot be read to the end that it had, or the tar file cannot be written.
        """
        source.seek(0, os.SEEK_END)
        size_bytes = source.tell()
        source.seek(0)
        reader = _Digesting(source)
        self._tar.addfile(_member(name, size_bytes), cast(BinaryIO, reader))
        self.files.append(BackupFile(name=name, size_bytes=size_bytes, sha256=reader.sha256.hexdigest()))

    @contextmanager
    def scratch(self) -> Iterator[BinaryIO]:
        """A file for what is put together before it is added."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(self._scratch)) as file:
            yield cast(BinaryIO, file)

    def leave_out(self, name: str, reason: str) -> None:
        self.left_out.append(LeftOut(name=name, reason=reason))

    def end(self, manifest: Manifest) -> None:
        raw = msgspec.json.encode(manifest)
        self._tar.addfile(_member(MANIFEST, len(raw)), io.BytesIO(raw))
        self._tar.close()


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size_bytes, 0o600, int(utc_now().timestamp())
    return member


class _Digesting:
    """A file that knows the SHA-256 of what was read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.sha256.update(piece)
        return piece


def _add_stores(writer: _Writer, folder: StackFolder, named: _NamedFiles, at: Path, progress: Progress) -> None:
    datasets, params = open_data_store(folder.datasets), open_param_store(folder.params)
    try:
        wanted = {*named.datasets, *named.params}
        sizes = {f.id: f.size_bytes for s in (datasets, params) for f in s.list_stored() if f.id in wanted}
        total = sum(sizes.values())
        _check_space(at, total, "a backup with the stores (`--without-stores` leaves them out)")
        done = 0
        for file_id in named.datasets:
            _add_dataset(writer, datasets, file_id)
            done += sizes.get(file_id, 0)
            progress(done, total)
        for file_id in named.params:
            _add_params(writer, params, file_id)
            done += sizes.get(file_id, 0)
            progress(done, total)
    finally:
        datasets.close()
        params.close()


def _add_dataset(writer: _Writer, store: DataStore, store_id: str) -> None:
    name = f"datasets/{store_id}"
    try:
        store.verify(store_id)
        with store.get_path(store_id).open("rb") as file:
            writer.add(name, file)
    except (InvalidDatasetError, FileNotFoundError):
        writer.leave_out(name, "it is not in the store")
    except DamagedFileError:
        writer.leave_out(name, "it is damaged in the store")


def _add_params(writer: _Writer, store: ParamStore, params_id: str) -> None:
    name = f"params/{params_id}"
    with writer.scratch() as copy:
        sha256 = hashlib.sha256()
        try:
            for piece in store.read(params_id):
                sha256.update(piece)
                copy.write(piece)
        except (InvalidTrialError, FileNotFoundError):
            writer.leave_out(name, "it is not in the store: freed, or deleted")
            return
        if sha256.hexdigest() != sha256_in(name):
            writer.leave_out(name, "it is damaged in the store")
            return
        writer.add(name, copy)
    beside = store.find_validation_bytes(params_id, _MOST_BYTES_OF_VALIDATION)
    if beside is not None:
        with writer.scratch() as copy:
            copy.write(beside)
            writer.add(f"{name}.validation", copy)
