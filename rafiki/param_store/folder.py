"""Parameters as safetensors files of one folder, which may be shared by several hosts (NFS)."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from rafiki.entities import StoredFile
from rafiki.errors import DamagedFileError, StoreFullError
from rafiki.param_store.base import ParamStore, is_params_id, no_such_params, sha256_in
from rafiki.store_location import StoreLocation, folder_location
from rafiki.stored_files import half_written_files, stored_files
from rafiki.utils.atomic_file import AtomicFile, is_temp_file, remove_stale_temp_files

_SUFFIX = ".safetensors"
_VALIDATION_SUFFIX = ".validation"
_SHA256_BYTES = 32
_PIECE_BYTES = 1 << 20


class FolderParamStore(ParamStore):
    """One file a parameter dict, directly in ``root``, which is made when missing.

    What stands beside a parameter dict has its name with the ending ``.validation``: a SHA-256, then what it is of, a
    safetensors file.

    Args:
        root: the folder.
        stale_after_s: what a killed writer left is removed when the store is opened, once it is this old.
    """

    def __init__(self, root: Path | str, stale_after_s: float = 24 * 3600) -> None:
        self.root = Path(root).absolute()
        self.root.mkdir(parents=True, exist_ok=True)
        remove_stale_temp_files(self.root, stale_after_s)

    @property
    def location(self) -> StoreLocation:
        return folder_location(self.root)

    def put(self, params_id: str, pieces: Iterable[bytes]) -> None:
        path = self._find(params_id)
        if path is None:
            raise no_such_params(params_id)
        if not path.exists():
            self._write(pieces, path.name, sha256_in(params_id))

    def _write(self, pieces: Iterable[bytes], name: str, sha256: str | None = None) -> None:
        try:
            with AtomicFile(self.root) as file:
                for piece in pieces:
                    file.write(piece)
                if sha256 is not None and file.sha256 != sha256:
                    raise DamagedFileError(
                        f"The parameters {name.removesuffix(_SUFFIX)} were damaged on their way to {self.root}: "
                        "what came does not match their checksum."
                    )
                file.commit(lambda _: name)
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreFullError(
                f"No space is left in {self.root} for parameters of a model. Free some space there."
            ) from e

    def read(self, params_id: str) -> Iterator[bytes]:
        path = self._find(params_id)
        if path is None:
            raise no_such_params(params_id)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise no_such_params(params_id) from None
        except OSError as e:
            raise _unreadable(path, e) from e
        return _pieces(file, path)

    def delete(self, params_id: str) -> None:
        if path := self._find(params_id):
            self.delete_validation(params_id)
            path.unlink(missing_ok=True)

    def list_stored(self) -> list[StoredFile]:
        def id_of(name: str) -> str | None:
            params_id = name.removesuffix(_SUFFIX).removesuffix(_VALIDATION_SUFFIX)
            return params_id if params_id != name and is_params_id(params_id) else None

        return [*stored_files(self.root, id_of), *half_written_files(self.root)]

    def delete_half_written(self, file_id: str) -> None:
        if is_temp_file(file_id):
            (self.root / file_id).unlink(missing_ok=True)

    def put_validation(self, params_id: str, data: bytes) -> None:
        path = self._find(params_id)
        if path is None or not path.exists():
            raise no_such_params(params_id)
        self._write([hashlib.sha256(data).digest(), data], path.with_suffix(_VALIDATION_SUFFIX).name)

    def find_validation_bytes(self, params_id: str, max_bytes: int) -> bytes | None:
        path = self._find(params_id, _VALIDATION_SUFFIX)
        try:
            if path is None or path.stat().st_size > max_bytes:
                return None
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        digest, data = raw[:_SHA256_BYTES], raw[_SHA256_BYTES:]
        return data if hashlib.sha256(data).digest() == digest else None

    def has_validation(self, params_id: str) -> bool:
        path = self._find(params_id, _VALIDATION_SUFFIX)
        return path is not None and path.exists()

    def delete_validation(self, params_id: str) -> None:
        if path := self._find(params_id, _VALIDATION_SUFFIX):
            path.unlink(missing_ok=True)

    def _find(self, params_id: str, suffix: str = _SUFFIX) -> Path | None:
        return self.root / f"{params_id}{suffix}" if is_params_id(params_id) else None


def _pieces(file: BinaryIO, path: Path) -> Iterator[bytes]:
    with file:
        try:
            while piece := file.read(_PIECE_BYTES):
                yield piece
        except OSError as e:
            raise _unreadable(path, e) from e


def _unreadable(path: Path, error: OSError) -> DamagedFileError:
    return DamagedFileError(
        f"The parameters in {path} cannot be read: {error.strerror or error}. Mend the disk or the permissions, "
        "restore them from a backup, or train again."
    )
