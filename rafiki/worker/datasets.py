"""The datasets of a worker's job, looked at around each trial: one that is deleted or damaged costs no trials."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rafiki.data_store.base import DataStore
from rafiki.errors import DamagedFileError, InvalidDatasetError
from rafiki.store_location import find_folder


class JobDatasets:
    """Datasets in a folder of this machine are compared with their checksums, again when their files have changed.
    What a store elsewhere fetches is compared by the store.
    """

    def __init__(self, store: DataStore, names: Mapping[str, str]) -> None:
        """
        Args:
            store: where they are.
            names: what people call them, by their ids in the store.
        """
        self._store = store
        self._names = names
        self._is_folder = find_folder(store.location) is not None
        self._seen: dict[str, tuple[int, int, int]] = {}

    def get_path(self, store_id: str) -> str:
        """The file of a dataset, as :meth:`DataStore.get_path`.

        Raises:
            InvalidDatasetError: when it is gone.
        """
        try:
            return str(self._store.get_path(store_id))
        except InvalidDatasetError as e:
            raise InvalidDatasetError(
                f"The file of the dataset {self._names[store_id]!r} is gone. Restore it from a backup, or upload the "
                "dataset again and start the job with that."
            ) from e

    def check(self) -> None:
        """Look whether they are what was uploaded; reads a file only if it has changed since the last look.

        Raises:
            InvalidDatasetError: when one is gone.
            DamagedFileError: when one is not what was uploaded.
        """
        if not self._is_folder:
            return
        for store_id, name in self._names.items():
            path = self.get_path(store_id)
            try:
                found = os.stat(path)
                mark = (found.st_ino, found.st_size, found.st_mtime_ns)
                if mark == self._seen.get(store_id):
                    continue
                self._store.verify(store_id)
            except (DamagedFileError, OSError) as e:
                why = "its contents do not match their checksum" if isinstance(e, DamagedFileError) else e.strerror
                raise DamagedFileError(
                    f"The file of the dataset {name!r} is damaged: {why}. Restore it from a backup, or upload the "
                    "dataset again and start the job with that."
                ) from e
            self._seen[store_id] = mark
