"""The folder of one stack (``.rafiki/``): where its files lie, and its secrets. Created with mode 0700."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rafiki.config import SUPERADMIN_PASSWORD_FILE_NAME, LoadedConfig
from rafiki.errors import AdminLostError, ConfigError, StackError
from rafiki.store_location import StoreLocation, find_folder, folder_location, parse_location
from rafiki.utils.disk_space import DiskSpace
from rafiki.utils.files import read_text, write_private
from rafiki.utils.ids import new_secret
from rafiki.utils.paths import expand, why, why_no_folder
from rafiki.utils.pid_file import PidFile

if TYPE_CHECKING:
    from rafiki.tls_files import TlsFiles


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Made at the first `rafiki up`; mode 0600; nothing ships with a default."""

    token_key: str
    """Signs the tokens of logged-in users."""
    cache_password: str
    """Of the private cache server's admin user."""
    job_key: str
    """Credentials of single jobs are derived from it."""


class StackFolder:
    """Paths of one stack."""

    def __init__(self, loaded: LoadedConfig) -> None:
        """
        Raises:
            ConfigError: when ``stack.folder`` names what can be no folder, with its file and line.
        """
        config = loaded.config
        self._base = loaded.base_folder
        self._origins = {o.key: o.origin for o in loaded.origins}
        self.root = self._folder("stack.folder", config.stack.folder)
        self._stores = config.stores
        self._environments = config.stores.environments_folder
        self._meta_store = config.meta_store
        self._loaded = loaded

    def _folder(self, key: str, setting: str) -> Path:
        """The folder that a setting names, which need not be there yet."""
        where = f"{self._origins.get(key, 'default')}: {key} = {setting!r}"
        try:
            folder = expand(self._base, setting)
        except ValueError as e:
            raise ConfigError(f"{where}: {e}. Name a folder, or leave the setting out.") from e
        # The folder as it is written: once its links are followed, one that leads nowhere is not seen any more.
        written = self._base / Path(setting).expanduser()
        if (reason := why_no_folder(written) or why_no_folder(folder)) is not None:
            raise ConfigError(f"{where}: {folder} cannot be a folder: {reason}. Name another one.")
        return folder

    def _resolved(self, key: str, setting: str | None, default: str) -> Path:
        return self._folder(key, setting) if setting is not None else self.root / default

    def _location(self, name: str, url: str | None, folder: str | None) -> StoreLocation:
        if url is None:
            return folder_location(self._resolved(f"stores.{name}_folder", folder, name))
        if folder is not None:
            raise ConfigError(f"stores.{name} and stores.{name}_folder are both set. Leave one of them out.")
        return parse_location(url, f"stores.{name}")

    @property
    def datasets(self) -> StoreLocation:
        """Where datasets are stored.

        Raises:
            ConfigError: when the settings name no store, or two.
        """
        return self._location("datasets", self._stores.datasets, self._stores.datasets_folder)

    @property
    def params(self) -> StoreLocation:
        """Where trained parameters are stored.

        Raises:
            ConfigError: as :attr:`datasets`.
        """
        return self._location("params", self._stores.params, self._stores.params_folder)

    def holds(self, store: StoreLocation) -> bool:
        """Whether a store is in this folder: another one may be shared with other stacks."""
        folder = find_folder(store)
        return folder is not None and folder.is_relative_to(self.root)

    @property
    def environments(self) -> Path:
        return self._resolved("stores.environments_folder", self._environments, "environments")

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def audit(self) -> Path:
        """Who did what."""
        return self.root / "audit"

    @property
    def run(self) -> Path:
        """Pid files, specs of running services: nothing in it outlives its process."""
        return self.root / "run"

    def disk_space(self) -> DiskSpace:
        """Of the disks that the stack writes to."""
        stores = (find_folder(self.datasets), find_folder(self.params))
        folders = [self.root, *(folder for folder in stores if folder is not None), self.environments]
        return DiskSpace(list(dict.fromkeys(folders)), self._loaded.config.stack.min_free_mb)

    @property
    def admin_pid_file(self) -> Path:
        return self.run / "admin.json"

    @property
    def up_lock_file(self) -> Path:
        """Locked while `rafiki up` is at work."""
        return self.run / "up.lock"

    @property
    def admin_port_file(self) -> Path:
        """The port that the admin last found by itself."""
        return self.root / "admin-port"

    @property
    def cache_port_file(self) -> Path:
        return self.root / "cache-port"

    @property
    def door_port_file(self) -> Path:
        """The port at which services of other hosts last came in."""
        return self.root / "door-port"

    @property
    def tls_folder(self) -> Path:
        """Certificates and keys that the stack has made."""
        return self.root / "tls"

    @property
    def secrets_file(self) -> Path:
        return self.root / "secrets.json"

    @property
    def cache_pid_file(self) -> Path:
        return self.run / "cache.json"

    @property
    def superadmin_password_file(self) -> Path:
        return self.root / SUPERADMIN_PASSWORD_FILE_NAME

    @property
    def meta_store_url(self) -> str:
        """SQLAlchemy URL. A relative SQLite path counts from the folder of rafiki.yaml.

        Raises:
            ConfigError: a file for TLS that the settings name cannot be used.
        """
        settings = self._meta_store
        url = settings.url or f"sqlite:///{self.root / 'meta.db'}"
        has_files = any((settings.ca, settings.certificate, settings.key))
        return self.tls.meta_store_url(url) if has_files else url

    @property
    def tls(self) -> TlsFiles:
        """The files for TLS that the settings name."""
        from rafiki.tls_files import TlsFiles  # It loads OpenSSL, which takes 10 ms.

        return TlsFiles(self._loaded)

    def find_admin(self) -> PidFile | None:
        """The admin of this very folder's stack, if it runs.

        Raises:
            PermissionError: when the folder is another user's.
        """
        return PidFile.find(self.admin_pid_file, self.root)

    def find_loss(self) -> AdminLostError | None:
        """What to tell people when the admin of this very folder's stack has ended without having been stopped; None
        while it runs, and when it was stopped or never started. Raises as :meth:`find_admin`."""
        left = PidFile.find_left(self.admin_pid_file, self.root)
        if left is None or self.is_starting:
            return None
        return AdminLostError(
            f"The admin of the stack in {self.root} (process {left.process.pid}) has ended without `rafiki down`: it "
            "crashed or was killed, or the machine was started anew. `rafiki logs admin` may tell why; `rafiki up` "
            "goes on with its jobs."
        )

    @property
    def is_starting(self) -> bool:
        """Whether `rafiki up` is at work: an admin that is away now is replaced."""
        try:
            with self.up_lock_file.open("r") as f:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def find_cache(self) -> PidFile | None:
        """The private cache server of this very folder's stack, if it runs; raises as :meth:`find_admin`."""
        return PidFile.find(self.cache_pid_file, self.root)

    @property
    def kept_admin_port(self) -> int | None:
        """The port that the admin last found by itself."""
        text = (read_text(self.admin_port_file) or "").strip()
        return int(text) if text.isdecimal() and 0 < int(text) <= 65535 else None

    def create(self) -> None:
        """Make the folders.

        Raises:
            StackError: when a folder cannot be made or written, naming it.
            ConfigError: when the settings name no store, or two.
        """
        folders = {"stack.folder": [self.root, self.logs, self.run], "stores.environments_folder": [self.environments]}
        for name, at in (("datasets", self.datasets), ("params", self.params)):
            if (store := find_folder(at)) is not None:
                folders[f"stores.{name}" if f"stores.{name}" in self._set else f"stores.{name}_folder"] = [store]
        for key, named in folders.items():
            for folder in named:
                self._create(key if key in self._set else "stack.folder", folder)

    @property
    def _set(self) -> set[str]:
        """The settings that somebody has set."""
        return {key for key, origin in self._origins.items() if origin != "default"}

    def _create(self, key: str, folder: Path) -> None:
        where = f"{self._origins[key]}: {key}" if key in self._set else f"{key} (its default)"
        hint = "Choose another folder there." if key in self._set else f"Choose another with {key} in rafiki.yaml."
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise StackError(f"{where}: cannot make the folder {folder}: {why(e)}. {hint}") from e
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StackError(f"{where}: no permission to write in {folder}. {hint}")

    def secrets(self) -> Secrets:
        """The stack's secrets, made if there are none yet.

        Raises:
            StackError: when the file is damaged or cannot be written.
        """
        file = self.secrets_file
        text = read_text(file)
        if text is None:
            made = Secrets(token_key=new_secret(), cache_password=new_secret(), job_key=new_secret())
            write_private(file, msgspec.json.encode(made).decode())
            return made
        try:
            return msgspec.json.decode(text, type=Secrets)
        except msgspec.DecodeError as e:
            from rafiki.utils.mismatch import explain_json

            raise StackError(
                f"{file}: the stack's secrets are damaged ({explain_json(text, Secrets)}). "
                "Restore the file, or move it away to make new ones."
            ) from e

    def superadmin_password(self) -> str:
        """The superadmin's first password, made if there is none yet."""
        file = self.superadmin_password_file
        text = read_text(file)
        if text is None or not text.strip():
            text = new_secret(18)
            write_private(file, text + "\n")
        return text.strip()
