"""The meta store as a whole, and the rules that hold for every noun in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from rafiki.meta_store.base.api_tokens import ApiTokenStore
from rafiki.meta_store.base.datasets import DatasetStore
from rafiki.meta_store.base.dump import DatabaseDump, ReadTable, Renames
from rafiki.meta_store.base.inference_jobs import InferenceJobStore
from rafiki.meta_store.base.models import ModelStore
from rafiki.meta_store.base.outbox import OutboxStore
from rafiki.meta_store.base.predictor_keys import PredictorKeyStore
from rafiki.meta_store.base.rollouts import RolloutStore
from rafiki.meta_store.base.services import ServiceStore
from rafiki.meta_store.base.status_counts import StatusCounts
from rafiki.meta_store.base.train_jobs import TrainJobStore
from rafiki.meta_store.base.trials import TrialStore
from rafiki.meta_store.base.users import UserStore


class MetaStore(ABC):
    """The records of a stack, one attribute a noun.

    What every method of every noun promises:

    - It may be called from several threads and from several processes at once. Each call is one
      transaction: it happens as a whole or not at all, and has happened (survives a crash of this process)
      once it returns.
    - ``get_`` raises the noun's error for an unknown id, ``find_`` returns None, ``list_`` returns an empty
      list (also for an unknown parent). A ``list_`` with ``offset`` and ``limit`` has a stable order, named
      in its docstring; ``limit=None`` means all.
    - A record that refers to an unknown user, dataset, model, job or trial is refused with that noun's error.
    - A status change is a guarded write after the tables of :mod:`rafiki.states`: from a status that
      ``target`` may not follow (the present status itself included) it raises IllegalTransitionError, which
      names the present status, and changes nothing.
    - Datetimes are aware UTC with microseconds. Floats come back bit by bit, but a score of -0.0 as 0.0. A
      NaN or infinity inside a JSON field (knobs, arguments, log entries) comes back as None.
    - Text with a NUL character or an unpaired surrogate, a number beyond 64 bits, and a negative offset or
      limit are InvalidRequestError; in the ``error`` fields such characters are replaced.
    - MetaStoreError: the database cannot be reached, or failed; the message never holds its password. The
      next call connects anew. StoreFullError: its disk is full.
    """

    users: UserStore
    api_tokens: ApiTokenStore
    predictor_keys: PredictorKeyStore
    datasets: DatasetStore
    models: ModelStore
    train_jobs: TrainJobStore
    trials: TrialStore
    inference_jobs: InferenceJobStore
    rollouts: RolloutStore
    services: ServiceStore
    outbox: OutboxStore

    @abstractmethod
    def migrate(self) -> None:
        """Bring the database to the schema of this version of Rafiki; do nothing where it is there already.

        Safe when several processes do it at once: one migrates, the others wait for it.

        Raises:
            NewerDatabaseError: the database is newer than this version of Rafiki (nothing was changed).
        """

    @abstractmethod
    def needs_migration(self) -> bool:
        """Whether :meth:`migrate` would change the database. Nothing is changed.

        Raises:
            NewerDatabaseError: as :meth:`migrate`.
        """

    @abstractmethod
    def count_statuses(self) -> StatusCounts:
        """How many jobs, trials and live services there are in each status. It reads all trials."""

    # ---- as a whole, for backups

    @abstractmethod
    def size_bytes(self) -> int:
        """About so many bytes the database takes."""

    @abstractmethod
    def dump(self, folder: Path) -> DatabaseDump:
        """Write all tables as they are at one moment into files of ``folder``, whatever revision they are at. Others go
        on reading and writing.

        Raises:
            MetaStoreError: the database has no tables of Rafiki, is damaged, or stays locked by another program.
            OSError: the files cannot be written.
        """

    @abstractmethod
    def knows_revision(self, revision: str) -> bool:
        """Whether a dump of that revision can be loaded. The database is not asked."""

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there is no database yet, or one without tables of Rafiki. A damaged one is not empty."""

    @abstractmethod
    def load(self, dump: DatabaseDump, read: ReadTable, renames: Renames, *, is_replacing: bool = False) -> Path | None:
        """Make the database that was dumped, at the revision of the dump; all of it or nothing.

        Args:
            dump: what was dumped, from whatever kind of database.
            read: gives the rows of a table.
            renames: values of columns that become others.
            is_replacing: whether it takes the place of what is there. No stack may be at work on that.

        Returns:
            Where the former database is now, if it was kept.

        Raises:
            BackupRefusedError: the database is not empty, or in use.
            DamagedFileError: the rows do not fit the schema.
        """

    @abstractmethod
    def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            MetaStoreError: it gave none.
        """

    @abstractmethod
    def check(self) -> None:
        """Whether the database works now: is there with its tables, and can be written to within a few seconds.

        Raises:
            MetaStoreError: it does not, with the reason.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the idle connections. May be called twice; a later call of another method connects anew."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
