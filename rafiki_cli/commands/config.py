"""``rafiki config ...``."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.errors import ConfigError
from rafiki.utils.paths import why
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_data, put_rows
from rafiki_cli.target import local_stack

if TYPE_CHECKING:
    from rafiki.config import Origin

app = new_app("Show, check and change the configuration.")
KeyArgument = Annotated[str, typer.Argument(help="SECTION.KEY, as in admin.port.", autocompletion=completers.settings)]


@dataclass(frozen=True)
class SettingRow:
    """A setting in force."""

    key: str
    value: object
    origin: str


def mask_secrets(key: str, value: object) -> object:
    """A setting with what is secret in it hidden: all of it, or the password of a URL."""
    from rafiki.config import SECRETS

    if key in SECRETS and value is not None:
        return "***"
    if not isinstance(value, str) or "://" not in value:
        return value
    # Up to the last @: a password that was not percent-encoded may hold any sign.
    masked = re.sub(r"(://[^/@:]*):.*@", r"\1:***@", value)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", masked)


@app.command(epilog=examples("rafiki config show", "rafiki config show --origin"))
def show(
    cli: Application,
    origin: Annotated[bool, typer.Option("--origin", help="Also show which layer each setting comes from.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show every setting in force: defaults < rafiki.yaml < RAFIKI_SECTION__KEY in the environment < options."""
    loaded = cli.loaded_config()
    rows = [SettingRow(o.key, mask_secrets(o.key, o.value), o.origin) for o in loaded.origins]
    if format is not Format.TABLE and not origin:
        tree: dict[str, dict[str, object]] = {}
        for row in rows:
            section, _, key = row.key.partition(".")
            tree.setdefault(section, {})[key] = row.value
        put_data(tree, format)
        return
    columns: list[Column[SettingRow]] = [
        Column("SETTING", lambda r: r.key),
        Column("VALUE", lambda r: r.value, least=20),
        Column("ORIGIN", lambda r: r.origin, short=_short_origin, least=20),
    ]
    put_rows(rows, columns if origin else columns[:2], format)
    if format is Format.TABLE:
        terminal.say(f"File: {loaded.file or 'none (rafiki.yaml is looked for upward from this folder)'}")


def _setting(cli: Application, name: str) -> Origin:
    """The setting in force of that name, and where it comes from.

    Raises:
        ConfigError: when there is no such setting.
    """
    from rafiki.config import check_key

    key = ".".join(check_key(name, "KEY"))
    return next(o for o in cli.loaded_config().origins if o.key == key)


@app.command(epilog=examples("rafiki config get admin.port", "rafiki config get admin.port -o json"))
def get(cli: Application, key: KeyArgument, format: FormatOption = Format.TABLE) -> None:
    """Print one setting in force."""
    found = _setting(cli, key)
    value = mask_secrets(found.key, found.value)
    if format is Format.TABLE:
        terminal.put("" if value is None else values.text(value))
    else:
        put_data({"key": found.key, "value": value, "origin": found.origin}, format)


@app.command(
    "set",
    epilog=examples(
        "rafiki config set admin.port 3001",
        "rafiki config set container.gpus '[0, 1]'",
        "rafiki config set meta_store.url - < url.txt",
        "rafiki config set admin.port --unset",
    ),
)
def set_(
    cli: Application,
    key: KeyArgument,
    value: Annotated[
        str | None,
        typer.Argument(
            help="The value, as in YAML; `-` reads it from stdin.", autocompletion=completers.setting_values
        ),
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Take the setting out: its default counts again.")] = False,
) -> None:
    """Change one setting in rafiki.yaml, and keep its comments and order; the file is made if there is none."""
    from rafiki.config import CONFIG_FILE_NAME, check_file_text, check_key
    from rafiki.config_text import check_yaml
    from rafiki.utils.files import write_atomic
    from rafiki_cli.yaml_files import config_edit

    if (value is None) != unset:
        raise terminal.UsageError("Give a VALUE, or --unset.")
    section, name = check_key(key, "KEY")
    file = _file_to_change(cli) or Path.cwd() / CONFIG_FILE_NAME
    old = terminal.read_text(file, "the configuration") if file.exists() else ""
    check_yaml(old, str(file))  # A file that is no YAML is not changed blindly.
    try:
        if unset:
            new = config_edit.unset(old, section, name)
        else:
            new = config_edit.set_value(old, section, name, _parsed(value, section, name))
    except config_edit.CannotEditError as e:
        raise ConfigError(f"{file}: {e.message}") from e
    try:
        check_file_text(new, file)
    except ConfigError as e:
        raise ConfigError(f"{e.message} Nothing was written.") from e
    if new == old:
        terminal.say(f"{file}: {'there is no' if unset else 'nothing to change in'} {key}.")
        return
    try:
        write_atomic(file, new.encode(), mode=file.stat().st_mode & 0o777 if file.exists() else 0o644)
    except OSError as e:
        raise ConfigError(f"{file}: cannot be written: {why(e)}.") from e
    terminal.say(f"{file}: {f'took {key} out' if unset else f'set {key}'}.")
    _show_effect(cli, key)


def _parsed(value: str | None, section: str, name: str) -> object:
    from rafiki.config import parse_value

    if value == "-":
        value = sys.stdin.read().strip()
    return parse_value(value or "", "VALUE", section, name)


def _file_to_change(cli: Application) -> Path | None:
    """The file in force, or the one that --config or RAFIKI_CONFIG names, which need not be there yet."""
    from rafiki.config import configured_file

    return configured_file(cli.options.config_file)


def _show_effect(cli: Application, key: str) -> None:
    """Whether the change counts at once."""
    found = _setting(cli, key)
    if found.origin.startswith("environment"):
        terminal.warn(f"{found.origin} goes before it.")
    if local_stack.find_admin(cli.stack_folder()):
        terminal.hint("The stack runs: the change counts from the next `rafiki up`. Next: rafiki down && rafiki up")


def _short_origin(row: SettingRow) -> str:
    """A file without its folder: ``rafiki.yaml, line 4``."""
    return str(row.origin).rpartition("/")[2]


@app.command(epilog=examples("rafiki config validate", "rafiki config validate rafiki.yaml"))
def validate(
    cli: Application,
    file: Annotated[Path | None, typer.Argument(help="The one in force if left out.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Check the configuration. Exits with 2 and says where the first mistake is."""

    if file is not None:
        terminal.check_file(file)
        cli.options.config_file = file
    loaded = cli.loaded_config()
    loaded.check_registered()
    changed = [o for o in loaded.origins if o.origin != "default"]
    if format is not Format.TABLE:
        put_data({"file": str(loaded.file) if loaded.file else None, "changed": [o.key for o in changed]}, format)
    differ = f"{values.count(len(changed), 'setting')} differ{'s' if len(changed) == 1 else ''} from the defaults"
    terminal.say(f"{loaded.file or 'The configuration'} is valid: {differ}.")
