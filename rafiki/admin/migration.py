"""Migrates the meta store in a child process: what that loads (Alembic, 27 MB) goes with it."""

from __future__ import annotations

import logging
import os
import select

import msgspec

from rafiki import __version__
from rafiki.contract.endpoint import ErrorBody
from rafiki.errors import MetaStoreError, NewerDatabaseError, RafikiError, error_from_wire
from rafiki.meta_store import open_meta_store
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)

_MOST_BYTES = 1 << 16
_TOLD_AFTER_S = 3.0


def name_writer(error: NewerDatabaseError, last_version: str) -> NewerDatabaseError:
    """The refusal of a database that is too new, with the version that last used it where that is another one."""
    if last_version == __version__:
        return error
    return error.with_message(f"{error.message} Rafiki {last_version} used it last.")


def migrate_in_child(url: str, *, last_version: str = __version__) -> None:
    """Bring the meta store at ``url`` to this version's schema. Call it before threads are started.

    Args:
        url: of the meta store.
        last_version: which Rafiki used it last, for the refusal of a database that is too new.

    Raises:
        RafikiError: what kept it from that, as the child met it.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _migrate_and_exit(url, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        if not select.select([pipe], [], [], _TOLD_AFTER_S)[0]:
            _logger.warning(
                "The database did not answer for %g s: another program has locked it, or it is being migrated. The "
                "start waits for that.",
                _TOLD_AFTER_S,
            )
        refusal = pipe.read(_MOST_BYTES)
    _, status = os.waitpid(pid, 0)
    if refusal:
        body = msgspec.json.decode(refusal, type=ErrorBody)
        error = error_from_wire(body.error, body.message)
        raise name_writer(error, last_version) if isinstance(error, NewerDatabaseError) else error
    if status != 0:
        raise MetaStoreError("The meta store could not be migrated; the log above tells why.")


def _migrate_and_exit(url: str, writer: int) -> None:
    code = 1
    try:
        with open_meta_store(url) as store:
            store.migrate()
        code = 0
    except RafikiError as e:
        os.write(writer, msgspec.json.encode(ErrorBody(e.code, e.message))[:_MOST_BYTES])
    except BaseException as e:  # noqa: BLE001 - the parent must go on in its own process alone
        log_unexpected(_logger, e)
    finally:
        # Not sys.exit: what the parent has opened is the parent's to close.
        os._exit(code)
