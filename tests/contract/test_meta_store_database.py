"""What the databases do to values and connections."""

import contextlib
import math
import os
import sqlite3
import stat
import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from rafiki.errors import ConfigError, InvalidRequestError, MetaStoreError, StoreFullError
from rafiki.meta_store import open_meta_store
from rafiki.meta_store.sql.database import Database
from rafiki.proposals import Proposal
from rafiki.utils.clock import utc_now

FLOATS = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, 0.0, 1 / 3, -1e-10, 123456789.123456789]


def test_a_score_has_no_negative_zero(store, given):
    done = given.completed_trial(given.sub_train_job(), 1, -0.0)
    assert math.copysign(1, done.score) == 1


@pytest.mark.parametrize("value", FLOATS)
def test_a_float_comes_back_bit_by_bit(store, given, value):
    sub = given.sub_train_job()
    trial = given.trial(sub, proposal=Proposal(knobs={"x": value}))
    store.trials.complete_trial(trial.id, score=value, params_id=None, owner_id=None)
    found = store.trials.get_trial(trial.id)
    for stored in (found.score, found.proposal.knobs["x"]):
        assert struct.pack("d", stored) == struct.pack("d", value)


def test_json_values_keep_their_types(store, given):
    arguments = {"whole": 1, "float": 1.0, "no": None, "on": True, "text": "ü\0\n😀", "deep": [{"a": []}]}
    job = given.train_job(train_args=arguments)
    found = store.train_jobs.get_train_job(job.id).train_args
    assert found == arguments
    assert [type(value) for value in found.values()] == [type(value) for value in arguments.values()]


def test_a_nan_in_a_log_entry_comes_back_as_none(store, given):
    trial = given.trial(given.sub_train_job(), proposal=Proposal(knobs={"loss": float("nan")}))
    assert store.trials.get_trial(trial.id).proposal.knobs == {"loss": None}


def test_times_are_aware_utc_with_microseconds(meta_store_url, monkeypatch):
    # Sessions of PostgreSQL answer in their own zone.
    monkeypatch.setenv("PGTZ", "Asia/Singapore")
    before = utc_now()
    with open_meta_store(meta_store_url) as store:
        user = store.users.create_user("ada@rafiki", "hash", "ADMIN")
        found = store.users.get_user(user.id).datetime_created
    assert found == user.datetime_created
    assert found.utcoffset() == timedelta(0)
    assert before <= found <= utc_now()


def test_a_time_of_another_zone_or_none_never_gets_in():
    from sqlalchemy.dialects import postgresql, sqlite

    from rafiki.meta_store.sql.columns import UtcDateTime

    noon = datetime.fromisoformat("2024-01-01T12:00:00.000001+08:00")
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        bound = UtcDateTime().process_bind_param(noon, dialect)
        assert UtcDateTime().process_result_value(bound, dialect) == noon.astimezone(UTC)
        with pytest.raises(InvalidRequestError, match="no time zone"):
            UtcDateTime().process_bind_param(noon.replace(tzinfo=None), dialect)


@pytest.mark.parametrize("text", ["a\0b", "half \ud800"])
def test_text_that_cannot_be_stored_is_refused(store, given, text):
    with pytest.raises(InvalidRequestError, match="cannot be stored"):
        given.user(text)
    with pytest.raises(InvalidRequestError, match="cannot be stored"):
        store.users.get_user(text)
    assert store.users.list_users() == []


@pytest.mark.parametrize("number", [2**63, -(10**30)])
def test_a_number_that_is_too_large_is_refused(store, given, number):
    user = given.user()
    with pytest.raises(InvalidRequestError):
        given.dataset(user, size_bytes=number)
    assert store.datasets.list_datasets(user.id) == []


@pytest.mark.parametrize("page", [{"offset": -1}, {"limit": -1}])
def test_a_negative_page_is_refused(store, page):
    with pytest.raises(InvalidRequestError, match="negative"):
        store.users.list_users(**page)


@pytest.mark.parametrize("text", ["'; DROP TABLE users; --", "100%s %(x)s :y", "ü\n\t😀", ""])
def test_text_comes_back_as_it_is(store, given, text):
    dataset = given.dataset(given.user(), name=text)
    assert store.datasets.get_dataset(dataset.id).name == text


def test_records_survive_closing(store, given, meta_store_url):
    user = given.user()
    store.close()
    store.close()
    assert store.users.get_user(user.id) == user
    with open_meta_store(meta_store_url) as again:
        assert again.users.get_user(user.id) == user


def test_a_lost_connection_is_recovered_at_the_next_call(postgres_server, new_postgres_url):
    with open_meta_store(new_postgres_url) as store:
        user = store.users.create_user("ada@rafiki", "hash", "ADMIN")
        postgres_server.disconnect_all(new_postgres_url.rpartition("/")[2].partition("?")[0])
        assert store.users.get_user(user.id) == user
        postgres_server.disconnect_all(new_postgres_url.rpartition("/")[2].partition("?")[0])
        assert store.users.ban_user(user.id).banned_date is not None


def test_a_database_without_tables_is_a_clear_error(empty_url):
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()  # without a file there would be no database at all
    with open_meta_store(empty_url) as store:
        store.ping()
        with pytest.raises(MetaStoreError, match="no tables of Rafiki"):
            store.users.list_users()


