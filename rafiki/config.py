"""``rafiki.yaml`` -> a frozen :class:`~rafiki.settings.Config`; the only reader of ``os.environ``.

Layers, each over the one before: defaults < file < ``RAFIKI_SECTION__KEY`` in the environment (or in the file that
``RAFIKI_SECTION__KEY_FILE`` names) < flags. Unknown keys are refused with their path and the nearest valid name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rafiki.config_text import key_lines, read_yaml
from rafiki.errors import ConfigError
from rafiki.settings import Config, Section
from rafiki.utils.nearest import nearest_or_all
from rafiki.utils.paths import expand, why
from rafiki.utils.plain_yaml import read_plain_yaml

SUPERADMIN_EMAIL = "superadmin@rafiki"
SUPERADMIN_PASSWORD: str
"""The variable of that name, else the first password of the superadmin of this machine's stack; empty where this user
can read neither. Read anew each time that it is asked for."""
SUPERADMIN_PASSWORD_FILE_NAME = "superadmin-password"
"""In the folder of a stack."""
CONFIG_FILE_NAME = "rafiki.yaml"
SECRETS = frozenset({"oidc.client_secret", "tracking.token"})
"""Settings that are never shown, and come from the environment or from the file that ``..._file`` names."""
ENV_PREFIX = "RAFIKI_"
_VARIABLE = "environment variable"
"""Begins the origin of a setting that one holds."""
_MAY_BE_ZERO = frozenset(
    {"max_restarts", "validation_predictions", "checkpoint_s", "min_free_mb", "wait_for_space_s", "max_per_user"}
)
_NOT_SETTINGS = frozenset({"RAFIKI_CONFIG"})
"""Variables with the prefix that name no setting; so do those without a double underscore (``RAFIKI_HOST``)."""


class Origin(msgspec.Struct, frozen=True):
    """One setting with the layer that won."""

    key: str
    value: object
    origin: str


class LoadedConfig(msgspec.Struct, frozen=True):
    """A configuration, the folder that its relative paths start from, and where each setting came from."""

    config: Config
    base_folder: Path
    file: Path | None
    origins: list[Origin]

    def check_registered(self) -> None:
        """Refuse names that this installation does not have: see :func:`check_registered`.

        Raises:
            ConfigError: as that does.
        """
        check_registered(self.config, {o.key: o.origin for o in self.origins})


def find_config_file(start: Path) -> Path | None:
    """``rafiki.yaml`` in ``start`` or the nearest folder above it."""
    for folder in [start, *start.parents]:
        if (candidate := folder / CONFIG_FILE_NAME).is_file():
            return candidate
    return None


def _sections() -> dict[str, type[Section]]:
    # By an instance: to ask msgspec for the fields of a type takes it as long as to make the type.
    defaults = Config()
    return {name: type(getattr(defaults, name)) for name in Config.__struct_fields__}


def _check_names(tree: Mapping[str, object], where: str, lines: Mapping[str, int] | None = None) -> None:
    """Refuse unknown sections and settings. ``lines`` tells where ``section`` and ``section.key`` stand in a file."""
    sections = _sections()

    def at(key: str) -> str:
        return f"{where}, line {lines[key]}" if lines and key in lines else where

    for section, settings in tree.items():
        if section not in sections:
            raise ConfigError(
                f"{at(str(section))}: unknown section {section!r}. {nearest_or_all(str(section), sections)}"
            )
        if settings is None:
            continue
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{at(section)}: {section} must hold settings (key: value), not {settings!r}.")
        valid = sections[section].__struct_fields__
        for key in settings:
            if key not in valid:
                dotted = f"{section}.{key}"
                raise ConfigError(f"{at(dotted)}: unknown setting {dotted}. {nearest_or_all(str(key), valid)}")


def parse_value(text: str, where: str, section: str, key: str) -> object:
    """The value of a setting that is given as a text: as YAML reads it, or the text itself for a setting that is one.

    Args:
        where: begins the message of a refusal.

    Raises:
        ConfigError: when it is no YAML.
    """
    kind = _sections()[section]
    value = read_yaml(text, where)
    # `stack.folder=2024`: the shell took the quotes away, if there were any.
    is_text = value is not None and not _is_taken(kind, key, value) and _is_taken(kind, key, text)
    return text if is_text else value


def _is_taken(kind: type[Section], key: str, value: object) -> bool:
    try:
        msgspec.convert({key: value}, kind)
    except msgspec.ValidationError:
        return False
    return True


def check_key(dotted: str, where: str) -> tuple[str, str]:
    """The section and the key of ``section.key``.

    Raises:
        ConfigError: when there is no such setting, with the nearest that there is.
    """
    section, _, key = dotted.partition(".")
    _check_names({section: {key: None}} if key else {section: None}, where)
    if not key:
        raise ConfigError(f"{where}: {section} is a section. Name a setting of it, as in {section}.{_first(section)}.")
    return section, key


def _first(section: str) -> str:
    return _sections()[section].__struct_fields__[0]


def check_registered(config: Config, origins: Mapping[str, str]) -> None:
    """Refuse the name of a container back end, kind of store or tracker that this installation does not have.

    This is no part of loading: a machine that only talks to a stack elsewhere needs none of the packages that the stack
    is made of.

    Args:
        config: what is checked.
        origins: ``section.key`` -> where the setting comes from, which begins the message.

    Raises:
        ConfigError: there is no such name, with those that there are.
    """
    # Loaded on demand: the lists of what is installed take longer to import than the rest of this module.
    from rafiki import registries

    stores = config.stores
    for key, name, kind in (
        ("container.backend", config.container.backend, registries.CONTAINERS),
        ("stores.datasets", stores.datasets and stores.datasets.partition("://")[0], registries.STORES),
        ("stores.params", stores.params and stores.params.partition("://")[0], registries.STORES),
        ("tracking.kind", config.tracking.kind, registries.TRACKERS),
    ):
        if name is not None and name not in kind.builtin and name not in kind.names():
            raise ConfigError(f"{origins.get(key, 'default')}: {key}: {kind.open().why_unknown(name)}")


def check_file_text(text: str, file: Path) -> None:
    """Check what a configuration file would hold, before it is written.

    Raises:
        ConfigError: as :func:`load_config` and :func:`check_registered` do, naming ``file``.
    """
    tree, lines = _tree_of(text, file)
    origins = {key: f"{file}, line {line}" for key, line in lines.items()}
    check_registered(_convert(tree, origins), origins)


def _file_layer(file: Path) -> tuple[dict[str, dict[str, object]], dict[str, int]]:
    """The file's settings by section, and the lines of its keys."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        reason = why(e) if isinstance(e, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{file}: cannot be read: {reason}.") from e
    return _tree_of(text, file)


