"""Notices that the stack's folder was deleted while its admin runs: nothing can go on then, and nobody would ever end
what runs."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from rafiki.container import BACKENDS
from rafiki.errors import RafikiError
from rafiki.settings import Config
from rafiki.stack_folder import StackFolder
from rafiki.stack_identity import identity_file
from rafiki.utils.files import make_again, read_text, write_private
from rafiki.utils.pid_file import PidFile
from rafiki.utils.process import end_processes, find_stack_processes

_logger = logging.getLogger(__name__)
EVERY_S = 1.0
_END_TIMEOUT_S = 5.0


class FolderWatch:
    """Looks at the folder from a thread of its own, from :meth:`start` on."""

    def __init__(self, folder: StackFolder, stack_id: str, mend: Callable[[], object] = lambda: None) -> None:
        """
        Args:
            mend: called at each look, to make again what others keep in the folder.
        """
        self._folder, self._stack_id = folder, stack_id
        self._mend_others = mend
        self._fd = os.open(folder.root, os.O_RDONLY)
        self._cache: PidFile | None = None
        self._admin: PidFile | None = None
        self._missing: set[Path] = set()
        self._kept: dict[Path, str] = {}
        """Files that a later start needs as they are, with what is in them."""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_deleted: Callable[[], object]) -> None:
        self._thread = threading.Thread(target=self._run, args=(on_deleted,), name="folder", daemon=True)
        self._thread.start()

    def note_admin(self, pid_file: PidFile) -> None:
        """Have what others find the admin by written as soon as that can be."""
        self._admin = pid_file

    def _run(self, on_deleted: Callable[[], object]) -> None:
        while not self._stopped.wait(EVERY_S):
            if self.is_deleted():
                _logger.error("admin: the stack's folder %s was deleted: it ends", self._folder.root)
                on_deleted()
                return
            try:
                self._mend()
            except (OSError, RafikiError) as e:
                _logger.warning("admin: what is missing in %s cannot be made again: %s", self._folder.root, e)

    def _mend(self) -> None:
        """Make folders again that were deleted under the running stack, with what others find admin and cache by."""
        # Known while it can be: the server hides what others are found by.
        self._cache = self._folder.find_cache() or self._cache
        self._admin = self._folder.find_admin() or self._admin
        missing = {folder for folder in (self._folder.run, self._folder.logs) if not folder.exists()}
        are_there = not missing
        for file in (self._folder.secrets_file, identity_file(self._folder.root)):
            if (text := read_text(file)) is not None:
                self._kept[file] = text
            elif file in self._kept:
                missing.add(file)
        # Seen twice: whoever deletes the whole stack's folder may be in the middle of it.
        for path in missing & self._missing:
            if path in self._kept:
                write_private(path, self._kept[path])
            else:
                make_again(path)
            _logger.warning("admin: %s was deleted, and is made again", path)
        self._missing = missing
        if are_there:
            self._mend_others()
        for found, file in ((self._admin, self._folder.admin_pid_file), (self._cache, self._folder.cache_pid_file)):
            if found is not None and file.parent.exists() and not file.exists() and found.process.process() is not None:
                found.save(file)

    def is_deleted(self) -> bool:
        """Whether the folder is gone, and not only elsewhere."""
        return os.fstat(self._fd).st_nlink == 0

    def end_services(self, config: Config) -> None:
        """End what the stack runs, which no record names any more.

        Another stack may be in a new folder of the same name by now: its services are left alone.
        """
        sweep = BACKENDS.get(config.container.backend).sweep
        if sweep is not None:
            with contextlib.suppress(RafikiError):  # The log, too, is gone.
                sweep(config, self._stack_id)
        left = find_stack_processes(self._folder.root, stack_id=self._stack_id)
        cache = self._cache.process.process() if self._cache is not None else None
        end_processes([*left, *([cache] if cache is not None else [])], _END_TIMEOUT_S)

    def close(self) -> None:
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10.0)
        os.close(self._fd)
