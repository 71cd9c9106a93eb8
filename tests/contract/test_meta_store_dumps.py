"""What a dump holds is what was there at one moment; what is loaded is what was dumped, in either database."""

import os
import sqlite3
import threading
from contextlib import closing

import pytest
import sqlalchemy
from support.stores.meta_store_records import Given

from rafiki.constants import UserType
from rafiki.errors import BackupRefusedError, DamagedFileError, MetaStoreError
from rafiki.meta_store import open_meta_store
from rafiki.meta_store.base.dump import DatabaseDump, read_rows
from rafiki.meta_store.sql.database import Database
from rafiki.meta_store.sql.migrate import HEAD, downgrade
from rafiki.meta_store.sql.schema import metadata
from rafiki.proposals import Proposal


def rows_in(folder):
    def read(table):
        with (folder / f"{table.name}.jsonl").open("rb") as file:
            yield from read_rows(table, file)

    return read


def contents(url):
    """All rows, with the values that the columns' types give."""
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg2:"))
    with engine.connect() as connection:
        found = {t.name: sorted(map(repr, connection.execute(t.select()))) for t in metadata.sorted_tables}
    engine.dispose()
    return found


@pytest.fixture
def full_url(meta_store_url):
    """A database with a row of nearly every kind of value."""
    with open_meta_store(meta_store_url) as store:
        given = Given(store)
        user = given.user("ada@rafiki", UserType.ADMIN)
        model = given.model(user, model_file=bytes(range(256)) * 9)
        job = given.train_job(user, "größe", [model])
        [sub] = store.train_jobs.list_sub_train_jobs(job.id)
        sub = store.train_jobs.set_advisor(sub.id, "owner")
        given.completed_trial(sub, 1, 0.1 + 0.2, None)
        given.trial(sub, 2, proposal=Proposal(knobs={"a": 1e300, "b": "é\n\u2028", "c": [True, None]}))
    return meta_store_url


@pytest.fixture(params=["sqlite", "postgres"])
def target_url(request, tmp_path, postgres_server):
    """An empty database that is not the one that is dumped."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/target.db"
        return
    name = postgres_server.create_database()
    yield postgres_server.url_of(name)
    postgres_server.drop_database(name)


def dumped(url, folder):
    folder.mkdir()
    with open_meta_store(url) as store:
        return store.dump(folder)


def load(url, dump, folder, **options):
    with open_meta_store(url) as store:
        return store.load(dump, rows_in(folder), {}, **options)


def test_what_is_loaded_is_what_was_dumped_in_either_database(full_url, target_url, tmp_path):
    dump = dumped(full_url, tmp_path / "dump")
    assert dump.revision == HEAD
    assert sorted(t.name for t in dump.tables) == sorted(metadata.tables)
    load(target_url, dump, tmp_path / "dump")
    assert contents(target_url) == contents(full_url)
    with open_meta_store(target_url) as store:
        assert not store.needs_migration()
        assert not store.is_empty()


def test_a_dump_is_of_one_moment_while_others_write(meta_store_url, tmp_path):
    ended = threading.Event()
    written = []

    def write():
        with open_meta_store(meta_store_url) as store:
            given = Given(store)
            while not ended.is_set():
                written.append(given.dataset(given.user()).id)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        dumps = [dumped(meta_store_url, tmp_path / f"dump{n}") for n in range(5)]
    finally:
        ended.set()
        writer.join()
    assert written
    for n, dump in enumerate(dumps):
        read = rows_in(tmp_path / f"dump{n}")
        by_name = {t.name: (t, [*read(t)]) for t in dump.tables}
        users, datasets = by_name["users"], by_name["datasets"]
        ids = {row[users[0].columns.index("id")] for row in users[1]}
        owners = [row[datasets[0].columns.index("user_id")] for row in datasets[1]]
        assert set(owners) <= ids
        # A writer that makes a user, then its dataset, is at most one ahead.
        assert len(ids) - len(owners) in (0, 1)


def test_an_older_schema_is_loaded_as_it_was_and_migrated_later(full_url, target_url, tmp_path):
    db = Database(full_url)
    downgrade(db, "0007")
    db.close()
    dump = dumped(full_url, tmp_path / "dump")
    assert dump.revision == "0007"
    load(target_url, dump, tmp_path / "dump")
    with open_meta_store(target_url) as store:
        assert store.needs_migration()
        store.migrate()
        assert store.users.find_user_by_email("ada@rafiki") is not None


def test_a_database_that_is_not_empty_is_replaced_only_when_that_is_said(full_url, target_url, tmp_path):
    dump = dumped(full_url, tmp_path / "dump")
    with open_meta_store(target_url) as store:
        assert store.is_empty()
        store.migrate()
        Given(store).user("other@rafiki")
    with pytest.raises(BackupRefusedError):
        load(target_url, dump, tmp_path / "dump")
    former = load(target_url, dump, tmp_path / "dump", is_replacing=True)
    assert contents(target_url) == contents(full_url)
    if former is not None:
        with open_meta_store(f"sqlite:///{former}") as store:
            assert store.users.find_user_by_email("other@rafiki") is not None


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("users", b'["only one"]\n'),
        ("users", b"not json\n"),
        ("users", b'[1, 2, 3, 4, 5, "yesterday", null]\n'),
        ("model_files", b'["m", "%%%"]\n'),
    ],
)
def test_rows_that_do_not_fit_change_nothing(full_url, target_url, tmp_path, table, line):
    dump = dumped(full_url, tmp_path / "dump")
    (tmp_path / "dump" / f"{table}.jsonl").write_bytes(line)
    with pytest.raises(DamagedFileError):
        load(target_url, dump, tmp_path / "dump")
    with open_meta_store(target_url) as store:
        assert store.is_empty()


def test_tables_that_are_not_of_the_schema_are_refused(full_url, target_url, tmp_path):
    dump = dumped(full_url, tmp_path / "dump")
    with pytest.raises(DamagedFileError, match="users"):
        load(target_url, DatabaseDump(revision=HEAD, tables=[t for t in dump.tables if t.name != "users"]), tmp_path)


def test_a_damaged_file_is_not_dumped(tmp_path):
    file = tmp_path / "meta.db"
    with open_meta_store(f"sqlite:///{file}") as store:
        store.migrate()
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(8192)
        opened.write(os.urandom(size - 8192))
    with pytest.raises(MetaStoreError, match="rafiki restore"):
        dumped(f"sqlite:///{file}", tmp_path / "dump")


def test_a_lock_of_another_program_is_waited_for_and_then_told(new_sqlite_url, tmp_path, monkeypatch):
    from rafiki.meta_store.sql import dump as dumping

    monkeypatch.setattr(dumping, "_LOCKED_TIMEOUT_S", 0.2)
    with closing(sqlite3.connect(new_sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(MetaStoreError, match="locked by another program"):
            dumped(new_sqlite_url, tmp_path / "dump")