def _tree_of(text: str, file: Path) -> tuple[dict[str, dict[str, object]], dict[str, int]]:
    tree: dict[str, dict[str, object]]
    if plain := read_plain_yaml(text):
        tree = {section: {**(settings or {})} for section, settings in plain.sections.items()}
        lines = plain.lines
    else:
        found = read_yaml(text, str(file))
        if found is None:
            return {}, {}
        if not isinstance(found, dict):
            raise ConfigError(f"{file}: must hold sections such as 'admin:', not a {type(found).__name__}.")
        tree, lines = found, key_lines(text, str(file))
    _check_names(tree, str(file), lines)
    return {section: settings or {} for section, settings in tree.items()}, lines


def _named_by_file(section: str, key: str) -> str | None:
    """The setting whose value is in the file that a variable names: ``RAFIKI_META_STORE__URL_FILE``."""
    setting = key.removesuffix("_file")
    kind = _sections().get(section)
    is_one = kind is not None and setting in kind.__struct_fields__ and key not in kind.__struct_fields__
    return setting if is_one else None


def _read_value(path: str, where: str) -> str:
    """The text of a file that holds a setting's value, such as a secret of a container."""
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as e:
        raise ConfigError(f"{where}: {path} cannot be read: {why(e)}.") from e
    except UnicodeDecodeError as e:
        raise ConfigError(f"{where}: {path} is no text.") from e


