"""Looks, before a running admin is ended, whether one of this version could take its place; prints what it would do.

The command line starts it as a process: it opens no database itself.
"""

from __future__ import annotations

import sys

import msgspec

from rafiki import __version__
from rafiki.admin.migration import name_writer
from rafiki.config import load_config
from rafiki.errors import NewerDatabaseError, RafikiError
from rafiki.meta_store import open_meta_store
from rafiki.stack_folder import StackFolder
from rafiki.stack_identity import examine


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen."""

    version: str
    migrates: bool
    """Whether the database is changed, so that earlier versions cannot use it any more."""


def look() -> Preflight:
    """What an admin of this version would do at its start.

    Raises:
        RafikiError: it could not start.
    """
    loaded = load_config()
    loaded.check_registered()
    folder = StackFolder(loaded)
    identity = examine(folder.root).identity
    try:
        with open_meta_store(folder.meta_store_url) as store:
            return Preflight(version=__version__, migrates=store.needs_migration())
    except NewerDatabaseError as e:
        raise name_writer(e, identity.version if identity else __version__) from e


def main() -> int:
    try:
        found = look()
    except RafikiError as e:
        sys.stderr.write(f"error: {e.message}\n")
        return e.exit_code
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
