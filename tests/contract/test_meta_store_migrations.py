import json
import os
import subprocess
import sys
from multiprocessing import get_context

import msgspec
import pytest
import sqlalchemy
from support.stores.meta_store_writers import migrate, migrate_together

from rafiki.constants import ServiceStatus
from rafiki.entities import Gpu
from rafiki.errors import MetaStoreError
from rafiki.meta_store import open_meta_store
from rafiki.meta_store.sql.database import Database
from rafiki.meta_store.sql.migrate import HEAD, downgrade
from rafiki.meta_store.sql.schema import metadata
from rafiki.proposals import Proposal


@pytest.fixture
def engine(empty_url):
    engine = sqlalchemy.create_engine(empty_url.replace("postgresql:", "postgresql+psycopg2:"))
    yield engine
    engine.dispose()


def take_back_all(url):
    db = Database(url)
    downgrade(db, "base")
    db.close()


def tables_of(engine):
    return set(sqlalchemy.inspect(engine).get_table_names())


def definitions_of(engine):
    """Every index and constraint as the database itself writes it down, conditions included."""
    if engine.dialect.name == "sqlite":
        wanted = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        wanted = (
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL "
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace"
        )
    with engine.connect() as connection:
        return {tuple(row) for row in connection.execute(sqlalchemy.text(wanted))}


def test_the_migrated_schema_is_that_of_the_code(empty_url, engine):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    migrate(empty_url)
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_migrated_indexes_and_constraints_are_those_of_the_code(empty_url, engine):
    migrate(empty_url)
    migrated = {row for row in definitions_of(engine) if "alembic_version" not in row[0]}
    take_back_all(empty_url)
    metadata.create_all(engine)
    created = {row for row in definitions_of(engine) if "alembic_version" not in row[0]}
    assert migrated == created
    assert any("uq_train_jobs_live" in name for name, _ in migrated)


def test_head_is_the_newest_revision():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "rafiki.meta_store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_an_empty_database_is_migrated_down_and_up_again(empty_url, engine):
    migrate(empty_url)
    assert tables_of(engine) == {*metadata.tables, "alembic_version"}
    take_back_all(empty_url)
    assert tables_of(engine) == {"alembic_version"}
    migrate(empty_url)
    assert tables_of(engine) == {*metadata.tables, "alembic_version"}


def test_proposals_that_an_earlier_version_wrote_are_read_as_structs(meta_store_url, store, given):
    kept = given.trial(given.sub_train_job("adv"), proposal=Proposal(knobs={"x": 1}))
    old = {"knobs": {"x": 1}, "scheme": "pbt", "phase": "open", "line": 3, "generation": 0, "start_from_trial": 2}
    db = Database(meta_store_url)
    downgrade(db, "0004")
    with db.write() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE trials SET proposal = :proposal WHERE id = :id"),
            {"proposal": json.dumps(old), "id": kept.id},
        )
    migrate(meta_store_url)
    expected = Proposal(
        knobs={"x": 1}, scheme="pbt", phase="open", scheme_state={"line": 3, "generation": 0}, start_from_trial=2
    )
    assert store.trials.get_trial(kept.id).proposal == expected
    downgrade(db, "0004")
    with db.read() as connection:
        stored = connection.execute(sqlalchemy.text("SELECT proposal FROM trials")).scalar_one()
    assert json.loads(stored) == old
    migrate(meta_store_url)
    db.close()


def test_migrating_again_changes_nothing_and_loads_no_alembic(meta_store_url, store, given):
    user = given.user()
    code = (
        "import sys; from rafiki.meta_store import open_meta_store; "
        "open_meta_store(sys.argv[1]).migrate(); "
        "print([name for name in ('alembic', 'sqlalchemy.orm') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, meta_store_url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert store.users.list_users() == [user]


def test_a_database_that_is_newer_than_the_code_is_refused_and_left_alone(meta_store_url, store, given, execute):
    user = given.user()
    execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MetaStoreError, match=f"9999, which is newer than {HEAD}") as caught:
        store.migrate()
    assert "pass" not in caught.value.message
    assert store.users.list_users() == [user]
    assert [tuple(row) for row in execute("SELECT version_num FROM alembic_version")] == [("9999",)]