def _environment_layer(environ: Mapping[str, str]) -> dict[str, dict[str, object]]:
    tree: dict[str, dict[str, object]] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or "__" not in name or name in _NOT_SETTINGS:
            continue
        section, _, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        where = f"{_VARIABLE} {name}"
        if (setting := _named_by_file(section, key)) is not None:
            if f"{ENV_PREFIX}{section}__{setting}".upper() in environ:
                raise ConfigError(f"{where}: {section}.{setting} is set twice, here and without _FILE: unset one.")
            key, text = setting, _read_value(text, where)
        _check_names({section: {key: text}}, where)
        tree.setdefault(section, {})[key] = parse_value(text, where, section, key)
    return tree


def _convert(tree: dict[str, dict[str, object]], origins: Mapping[str, str]) -> Config:
    sections: dict[str, Section] = {}
    for name, kind in _sections().items():
        settings = dict(tree.get(name, {}))
        for key, value in settings.items():
            # One setting at a time, so that the error can say which layer it came from.
            try:
                msgspec.convert({key: value}, kind)
            except msgspec.ValidationError as e:
                from rafiki.utils import yaml_numbers
                from rafiki.utils.mismatch import explain_mismatch

                number = yaml_numbers.whole(value)
                if number is not None and _is_taken(kind, key, number):
                    settings[key] = number  # 1e3 and 1000.0 are whole numbers.
                    continue
                mismatch = explain_mismatch({key: value}, kind, e)
                origin = origins.get(f"{name}.{key}", "default")
                hint = _hint(kind, key, value)
                raise ConfigError(f"{origin}: {name}.{key} = {value!r}: {mismatch.reason}. {hint}".rstrip()) from e
        sections[name] = msgspec.convert(settings, kind)
    config = msgspec.structs.replace(Config(), **sections)
    _check_values(config, origins)
    return config


def _hint(kind: type[Section], key: str, value: object) -> str:
    """What to write instead, where that would be taken."""
    from rafiki.utils import yaml_numbers

    if isinstance(value, str):
        number = yaml_numbers.number_in(value)
        candidates = [number, None if number is None else yaml_numbers.whole(float(number))]
        found = next((n for n in candidates if n is not None and _is_taken(kind, key, n)), None)
        return "" if found is None else f"Write {yaml_numbers.written(found)}."
    is_scalar = value is not None and not isinstance(value, (list, dict))
    return "Put it in quotes." if is_scalar and _is_taken(kind, key, str(value)) else ""


def _check_values(config: Config, origins: Mapping[str, str]) -> None:
    """Numbers that no type can check."""
    for section in Config.__struct_fields__:
        values = getattr(config, section)
        for name in values.__struct_fields__:
            value = getattr(values, name)
            key = f"{section}.{name}"
            where = origins.get(key, "default")
            if isinstance(value, str) and not value.strip():
                raise ConfigError(f"{where}: {key} = {value!r}: must not be empty. Leave it out for its default.")
            if name == "ports" and value is not None and not 0 < value[0] <= value[1] <= 65535:
                raise ConfigError(f"{where}: {key} = {list(value)}: must be the first and the last port, 1 to 65535.")
            if key in SECRETS and value is not None and not where.startswith(_VARIABLE):
                variable = f"{ENV_PREFIX}{section}__{name}".upper()
                raise ConfigError(
                    f"{where}: {key}: a secret does not belong here. Write it into a file of its own, and name that "
                    f"with {key}_file; or set {variable} in the environment."
                )
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            if name == "port":
                if not 0 <= value <= 65535:
                    raise ConfigError(f"{where}: {key} = {value}: a port lies between 0 and 65535.")
            elif name in _MAY_BE_ZERO:
                if value < 0:
                    raise ConfigError(f"{where}: {key} = {value}: must not be negative.")
            elif name == "ratio":
                if not 0 <= value <= 1:
                    raise ConfigError(f"{where}: {key} = {value}: must be a share, from 0 to 1.")
            elif not 0 < value < math.inf:
                raise ConfigError(f"{where}: {key} = {value}: must be above 0.")


def configured_file(
    file: Path | None = None, *, start: Path | None = None, environ: Mapping[str, str] | None = None
) -> Path | None:
    """The configuration file in force; None = there is none. One that was named need not be there.

    Args:
        file, start, environ: as for :func:`load_config`.
    """
    environ = os.environ if environ is None else environ
    if file is None and environ.get("RAFIKI_CONFIG"):
        file = Path(environ["RAFIKI_CONFIG"])
    if file is not None:
        try:
            return expand(Path.cwd(), str(file))
        except ValueError as e:
            raise ConfigError(f"{file}: cannot be the configuration file: {e}.") from e
    found = find_config_file((start or Path.cwd()).resolve())
    return found.resolve() if found else None


