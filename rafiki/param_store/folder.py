"""Parameters as safetensors files of one folder, which may be shared by several hosts (NFS)."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rafiki.errors import DamagedFileError, InvalidTrialError, StoreFullError
from rafiki.param_store.base import ParamStore
from rafiki.utils.atomic_file import AtomicFile, remove_stale_temp_files
from rafiki.utils.ids import new_id

_PARAMS_ID = re.compile(r"[0-9a-f-]{36}\.[0-9a-f]{64}")
_SUFFIX = ".safetensors"


class FolderParamStore(ParamStore):
    """One file a parameter dict, directly in ``root``, which is made when missing.

    Args:
        root: the folder.
        stale_after_s: what a killed writer left is removed when the store is opened, once it is this old.
    """

    def __init__(self, root: Path | str, stale_after_s: float = 24 * 3600) -> None:
        self.root = Path(root).absolute()
        self.root.mkdir(parents=True, exist_ok=True)
        remove_stale_temp_files(self.root, stale_after_s)

    def save(self, params: Mapping[str, Any]) -> str:
        # Loaded here: the admin opens this store to hand out bytes, and never needs numpy for that.
        from rafiki.param_store.codec import encode_params

        data = encode_params(params)
        unique = new_id()
        try:
            with AtomicFile(self.root) as file:
                file.write(data)
                path, _ = file.commit(lambda sha256: f"{unique}.{sha256}{_SUFFIX}")
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreFullError(
                f"No space is left in {self.root} for {len(data):,} bytes of parameters. Free some space there."
            ) from e
        return path.name.removesuffix(_SUFFIX)

    def load(self, params_id: str) -> dict[str, Any]:
        from rafiki.param_store.codec import decode_params

        return decode_params(self.read_bytes(params_id))

    def read_bytes(self, params_id: str) -> bytes:
        path = self._find(params_id)
        try:
            data = path.read_bytes() if path else None
        except FileNotFoundError:
            data = None
        if data is None:
            raise InvalidTrialError(f"There are no stored parameters {params_id[:120]!r} (any more).")
        if hashlib.sha256(data).hexdigest() != params_id.partition(".")[2]:
            raise DamagedFileError(
                f"The parameter file {path} is damaged: its contents do not match their checksum. "
                "Restore it from a backup, or train again."
            )
        return data

    def delete(self, params_id: str) -> None:
        if path := self._find(params_id):
            path.unlink(missing_ok=True)

    def _find(self, params_id: str) -> Path | None:
        return self.root / f"{params_id}{_SUFFIX}" if _PARAMS_ID.fullmatch(params_id) else None