def test_a_migration_that_fails_leaves_nothing_behind(empty_url, engine):
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE trials (mine INTEGER)"))
    with open_meta_store(empty_url) as store:
        with pytest.raises(MetaStoreError, match="trials"):
            store.migrate()
        assert tables_of(engine) == {"trials"}
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("DROP TABLE trials"))
        store.migrate()
        assert store.users.list_users() == []


def test_several_processes_migrate_at_once(empty_url, engine):
    spawn = get_context("spawn")
    barrier = spawn.Barrier(4)
    processes = [spawn.Process(target=migrate_together, args=(empty_url, barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert tables_of(engine) == {*metadata.tables, "alembic_version"}


def test_services_of_earlier_versions_keep_their_gpus_handles_and_failures(meta_store_url, store, given, execute):
    gpus = [Gpu("local", "0"), Gpu("local", "12")]
    with_gpus, permanent, accident = given.service(gpus=gpus), given.service(slot=1), given.service(slot=2)
    store.services.set_service_status(permanent.id, ServiceStatus.ERRORED, "no class M", is_permanent=True)
    store.services.set_service_status(accident.id, ServiceStatus.ERRORED, "it ended; was told: Cannot run: x")
    now = store.services.list_services("job")
    db = Database(meta_store_url)
    downgrade(db, "0005")
    db.close()
    earlier = [tuple(row) for row in execute("SELECT gpus, error FROM services ORDER BY slot")]
    assert earlier == [
        ("[0, 12]", None), ("[]", "Cannot run: no class M"), ("[]", "it ended; was told: Cannot run: x")
    ]  # fmt: skip
    handle = '{"pid":42,"create_time":1700000000.123456,"log":"train-x.log"}'
    execute("UPDATE services SET handle = :handle WHERE id = :id", handle=handle, id=with_gpus.id)
    store.migrate()
    found = store.services.list_services("job")
    assert found == [msgspec.structs.replace(now[0], handle=handle), *now[1:]]


def test_models_of_earlier_versions_keep_ids_names_and_files_and_a_downgrade_tells_versions_apart_by_name(
    meta_store_url, store, given, execute
):
    user, other = given.user(), given.user()
    models = [given.model(user, name="wine", version=v, model_file=b"class W: ...") for v in (1, 2, 4)]
    hashed, lonely = given.model(user, name="wine-3f9c2a71"), given.model(other, name="wine@2")
    late = given.model(other, name="late", load_error="m.py: importing it did not finish within 30 s (why?).")
    job = given.stopped_train_job(user, models=models)
    sub = store.train_jobs.set_advisor(store.train_jobs.list_sub_train_jobs(job.id)[1].id, "adv")
    trial = given.trial(sub)
    assert (trial.model_name, trial.model_version) == ("wine", 2)
    now = store.models.list_models()
    db = Database(meta_store_url)
    downgrade(db, "0006")
    db.close()
    names = {row[0]: row[1] for row in execute("SELECT id, name FROM models")}
    assert [names[m.id] for m in (*models, hashed, lonely)] == ["wine", "wine@2", "wine@4", "wine-3f9c2a71", "wine@2"]
    assert [row[0] for row in execute("SELECT model_name FROM trials")] == ["wine@2"]
    store.migrate()
    found = {m.id: m for m in store.models.list_models()}
    assert found[late.id].load_failure == "machine"
    assert {**found, late.id: late} == {m.id: m for m in now}
    assert store.models.read_model_file(models[2].id) == b"class W: ..."
    assert store.trials.get_trial(trial.id) == trial
    assert store.train_jobs.list_sub_train_jobs(job.id)[1] == sub