def test_a_database_that_works_passes_the_check_and_one_without_tables_does_not(meta_store_url, empty_url):
    with open_meta_store(meta_store_url) as store:
        store.check()
    with open_meta_store(empty_url) as store, pytest.raises(MetaStoreError):
        store.check()


def test_a_file_that_is_locked_gone_or_not_writable_fails_the_check(meta_store_url, monkeypatch):
    if not meta_store_url.startswith("sqlite"):
        pytest.skip("A server has no file.")
    monkeypatch.setattr("rafiki.meta_store.sql.database._CHECK_TIMEOUT_S", 0.1)
    file = Path(meta_store_url.removeprefix("sqlite:///"))
    with open_meta_store(meta_store_url) as store:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(MetaStoreError, match="has been locked by another process"):
                store.check()
            other.execute("ROLLBACK")
        store.check()
        moved = file.rename(file.with_name("moved.db"))
        with pytest.raises(MetaStoreError, match="is gone, or cannot be opened"):
            store.check()
        file.write_text("no database")
        with pytest.raises(MetaStoreError, match="is damaged"):
            store.check()
        moved.rename(file)
        store.check()


def test_a_server_that_refuses_to_write_fails_the_check(postgres_url):
    with open_meta_store(postgres_url) as store:
        store.migrate()
        store.check()
    read_only = f"{postgres_url}?options=-c%20default_transaction_read_only%3Don"
    with open_meta_store(read_only) as store, pytest.raises(MetaStoreError, match="is read-only"):
        store.check()


def test_an_unreachable_server_is_an_error_without_the_password():
    with (
        open_meta_store("postgresql://ada:se%2Fcret@127.0.0.1:1/rafiki") as store,
        pytest.raises(MetaStoreError) as caught,
    ):
        store.ping()
    assert "ada:***@127.0.0.1:1/rafiki" in caught.value.message
    assert "refused" in caught.value.message
    assert "cret" not in caught.value.message


def test_a_wrong_password_is_an_error_that_does_not_tell_it(postgres_server, postgres_url):
    if os.environ.get("RAFIKI_TEST_POSTGRES_URL"):
        pytest.skip("the given server may trust everybody")
    wrong = postgres_url.replace("pass%3Aword", "wrong%3Aword")
    assert wrong != postgres_url
    with open_meta_store(wrong) as store, pytest.raises(MetaStoreError, match="authentication") as caught:
        store.ping()
    assert "wrong" not in caught.value.message


def test_a_file_that_is_no_database_is_an_error_and_stays(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("These are notes, and no database at all. " * 100)
    with open_meta_store(f"sqlite:///{path}") as store:
        for call in (store.ping, store.migrate):
            with pytest.raises(MetaStoreError, match="not a database"):
                call()
    assert path.read_text().startswith("These are notes")


def test_a_missing_folder_is_an_error_that_names_the_file(tmp_path):
    with (
        open_meta_store(f"sqlite:///{tmp_path}/no/meta.db") as store,
        pytest.raises(MetaStoreError, match=r"no/meta\.db cannot be opened"),
    ):
        store.ping()


def test_a_database_file_is_for_its_owner_alone(tmp_path):
    with open_meta_store(f"sqlite:///{tmp_path}/meta.db") as store:
        store.migrate()
        files = sorted(Path(tmp_path).iterdir())
        assert [file.name for file in files] == ["meta.db", "meta.db-shm", "meta.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_file_that_is_read_only_for_a_while_is_told_and_written_again_afterwards(new_sqlite_url):
    database = Database(new_sqlite_url)
    is_read_only = True

    @event.listens_for(database.engine, "connect")
    def note(connection, _):
        connection.execute(f"PRAGMA query_only={'ON' if is_read_only else 'OFF'}").close()

    def write():
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (x INTEGER)")

    with pytest.raises(MetaStoreError, match=r"cannot be written to.*goes on by itself"):
        write()
    is_read_only = False
    write()
    database.close()


def test_a_full_disk_is_a_clear_error_and_nothing_is_lost(new_sqlite_url):
    with open_meta_store(new_sqlite_url) as store:
        user = store.users.create_user("ada@rafiki", "hash", "ADMIN")
        with store._db.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(StoreFullError, match="Free some"):
            store.users.set_password_hash(user.id, "x" * 100_000)
        assert store.users.list_users() == [user]
        with store._db.read() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        assert store.users.set_password_hash(user.id, "x" * 100_000).password_hash == "x" * 100_000


@pytest.mark.parametrize(
    "url",
    ["", "meta.db", "mysql://a:secret@b/c", "sqlite://", "sqlite:///:memory:", "postgresql://a:secret@b:port/c"],
)
def test_a_url_of_something_else_is_refused(url):
    with pytest.raises(ConfigError, match="meta store's URL") as caught:
        open_meta_store(url)
    assert "secret" not in caught.value.message


def test_importing_the_package_loads_no_database_library():
    code = (
        "import sys, rafiki.meta_store; "
        "print([name for name in ('sqlalchemy', 'alembic', 'psycopg2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "[]"
