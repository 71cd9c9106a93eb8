"""The SQL meta store as a whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, text

from rafiki.meta_store.base import MetaStore, StatusCounts
from rafiki.meta_store.base.dump import DatabaseDump, ReadTable, Renames
from rafiki.meta_store.sql import dump as dumping
from rafiki.meta_store.sql import load as loading
from rafiki.meta_store.sql.api_tokens import SqlApiTokenStore
from rafiki.meta_store.sql.database import Database
from rafiki.meta_store.sql.datasets import SqlDatasetStore
from rafiki.meta_store.sql.inference_jobs import SqlInferenceJobStore
from rafiki.meta_store.sql.migrate import is_known, migrate, needs_migration
from rafiki.meta_store.sql.models import SqlModelStore
from rafiki.meta_store.sql.outbox import SqlOutboxStore
from rafiki.meta_store.sql.predictor_keys import SqlPredictorKeyStore
from rafiki.meta_store.sql.rollouts import SqlRolloutStore
from rafiki.meta_store.sql.services import SqlServiceStore
from rafiki.meta_store.sql.status_counts import count_statuses
from rafiki.meta_store.sql.train_jobs import SqlTrainJobStore
from rafiki.meta_store.sql.trials import SqlTrialStore
from rafiki.meta_store.sql.users import SqlUserStore
from rafiki.utils.clock import utc_now


class SqlMetaStore(MetaStore):
    """The meta store in SQLite or PostgreSQL; see :func:`rafiki.meta_store.open_meta_store`."""

    def __init__(self, url: str, now: Callable[[], datetime] = utc_now) -> None:
        self._db = Database(url, now)
        self.users = SqlUserStore(self._db)
        self.api_tokens = SqlApiTokenStore(self._db)
        self.predictor_keys = SqlPredictorKeyStore(self._db)
        self.datasets = SqlDatasetStore(self._db)
        self.models = SqlModelStore(self._db)
        self.train_jobs = SqlTrainJobStore(self._db)
        self.trials = SqlTrialStore(self._db)
        self.inference_jobs = SqlInferenceJobStore(self._db)
        self.rollouts = SqlRolloutStore(self._db)
        self.services = SqlServiceStore(self._db)
        self.outbox = SqlOutboxStore(self._db)

    @property
    def engine(self) -> Engine:
        """For whoever counts statements."""
        return self._db.engine

    def migrate(self) -> None:
        migrate(self._db)

    def needs_migration(self) -> bool:
        return needs_migration(self._db)

    def count_statuses(self) -> StatusCounts:
        return count_statuses(self._db)

    def size_bytes(self) -> int:
        return dumping.size_bytes(self._db)

    def dump(self, folder: Path) -> DatabaseDump:
        return dumping.dump(self._db, folder)

    def knows_revision(self, revision: str) -> bool:
        return is_known(revision)

    def is_empty(self) -> bool:
        return loading.is_empty(self._db)

    def load(self, dump: DatabaseDump, read: ReadTable, renames: Renames, *, is_replacing: bool = False) -> Path | None:
        return loading.load(self._db, dump, read, renames, is_replacing=is_replacing)

    def ping(self) -> None:
        with self._db.read() as connection:
            connection.execute(text("SELECT 1"))

    def check(self) -> None:
        self._db.check(text("SELECT version_num FROM alembic_version"))

    def close(self) -> None:
        self._db.close()
