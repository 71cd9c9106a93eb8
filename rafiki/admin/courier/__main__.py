"""The courier's process: reads where links lead on stdin, and ends when the admin does, which is when stdin ends."""

from __future__ import annotations

import fcntl
import logging
import sys
import threading
from typing import IO

from rafiki.admin.courier.courier import Courier
from rafiki.config import load_config
from rafiki.errors import RafikiError
from rafiki.meta_store import open_meta_store
from rafiki.stack_folder import StackFolder
from rafiki.stores import open_param_store
from rafiki.utils.clock import Deadline
from rafiki.utils.logs import bind_log_fields, log_unexpected, set_up_logging
from rafiki.utils.process import StopSignal, wait_until

_logger = logging.getLogger("rafiki.courier")
_LOCK_WAIT_S = 30.0


def _lock(file: IO[bytes], stop: StopSignal) -> bool:
    """Whether this is the only courier now: the one of an admin that was killed may be about to end."""

    def is_locked() -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return stop.is_set()
        return True

    return wait_until(is_locked, Deadline(_LOCK_WAIT_S)) and not stop.is_set()


def run() -> int:
    """Until SIGTERM, or the admin's end.

    Raises:
        RafikiError: it cannot start.
    """
    stop = StopSignal()
    stop.install()
    loaded = load_config()
    set_up_logging(loaded.config.logging.format, loaded.config.logging.level, kind="courier")
    bind_log_fields(kind="courier")
    admin_url = sys.stdin.readline().strip()
    folder = StackFolder(loaded)
    with (folder.run / "courier.lock").open("wb") as lock:
        if not _lock(lock, stop):
            return 0
        store, params = open_meta_store(folder.meta_store_url), open_param_store(folder.params)
        courier = Courier(store, params, load_config, folder.secrets().job_key, admin_url)
        stop.on_stop(courier.stop)

        def end_with_admin() -> None:
            sys.stdin.read()
            courier.stop()

        threading.Thread(target=end_with_admin, name="admin", daemon=True).start()
        courier.run()
        store.close()
    return 0


def main() -> int:
    set_up_logging("messages")
    try:
        return run()
    except RafikiError as e:
        _logger.error("%s", e.message)
        return e.exit_code
    except Exception as e:  # noqa: BLE001 - the last place that can log it
        log_unexpected(_logger, e)
        return 1


if __name__ == "__main__":
    sys.exit(main())
