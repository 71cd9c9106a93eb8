"""The promise of every parameter store."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rafiki.entities import StoredFile
from rafiki.errors import DamagedFileError, InvalidParamsError, InvalidTrialError
from rafiki.signed_request import SignedRequest
from rafiki.store_location import StoreLocation
from rafiki.utils.ids import new_id

if TYPE_CHECKING:
    from rafiki.utils.values import Array

_PARAMS_ID = re.compile(r"[0-9a-f-]{36}\.[0-9a-f]{64}")


def new_params_id(data: bytes) -> str:
    """A fresh id for parameters in the form that travels: a UUID, a dot, the SHA-256 of the bytes."""
    return f"{new_id()}.{hashlib.sha256(data).hexdigest()}"


def is_params_id(text: str) -> bool:
    """Whether it has the form of an id: then it names nothing outside a store."""
    return _PARAMS_ID.fullmatch(text) is not None


def sha256_in(params_id: str) -> str:
    """The checksum that an id carries."""
    return params_id.partition(".")[2]


def no_such_params(params_id: str) -> InvalidTrialError:
    return InvalidTrialError(f"There are no stored parameters {params_id[:120]!r} (any more).")


class ParamStore(ABC):
    """Immutable parameter dicts under ids.

    A dict appears whole or not at all, whatever dies in mid-save. The id carries the SHA-256 of the stored bytes, so
    what is loaded is what was saved, or an error. All methods may be called from several threads and processes at
    once. No id can reach outside the store. Stores are opened by :func:`rafiki.stores.open_param_store`.

    A back end keeps bytes (``put``, ``read``, ``put_validation``, ``find_validation_bytes``); what is built on them
    here, is the same for all.
    """

    @property
    @abstractmethod
    def location(self) -> StoreLocation:
        """Where it is, for another process that opens it; on whatever host, if the store can be reached from there."""

    def save(self, params: Mapping[str, object]) -> str:
        """Stores what a model's ``dump_parameters`` returned (see :mod:`rafiki.param_store.codec`); returns its id.

        Once this returns, the parameters survive a crash of the process and of the machine.

        Raises:
            InvalidParamsError: when a value cannot be stored; names its key.
            StoreFullError: when the disk is full; nothing is left behind.
        """
        # Loaded here: the admin opens stores to hand out bytes, and never needs numpy for that.
        from rafiki.param_store.codec import encode_params

        data = encode_params(params)
        params_id = new_params_id(data)
        self.put(params_id, [data])
        return params_id

    @abstractmethod
    def put(self, params_id: str, pieces: Iterable[bytes]) -> None:
        """Stores parameters in the form that travels, under an id of :func:`new_params_id`. As :meth:`save`.

        What is there under this id already stays: the caller may try again when it does not know whether it succeeded.

        Raises:
            DamagedFileError: when the bytes are not those that the id was made for; nothing is left behind.
            InvalidTrialError: when it is no id.
            StoreFullError: when the disk is full; nothing is left behind.
        """

    def load(self, params_id: str) -> dict[str, object]:
        """The parameters, equal to what was saved in values, types, dtypes and order of keys.

        Raises:
            InvalidTrialError: when there are no such parameters.
            DamagedFileError: when they are no longer what was stored.
        """
        from rafiki.param_store.codec import decode_params

        return decode_params(self.read_bytes(params_id))

    @abstractmethod
    def read(self, params_id: str) -> Iterator[bytes]:
        """The parameters in the form that travels, in pieces. Not compared with the checksum: the id tells it.

        Raises:
            InvalidTrialError: when there are no such parameters; before the first piece.
        """

    def read_bytes(self, params_id: str) -> bytes:
        """The parameters in the form that travels: a safetensors file, never pickle. Checked against its checksum.

        Raises:
            InvalidTrialError, DamagedFileError: as :meth:`load`.
        """
        data = b"".join(self.read(params_id))
        if hashlib.sha256(data).hexdigest() != sha256_in(params_id):
            raise DamagedFileError(
                f"The parameters {params_id} in {self.location} are damaged: their contents do not match their "
                "checksum. Restore them from a backup, or train again."
            )
        return data

    # ---- for somebody without credentials, where the parameters are

    @property
    def has_signed_requests(self) -> bool:
        """Whether :meth:`sign_read` and :meth:`sign_write` may have some."""
        return False

    def sign_read(self, params_id: str) -> SignedRequest | None:
        """A request that reads the parameters; None = this store has none, so they are read from it.

        Raises:
            InvalidTrialError: when there are no such parameters; only of a store that has such requests.
            UnreachableError: when it cannot be signed.
        """
        return None

    def sign_write(self, params_id: str, size_bytes: int) -> SignedRequest | None:
        """A request that stores parameters of this size under this id, and nothing else; :meth:`confirm` follows.

        None = this store has none, or there is something under this id, or it is too large: they are :meth:`put`.

        Raises:
            InvalidTrialError: when it is no id.
            UnreachableError: when it cannot be signed.
        """
        return None

    def confirm(self, params_id: str, size_bytes: int) -> None:
        """Look whether what somebody stored by a signed request is what was to be stored; else it is removed.

        Raises:
            InvalidTrialError: when there are no such parameters.
            DamagedFileError: when they are not those that the id was made for.
        """
        if len(self.read_bytes(params_id)) != size_bytes:
            raise DamagedFileError(f"The parameters {params_id} do not have {size_bytes:,} bytes, as was said.")

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

    def save_validation(self, params_id: str, arrays: Mapping[str, Array]) -> None:
        """Stores arrays beside the parameters ``params_id``, in the place of what was there.

        Raises:
            InvalidTrialError: when there are no such parameters.
            InvalidParamsError, StoreFullError: as :meth:`save`.
        """
        from rafiki.param_store.codec import encode_params

        self.put_validation(params_id, encode_params(arrays))

    @abstractmethod
    def put_validation(self, params_id: str, data: bytes) -> None:
        """As :meth:`save_validation`, with arrays in the form that travels."""

    def find_validation(self, params_id: str, max_bytes: int = 256 << 20) -> dict[str, Array] | None:
        """The arrays stored beside the parameters; None when there are none, or they are damaged or larger."""
        from rafiki.param_store.codec import decode_arrays

        data = self.find_validation_bytes(params_id, max_bytes)
        try:
            return None if data is None else decode_arrays(data)
        except InvalidParamsError:
            return None

    @abstractmethod
    def find_validation_bytes(self, params_id: str, max_bytes: int) -> bytes | None:
        """As :meth:`find_validation`, in the form that travels; compared with a checksum that is kept with them."""

    @abstractmethod
    def has_validation(self, params_id: str) -> bool:
        """Whether there are arrays beside the parameters; they are not read."""

    @abstractmethod
    def delete_validation(self, params_id: str) -> None:
        """Removes them. An id without any is no error."""

    def check(self) -> None:  # noqa: B027 - a folder was made when it was opened
        """Whether the store can be used now; takes a few seconds at most.

        Raises:
            UnreachableError: when it cannot, with what to do.
        """

    def close(self) -> None:  # noqa: B027 - a folder has nothing to let go of
        """Lets go of connections. The store is not used any more."""
