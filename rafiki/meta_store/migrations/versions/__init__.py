"""The revisions, oldest first. A new one also becomes HEAD in :mod:`rafiki.meta_store.sql.migrate`."""
