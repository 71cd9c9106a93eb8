"""The promise of every parameter store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rafiki.entities import StoredFile
from rafiki.store_location import StoreLocation

if TYPE_CHECKING:
    from rafiki.utils.values import Array


class ParamStore(ABC):
    """Immutable parameter dicts under ids that the store makes.

    A dict appears whole or not at all, whatever dies in mid-save. The id carries the SHA-256 of the stored bytes, so
    what is loaded is what was saved, or an error. All methods may be called from several threads and processes at
    once. No id can reach outside the store. Stores are opened by :func:`rafiki.stores.open_param_store`.
    """

    @property
    @abstractmethod
    def location(self) -> StoreLocation:
        """Where it is, for another process that opens it; on whatever host, if the store can be reached from there."""

    @abstractmethod
    def save(self, params: Mapping[str, object]) -> str:
        """Stores what a model's ``dump_parameters`` returned (see :mod:`rafiki.param_store.codec`); returns its id.

        Once this returns, the parameters survive a crash of the process and of the machine.

        Raises:
            InvalidParamsError: when a value cannot be stored; names its key.
            StoreFullError: when the disk is full; nothing is left behind.
        """

    @abstractmethod
    def load(self, params_id: str) -> dict[str, object]:
        """The parameters, equal to what was saved in values, types, dtypes and order of keys.

        Raises:
            InvalidTrialError: when there are no such parameters.
            DamagedFileError: when they are no longer what was stored.
        """

    @abstractmethod
    def read_bytes(self, params_id: str) -> bytes:
        """The parameters in the form that travels: a safetensors file, never pickle. Checked against its checksum.

        Raises:
            InvalidTrialError, DamagedFileError: as :meth:`load`.
        """

    @abstractmethod
    def delete(self, params_id: str) -> None:
        """Removes the parameters, and what is kept beside them. An id that does not exist (any more) is no error."""

    # ---- what lies there

    @abstractmethod
    def list_stored(self) -> list[StoredFile]:
        """All that the store holds, by the ids of parameters, and what has been begun to be written."""

    @abstractmethod
    def delete_half_written(self, file_id: str) -> None:
        """Removes what a writer has left; an id of :meth:`list_stored`. What does not exist (any more) is no error."""

    # ---- beside the parameters: what the trial predicted for validation data

    @abstractmethod
    def save_validation(self, params_id: str, arrays: Mapping[str, Array]) -> None:
        """Stores arrays beside the parameters ``params_id``, in the place of what was there.

        Raises:
            InvalidTrialError: when there are no such parameters.
            InvalidParamsError, StoreFullError: as :meth:`save`.
        """

    @abstractmethod
    def find_validation(self, params_id: str, max_bytes: int = 256 << 20) -> dict[str, Array] | None:
        """The arrays stored beside the parameters; None when there are none, or they are damaged or larger."""

    @abstractmethod
    def has_validation(self, params_id: str) -> bool:
        """Whether there are arrays beside the parameters; they are not read."""

    @abstractmethod
    def delete_validation(self, params_id: str) -> None:
        """Removes them. An id without any is no error."""

    def close(self) -> None:  # noqa: B027 - a folder has nothing to let go of
        """Lets go of connections. The store is not used any more."""
