"""Settles a stack in its folder at each start: one that was moved goes on here; one that was copied becomes another.

A copy must not speak to what the original runs: it gets an id, secrets and ports of its own, what its database says of
running services is forgotten, and the superadmin gets another password where the first one was still in use.
"""

from __future__ import annotations

import hashlib
import logging
import shutil

import msgspec

from rafiki import __version__
from rafiki.admin.auth import hash_password, is_password
from rafiki.config import SUPERADMIN_EMAIL, LoadedConfig
from rafiki.constants import ServiceStatus
from rafiki.errors import ConfigError, StackError
from rafiki.meta_store import MetaStore
from rafiki.moved_stack import find_left_behind
from rafiki.stack_folder import StackFolder
from rafiki.stack_identity import StackIdentity, Standing, examine, write_identity
from rafiki.utils.files import read_text
from rafiki.utils.ids import new_id
from rafiki.utils.process import end_processes

_logger = logging.getLogger("rafiki.admin")

_END_TIMEOUT_S = 10.0
_KEPT = ("admin.lock", "up.lock")


def end_what_was_moved(folder: StackFolder) -> None:
    """End what the stack has left running where its folder was moved away from. Call it before the folder's lock is
    taken, which the former admin may hold."""
    if left := find_left_behind(folder):
        _logger.info("admin: the folder was moved to %s while the stack ran; ending what ran", folder.root)
        end_processes(left, _END_TIMEOUT_S)


def settle(loaded: LoadedConfig, folder: StackFolder) -> StackIdentity:
    """The stack's record, with this folder and this version in it; the caller holds the folder's lock.

    Raises:
        ConfigError: when the folder is a copy, and its settings name the database or the cache of the original.
    """
    examined = examine(folder.root)
    shared = _shared_settings(loaded)
    known = examined.identity
    if known is None:
        made = StackIdentity(id=new_id(), root=str(folder.root), version=__version__, shared=shared)
    elif examined.standing is Standing.COPIED:
        _refuse_shared(known, shared)
        _drop_copied_files(folder)
        _logger.info("admin: this folder is a copy of %s, and a stack of its own from now on", known.root)
        made = StackIdentity(
            id=new_id(), root=str(folder.root), version=known.version, shared=shared,
            copied_from=known.copied_from or known.root,
        )  # fmt: skip
    else:
        made = msgspec.structs.replace(known, root=str(folder.root), shared=shared)
    if made != known:
        write_identity(folder.root, made)
    return made


def settle_database(folder: StackFolder, identity: StackIdentity, store: MetaStore) -> StackIdentity:
    """Take the original's running services and its superadmin's first password out of a copied database, and note which
    version the database was brought to. The record as it is now."""
    settled = msgspec.structs.replace(identity, version=__version__, copied_from=None)
    if settled == identity:
        return identity
    if identity.copied_from is not None:
        for service in store.services.list_live_services():
            store.services.set_service_status(service.id, ServiceStatus.STOPPED)
        _renew_password(folder, store)
    write_identity(folder.root, settled)
    return settled


def check_database_is_there(loaded: LoadedConfig, folder: StackFolder, store: MetaStore) -> None:
    """Refuse to make an empty database in the place of one that was there: what the stores hold would belong to nobody.

    Raises:
        StackError: the stack's own database is gone or empty, though the stack was up before.
    """
    if loaded.config.meta_store.url is not None or not folder.superadmin_password_file.exists():
        return
    if store.is_empty():
        raise StackError(
            f"The database {folder.root / 'meta.db'} is gone or empty, and this stack was up before. Go back to a "
            f"backup: `rafiki restore FILE --force`. To begin without one, move {folder.root} away."
        )


def _shared_settings(loaded: LoadedConfig) -> dict[str, str]:
    """Settings that name a database or a cache outside the folder -> a hash of their values."""
    config = loaded.config
    named = {"meta_store.url": config.meta_store.url, "cache.url": config.cache.url}
    return {k: hashlib.sha256(v.encode()).hexdigest() for k, v in named.items() if v is not None}


def _refuse_shared(known: StackIdentity, shared: dict[str, str]) -> None:
    same = [key for key, value in shared.items() if known.shared.get(key) == value]
    if same:
        names = " and ".join(same)
        raise ConfigError(
            f"This folder is a copy of the stack in {known.root}, and its {names} still names what that stack uses. "
            f"Two stacks cannot share it: set {names} to another, or leave it out, in this folder's rafiki.yaml."
        )


def _drop_copied_files(folder: StackFolder) -> None:
    for file in (folder.secrets_file, folder.admin_port_file, folder.cache_port_file, folder.door_port_file):
        file.unlink(missing_ok=True)
    # Services trust its authority.
    shutil.rmtree(folder.tls_folder, ignore_errors=True)
    for entry in folder.run.iterdir():
        if entry.name in _KEPT:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _renew_password(folder: StackFolder, store: MetaStore) -> None:
    """Give the superadmin another first password, unless the first one was changed: then the user's own one stays."""
    user = store.users.find_user_by_email(SUPERADMIN_EMAIL)
    first = (read_text(folder.superadmin_password_file) or "").strip()
    if user is None or not first or not is_password(user, first):
        return
    folder.superadmin_password_file.unlink(missing_ok=True)
    store.users.set_password_hash(user.id, hash_password(folder.superadmin_password()))
