"""Parameters as safetensors files of one folder, which may be shared by several hosts (NFS)."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rafiki.entities import StoredFile
from rafiki.errors import DamagedFileError, InvalidParamsError, InvalidTrialError, StoreFullError
from rafiki.param_store.base import ParamStore
from rafiki.store_location import StoreLocation, folder_location
from rafiki.stored_files import half_written_files, stored_files
from rafiki.utils.atomic_file import AtomicFile, is_temp_file, remove_stale_temp_files
from rafiki.utils.ids import new_id

if TYPE_CHECKING:
    from rafiki.utils.values import Array

_PARAMS_ID = re.compile(r"[0-9a-f-]{36}\.[0-9a-f]{64}")
_SUFFIX = ".safetensors"
_VALIDATION_SUFFIX = ".validation"
_SHA256_BYTES = 32


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

    def save(self, params: Mapping[str, object]) -> str:
        # Loaded here: the admin opens this store to hand out bytes, and never needs numpy for that.
        from rafiki.param_store.codec import encode_params

        unique = new_id()
        path = self._write([encode_params(params)], lambda sha256: f"{unique}.{sha256}{_SUFFIX}")
        return path.name.removesuffix(_SUFFIX)

    def _write(self, chunks: Sequence[bytes], name_of: Callable[[str], str]) -> Path:
        try:
            with AtomicFile(self.root) as file:
                for chunk in chunks:
                    file.write(chunk)
                return file.commit(name_of)[0]
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreFullError(
                f"No space is left in {self.root} for {sum(map(len, chunks)):,} bytes of parameters. "
                "Free some space there."
            ) from e

    def load(self, params_id: str) -> dict[str, object]:
        from rafiki.param_store.codec import decode_params

        return decode_params(self.read_bytes(params_id))

    def read_bytes(self, params_id: str) -> bytes:
        path = self._find(params_id)
        try:
            data = path.read_bytes() if path else None
        except FileNotFoundError:
            data = None
        if data is None:
            raise _no_such(params_id)
        if hashlib.sha256(data).hexdigest() != params_id.partition(".")[2]:
            raise DamagedFileError(
                f"The parameter file {path} is damaged: its contents do not match their checksum. "
                "Restore it from a backup, or train again."
            )
        return data

    def delete(self, params_id: str) -> None:
        if path := self._find(params_id):
            self.delete_validation(params_id)
            path.unlink(missing_ok=True)

    def list_stored(self) -> list[StoredFile]:
        def id_of(name: str) -> str | None:
            params_id = name.removesuffix(_SUFFIX).removesuffix(_VALIDATION_SUFFIX)
            return params_id if params_id != name and _PARAMS_ID.fullmatch(params_id) else None

        return [*stored_files(self.root, id_of), *half_written_files(self.root)]

    def delete_half_written(self, file_id: str) -> None:
        if is_temp_file(file_id):
            (self.root / file_id).unlink(missing_ok=True)

    def save_validation(self, params_id: str, arrays: Mapping[str, Array]) -> None:
        from rafiki.param_store.codec import encode_params

        path = self._find(params_id)
        if path is None or not path.exists():
            raise _no_such(params_id)
        data = encode_params(arrays)
        name = path.with_suffix(_VALIDATION_SUFFIX).name
        self._write([hashlib.sha256(data).digest(), data], lambda _: name)

    def find_validation(self, params_id: str, max_bytes: int = 256 << 20) -> dict[str, Array] | None:
        from rafiki.param_store.codec import decode_arrays

        path = self._find(params_id, _VALIDATION_SUFFIX)
        try:
            if path is None or path.stat().st_size > max_bytes:
                return None
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        digest, data = raw[:_SHA256_BYTES], raw[_SHA256_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            return None
        try:
            return decode_arrays(data)
        except InvalidParamsError:
            return None

    def has_validation(self, params_id: str) -> bool:
        path = self._find(params_id, _VALIDATION_SUFFIX)
        return path is not None and path.exists()

    def delete_validation(self, params_id: str) -> None:
        if path := self._find(params_id, _VALIDATION_SUFFIX):
            path.unlink(missing_ok=True)

    def _find(self, params_id: str, suffix: str = _SUFFIX) -> Path | None:
        return self.root / f"{params_id}{suffix}" if _PARAMS_ID.fullmatch(params_id) else None


def _no_such(params_id: str) -> InvalidTrialError:
    return InvalidTrialError(f"There are no stored parameters {params_id[:120]!r} (any more).")
