"""A backup as it is read. It may be damaged, or made by somebody who means harm: nothing of it is unpacked by its own
names, and nothing is believed before all of it was compared with its checksums."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import msgspec

from rafiki.backup.manifest import FORMAT, MANIFEST, BackupFile, Manifest, is_name, sha256_in
from rafiki.errors import BackupRefusedError, DamagedFileError
from rafiki.meta_store.base.dump import DumpedTable, Row, read_rows
from rafiki.utils.mismatch import explain_json
from rafiki.utils.paths import why

Progress = Callable[[int, int], None]
"""Takes bytes so far, bytes in all."""
_PIECE_BYTES = 1 << 20
_MOST_BYTES_OF_MANIFEST = 512 << 20
_TOLD = 20


class Archive:
    """An open backup.

    Raises:
        BackupRefusedError: there is no such file, or it cannot be read.
        DamagedFileError: it is no backup, or was cut short, or holds what no backup does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.size_bytes = path.stat().st_size
            self._file = path.open("rb")
        except FileNotFoundError as e:
            raise BackupRefusedError.not_found(f"There is no file {path}.") from e
        except OSError as e:
            raise BackupRefusedError(f"{path} cannot be read: {why(e)}.") from e
        try:
            with self._damage_is_named():
                self._tar = tarfile.open(fileobj=self._file, mode="r:")  # noqa: SIM115 - closed with this
                self._members = self._index()
                self.manifest = self._read_manifest()
            if self.size_bytes % tarfile.RECORDSIZE:
                raise DamagedFileError(f"{path} was cut short, or something was added to it.")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._tar.close()
        self._file.close()

    @contextmanager
    def _damage_is_named(self) -> Iterator[None]:
        try:
            yield
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as e:
            raise DamagedFileError(f"{self.path} is no backup of Rafiki, or is damaged: {e}.") from e
        except OSError as e:
            raise DamagedFileError(f"{self.path} cannot be read: {why(e)}.") from e

    def _index(self) -> dict[str, tarfile.TarInfo]:
        found: dict[str, tarfile.TarInfo] = {}
        for member in self._tar:
            name = member.name
            if not member.isreg() or member.issparse() or (name != MANIFEST and not is_name(name)):
                raise DamagedFileError(f"{self.path} holds {name[:120]!r}, which no backup of Rafiki does.")
            if name in found:
                raise DamagedFileError(f"{self.path} holds {name} twice.")
            found[name] = member
        return found

    def _read_manifest(self) -> Manifest:
        member = self._members.pop(MANIFEST, None)
        if member is None:
            raise DamagedFileError(
                f"{self.path} is no backup of Rafiki, or only the beginning of one: it has no {MANIFEST}."
            )
        if member.size > _MOST_BYTES_OF_MANIFEST:
            raise DamagedFileError(f"{self.path}: its {MANIFEST} is too large.")
        raw = self._open(member).read()
        try:
            return msgspec.json.decode(raw, type=Manifest)
        except msgspec.DecodeError as e:
            self._refuse_newer(raw)
            reason = explain_json(raw.decode("utf-8", "replace"), Manifest)
            raise DamagedFileError(f"{self.path}: its {MANIFEST} is damaged ({reason}).") from e

    def _refuse_newer(self, raw: bytes) -> None:
        class Known(msgspec.Struct):
            format: int
            version: str

        try:
            known = msgspec.json.decode(raw, type=Known)
        except msgspec.DecodeError:
            return
        if known.format > FORMAT:
            raise BackupRefusedError(
                f"{self.path} was written by Rafiki {known.version} in a newer form. Install that version, or a "
                "newer one."
            )

    def refuse_newer_form(self) -> None:
        """
        Raises:
            BackupRefusedError: a newer version of Rafiki has written it, in another form.
        """
        self._refuse_newer(msgspec.json.encode(self.manifest))

    def _open(self, member: tarfile.TarInfo) -> BinaryIO:
        found = self._tar.extractfile(member)
        assert found is not None  # It is a regular file.
        return cast(BinaryIO, found)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A member that the manifest names.

        Raises:
            DamagedFileError: it is not there, or cannot be read to its end.
        """
        member = self._members.get(name)
        if member is None:
            raise DamagedFileError(f"{self.path} does not hold {name}.")
        with self._damage_is_named(), self._open(member) as file:
            yield file

    def read_table(self, table: DumpedTable) -> Iterator[Row]:
        """The rows of a table; raises as :meth:`open`, and where they are not what was written."""
        with self.open(f"tables/{table.name}.jsonl") as file:
            yield from read_rows(table, file)

    def find_faults(self, progress: Progress = lambda _done, _total: None) -> list[str]:
        """What is not as the manifest says; all of the file is read. None: it can be trusted as far as its writer."""
        faults: list[str] = []
        named = [f.name for f in self.manifest.files]
        expected = {f.name: f for f in self.manifest.files}
        if len(expected) != len(named):
            faults.append(f"{MANIFEST} names a file twice.")
        faults += [
            f"{name} is in the backup, and {MANIFEST} does not name it." for name in self._members.keys() - expected
        ]
        tables = {f"tables/{t.name}.jsonl" for t in self.manifest.database.tables}
        faults += [f"{name} is missing." for name in sorted(tables - expected.keys())]
        total, done = sum(max(f.size_bytes, 0) for f in expected.values()), 0
        for file in expected.values():
            if (fault := self._fault_of(file)) is not None:
                faults.append(fault)
            done += file.size_bytes
            progress(done, total)
        if not faults:
            faults += self._faults_of_tables()
        return faults

    def _fault_of(self, file: BackupFile) -> str | None:
        if not is_name(file.name):
            return f"{MANIFEST} names {file.name[:120]!r}, which no backup holds."
        member = self._members.get(file.name)
        if member is None:
            return f"{file.name} is missing."
        if member.size != file.size_bytes:
            return f"{file.name} has {member.size:,} bytes; {file.size_bytes:,} were written."
        sha256 = hashlib.sha256()
        try:
            with self.open(file.name) as opened:
                while piece := opened.read(_PIECE_BYTES):
                    sha256.update(piece)
        except DamagedFileError as e:
            return f"{file.name}: {e.message}"
        if sha256.hexdigest() != file.sha256 or sha256_in(file.name) not in (None, file.sha256):
            return f"{file.name} is damaged: its contents do not match their checksum."
        return None

    def _faults_of_tables(self) -> list[str]:
        faults = []
        for table in self.manifest.database.tables:
            try:
                for _ in self.read_table(table):
                    pass
            except DamagedFileError as e:
                faults.append(e.message)
        return faults

    def check(self, progress: Progress = lambda _done, _total: None) -> None:
        """
        Raises:
            DamagedFileError: it is not as its manifest says; names what is damaged.
        """
        if faults := self.find_faults(progress):
            more = f" And {len(faults) - _TOLD} more." if len(faults) > _TOLD else ""
            raise DamagedFileError(f"{self.path} is damaged: {' '.join(faults[:_TOLD])}{more} Nothing was written.")