def load_config(
    file: Path | None = None,
    *,
    start: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> LoadedConfig:
    """The configuration in force.

    Args:
        file: the configuration file; None = ``RAFIKI_CONFIG``, else ``rafiki.yaml`` found upward from ``start``.
        start: where the search begins; None = the working folder.
        environ: None = the process environment.
        flags: ``{"admin.port": 3001}``: what command-line options set.

    Raises:
        ConfigError: naming the file or variable, the key, and what is wrong with it.
    """
    environ = os.environ if environ is None else environ
    start = (start or Path.cwd()).resolve()
    found = configured_file(file, start=start, environ=environ)
    if found is not None and not found.is_file():
        reason = "this is a folder; name the file in it" if found.is_dir() else "there is no such configuration file"
        raise ConfigError(f"{found}: {reason}.")

    layers: list[tuple[str, dict[str, dict[str, object]]]] = []
    lines: dict[str, int] = {}
    if found:
        tree_of_file, lines = _file_layer(found)
        layers.append((str(found), tree_of_file))
    for section, settings in _environment_layer(environ).items():
        for key, value in settings.items():
            name = f"{ENV_PREFIX}{section}__{key}".upper()
            name = name if name in environ else f"{name}_FILE"
            layers.append((f"{_VARIABLE} {name}", {section: {key: value}}))
    for dotted, value in (flags or {}).items():
        section, _, key = dotted.partition(".")
        _check_names({section: {key: value}}, "flag")
        layers.append(("flag", {section: {key: value}}))

    tree: dict[str, dict[str, object]] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        for section, settings in layer.items():
            for key, value in settings.items():
                tree.setdefault(section, {})[key] = value
                line = lines.get(f"{section}.{key}") if origin == str(found) else None
                origins[f"{section}.{key}"] = f"{origin}, line {line}" if line else origin
    config = _convert(tree, origins)
    listed = [
        Origin(
            f"{section}.{name}",
            msgspec.to_builtins(getattr(getattr(config, section), name)),
            origins.get(f"{section}.{name}", "default"),
        )
        for section in Config.__struct_fields__
        for name in getattr(config, section).__struct_fields__
    ]
    return LoadedConfig(config, found.parent if found else start, found, listed)


def environment() -> Mapping[str, str]:
    """This process's environment, for whoever expands the variables of a file."""
    return os.environ


def superadmin_password(environ: Mapping[str, str] | None = None) -> str:
    """What :data:`SUPERADMIN_PASSWORD` holds."""
    if password := (os.environ if environ is None else environ).get("SUPERADMIN_PASSWORD"):
        return password
    try:
        loaded = load_config(environ=environ)
        file = loaded.base_folder / loaded.config.stack.folder / SUPERADMIN_PASSWORD_FILE_NAME
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError, ConfigError):
        return ""


def __getattr__(name: str) -> str:
    if name == "SUPERADMIN_PASSWORD":
        return superadmin_password()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def worker_environment(names: list[str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The part of this process's environment that model code may see: an allow-list plus ``names``."""
    environ = os.environ if environ is None else environ
    allowed = [
        "PATH",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "HOME",
        "USER",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "VIRTUAL_ENV",
    ]
    return {name: environ[name] for name in [*allowed, *names] if name in environ}


def installer_settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What of this process's environment says to pip where packages come from: its own settings (``PIP_INDEX_URL`` ...)
    and proxies."""
    environ = os.environ if environ is None else environ
    proxies = [f"{scheme}_proxy" for scheme in ("http", "https", "no", "all")]
    return {n: v for n, v in environ.items() if n.startswith("PIP_") or n.lower() in proxies}


def package_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The part of this process's environment that installing packages may see: what workers see, proxies, and pip's
    own settings (``PIP_INDEX_URL`` ...)."""
    environ = os.environ if environ is None else environ
    return worker_environment(
        [*installer_settings(environ), "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"], environ
    )
