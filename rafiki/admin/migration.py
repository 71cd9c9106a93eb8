"""Migrates the meta store in a child process: what that loads (Alembic, 27 MB) goes with it."""

from __future__ import annotations

import logging
import os

import msgspec

from rafiki.contract.endpoint import ErrorBody
from rafiki.errors import MetaStoreError, RafikiError, error_from_wire
from rafiki.meta_store import open_meta_store
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)

_MOST_BYTES = 1 << 16


def migrate_in_child(url: str) -> None:
    """Bring the meta store at ``url`` to this version's schema. Call it before threads are started.

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
        refusal = pipe.read(_MOST_BYTES)
    _, status = os.waitpid(pid, 0)
    if refusal:
        body = msgspec.json.decode(refusal, type=ErrorBody)
        raise error_from_wire(body.error, body.message)
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
