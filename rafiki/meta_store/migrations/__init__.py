"""Alembic migrations of the meta store, run by :mod:`rafiki.meta_store.sql.migrate`."""
