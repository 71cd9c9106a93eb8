"""What the meta store promises about keys of predictors."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rafiki.entities import PredictorKey


class PredictorKeyStore(ABC):
    """Keys of the predictors of a user's app. They are revoked, never deleted."""

    @abstractmethod
    def create_predictor_key(self, user_id: str, app: str, name: str, secret_hash: str) -> PredictorKey:
        """Add a key.

        Raises:
            InvalidUserError: there is no such user.
            KeyExistsError: the app has one of that name that is not revoked.
        """

    @abstractmethod
    def list_predictor_keys(self, user_id: str, app: str) -> list[PredictorKey]:
        """The keys of a user's app that are not revoked, in order of creation."""

    @abstractmethod
    def revoke_predictor_key(self, user_id: str, app: str, key_id: str) -> PredictorKey:
        """Revoke the key; cannot be undone. Of several calls at once, one succeeds.

        Raises:
            InvalidKeyError: the app has none with that id that is not revoked.
        """
