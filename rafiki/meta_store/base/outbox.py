"""What the meta store promises about receivers of events and what they are still to be told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

import msgspec

from rafiki.entities import Delivery, Receiver


class NamedReceiver(msgspec.Struct, frozen=True, kw_only=True):
    """One that rafiki.yaml names."""

    id: str
    """The same at each start, so that what waits for it is told it after a restart."""
    kind: str
    url: str
    events: list[str]


class OutboxStore(ABC):
    """Who is told of events of jobs, and what each is still to be told.

    Changes of jobs and trials write their events themselves, each in its own transaction, once for each receiver that
    is on and chooses the event. So an event is told if and only if the change has happened.
    """

    @abstractmethod
    def set_named_receivers(self, wanted: Sequence[NamedReceiver]) -> None:
        """Make the receivers without a user those that rafiki.yaml names. One whose id stays keeps what waits for it;
        one that was switched off is on again; what waits for one that is not wanted any more goes with it."""

    @abstractmethod
    def create_receiver(self, user_id: str, kind: str, url: str, events: Sequence[str], *, most: int) -> Receiver:
        """Add one that is told of the user's jobs.

        Raises:
            InvalidUserError: there is no such user.
            InvalidWebhookError: the user has ``most`` already.
        """

    @abstractmethod
    def list_receivers(self, user_id: str | None) -> list[Receiver]:
        """The user's, in order of creation; None = those that rafiki.yaml names."""

    @abstractmethod
    def list_live_receivers(self) -> list[Receiver]:
        """Everybody's that are on, in order of creation."""

    @abstractmethod
    def get_receiver(self, receiver_id: str) -> Receiver:
        """The receiver.

        Raises:
            InvalidWebhookError: there is none with that id.
        """

    @abstractmethod
    def remove_receiver(self, receiver_id: str) -> Receiver:
        """Remove it, with all that is noted of its deliveries.

        Raises:
            InvalidWebhookError: there is none with that id.
        """

    @abstractmethod
    def turn_receiver_off(self, receiver_id: str, reason: str) -> None:
        """Tell it nothing any more; what waits is given up. Does nothing where it is off, or is no more."""

    @abstractmethod
    def turn_receiver_on(self, receiver_id: str) -> Receiver:
        """Tell it of what happens from now on, also where it was on.

        Raises:
            InvalidWebhookError: there is none with that id.
        """

    @abstractmethod
    def add_test(self, receiver_id: str, event_id: str) -> Delivery:
        """Tell one receiver, whatever it chooses, of nothing in particular.

        Raises:
            InvalidWebhookError: there is none with that id.
        """

    @abstractmethod
    def list_due(self, receiver_id: str, *, limit: int) -> list[Delivery]:
        """What the receiver is to be told now, in order: of each job, nothing before what happened earlier in it."""

    @abstractmethod
    def list_waiting_receivers(self) -> set[str]:
        """For whom something waits that may be due."""

    @abstractmethod
    def count_waiting(self) -> dict[str, int]:
        """How much waits, by receiver; those for whom nothing waits have no entry."""

    @abstractmethod
    def note_delivered(self, delivery: Delivery, *, answer: int | None, is_kept: bool) -> None:
        """It was told. Without ``is_kept`` nothing of it is kept."""

    @abstractmethod
    def note_failed(self, delivery: Delivery, *, error: str, answer: int | None, due: datetime | None) -> None:
        """An attempt failed. The next one is ``due`` then; None = it is given up."""

    @abstractmethod
    def note_receiver_failed(self, receiver_id: str, error: str) -> None:
        """It cannot be told anything now, for a reason that is not that of one event."""

    @abstractmethod
    def list_deliveries(self, receiver_id: str, *, offset: int = 0, limit: int | None = None) -> list[Delivery]:
        """What it was told or is to be told, latest first."""

    @abstractmethod
    def forget_deliveries(self, receiver_id: str, *, keep: int) -> None:
        """Keep no more than the latest so many of those that were told or given up."""
