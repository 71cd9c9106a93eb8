"""Where Alembic enters: runs migrations on the connection that :mod:`rafiki.meta_store.sql.migrate` hands
over.

The transaction is the caller's, so that the check of the version, the lock and the migrations are one.
"""

from alembic import context

from rafiki.meta_store.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
