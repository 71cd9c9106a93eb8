"""The folder of one stack (``.rafiki/``): where its files lie, and its secrets. Created with mode 0700."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from rafiki.config import SUPERADMIN_PASSWORD_FILE_NAME, LoadedConfig
from rafiki.errors import ConfigError, StackError
from rafiki.store_location import StoreLocation, find_folder, folder_location, parse_location
from rafiki.utils.files import read_text, write_private
from rafiki.utils.ids import new_secret


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
        config = loaded.config
        self.root = (loaded.base_folder / config.stack.folder).resolve()
        self._base = loaded.base_folder
        self._stores = config.stores
        self._environments = config.stores.environments_folder
        self._meta_store_url = config.meta_store.url

    def _resolved(self, setting: str | None, default: str) -> Path:
        return (self._base / setting).resolve() if setting else self.root / default

    def _location(self, name: str, url: str | None, folder: str | None) -> StoreLocation:
        if url is None:
            return folder_location(self._resolved(folder, name))
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
        return self._resolved(self._environments, "environments")

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Pid files, specs of running services: nothing in it outlives its process."""
        return self.root / "run"

    @property
    def admin_pid_file(self) -> Path:
        return self.run / "admin.json"

    @property
    def cache_pid_file(self) -> Path:
        return self.run / "cache.json"

    @property
    def superadmin_password_file(self) -> Path:
        return self.root / SUPERADMIN_PASSWORD_FILE_NAME

    @property
    def meta_store_url(self) -> str:
        """SQLAlchemy URL. A relative SQLite path counts from the folder of rafiki.yaml."""
        return self._meta_store_url or f"sqlite:///{self.root / 'meta.db'}"

    def create(self) -> None:
        """Make the folders.

        Raises:
            StackError: when a folder cannot be made or written, naming it.
            ConfigError: when the settings name no store, or two.
        """
        stores = [folder for at in (self.datasets, self.params) if (folder := find_folder(at)) is not None]
        for folder in (self.root, *stores, self.environments, self.logs, self.run):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as e:
                raise StackError(
                    f"{folder}: cannot make this folder ({e.strerror}). "
                    "Choose another with stack.folder in rafiki.yaml."
                ) from e
            if not os.access(folder, os.W_OK | os.X_OK):
                raise StackError(
                    f"{folder}: no permission to write here. Choose another with stack.folder in rafiki.yaml."
                )

    def secrets(self) -> Secrets:
        """The stack's secrets, made if there are none yet.

        Raises:
            StackError: when the file is damaged or cannot be written.
        """
        file = self.root / "secrets.json"
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
