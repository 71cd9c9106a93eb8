"""What the environment says of whoever runs a command: which admin, as whom, with which shell, and where their files
are. Besides :mod:`rafiki.config` the only reader of ``os.environ``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def admin_from_environment(environ: Mapping[str, str] | None = None) -> str | None:
    """``RAFIKI_HOST``: the admin that commands talk to, as ``host:port`` or ``https://host:port``."""
    return (os.environ if environ is None else environ).get("RAFIKI_HOST") or None


def ca_from_environment(environ: Mapping[str, str] | None = None) -> str | None:
    """``RAFIKI_CA``: the PEM file of the authorities that servers' certificates are checked against."""
    return (os.environ if environ is None else environ).get("RAFIKI_CA") or None


def token_from_environment(environ: Mapping[str, str] | None = None) -> str | None:
    """``RAFIKI_TOKEN``: the token that commands are run with, instead of a kept login."""
    return (os.environ if environ is None else environ).get("RAFIKI_TOKEN", "").strip() or None


def key_from_environment(environ: Mapping[str, str] | None = None) -> str | None:
    """``RAFIKI_KEY``: the key that queries are sent with, to predictors that ask for one."""
    return (os.environ if environ is None else environ).get("RAFIKI_KEY", "").strip() or None


def first_generation_admin(environ: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    """``RAFIKI_ADDR`` and ``ADMIN_EXT_PORT``: host and port of the admin, for scripts of the first generation."""
    environ = os.environ if environ is None else environ
    return environ.get("RAFIKI_ADDR", "").strip() or None, environ.get("ADMIN_EXT_PORT", "").strip() or None


def shell_from_environment(environ: Mapping[str, str] | None = None) -> str | None:
    """The name of the person's shell (``bash``), from ``SHELL``."""
    environ = os.environ if environ is None else environ
    return Path(environ["SHELL"]).name if environ.get("SHELL") else None


def _user_folder(variable: str, default: str, environ: Mapping[str, str] | None) -> Path:
    base = (os.environ if environ is None else environ).get(variable)
    return Path(base) if base else Path.home() / default


def user_config_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where a person's own state (logins, contexts) lies: ``$XDG_CONFIG_HOME/rafiki`` or ``~/.config/rafiki``."""
    return _user_folder("XDG_CONFIG_HOME", ".config", environ) / "rafiki"


def user_cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where what can be asked for again lies: ``$XDG_CACHE_HOME/rafiki`` or ``~/.cache/rafiki``."""
    return _user_folder("XDG_CACHE_HOME", ".cache", environ) / "rafiki"


def user_data_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where a person's programs keep files: ``$XDG_DATA_HOME`` or ``~/.local/share``."""
    return _user_folder("XDG_DATA_HOME", ".local/share", environ)
