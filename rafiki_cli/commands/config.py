"""``rafiki config ...``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from rafiki_cli import options, terminal
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, Row, put_data, put_rows

app = new_app("Show and check the configuration.")


def mask_secrets(value: Any) -> Any:
    """A setting with the password of a URL in it hidden."""
    if not isinstance(value, str) or "://" not in value:
        return value
    # Up to the last @: a password that was not percent-encoded may hold any sign.
    masked = re.sub(r"(://[^/@:]*):.*@", r"\1:***@", value)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", masked)


@app.command(epilog=examples("rafiki config show", "rafiki config show --origin"))
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Also tell which layer each setting comes from.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show every setting in force: defaults < rafiki.yaml < RAFIKI_SECTION__KEY in the environment < options."""
    loaded = options.loaded_config()
    rows = [{"key": o.key, "value": mask_secrets(o.value), "origin": o.origin} for o in loaded.origins]
    if format is not Format.TABLE and not origin:
        tree: dict[str, dict[str, Any]] = {}
        for row in rows:
            section, _, key = row["key"].partition(".")
            tree.setdefault(section, {})[key] = row["value"]
        put_data(tree, format)
        return
    columns = [
        Column("SETTING", "key"),
        Column("VALUE", "value", least=20),
        Column("ORIGIN", "origin", short=_short_origin, least=20),
    ]
    put_rows(rows, columns if origin else columns[:2], format)
    if format is Format.TABLE:
        terminal.say(f"File: {loaded.file or 'none (rafiki.yaml is looked for upward from this folder)'}")


def _short_origin(row: Row) -> str:
    """A file without its folder: ``rafiki.yaml, line 4``."""
    return str(row["origin"]).rpartition("/")[2]


@app.command(epilog=examples("rafiki config validate", "rafiki config validate rafiki.yaml"))
def validate(
    file: Annotated[Path | None, typer.Argument(help="The one in force if left out.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Check the configuration. Exits with 2 and says where the first mistake is."""
    if file is not None:
        terminal.check_file(file)
        options.current.config_file = file
    loaded = options.loaded_config()
    changed = [o for o in loaded.origins if o.origin != "default"]
    if format is not Format.TABLE:
        put_data({"file": str(loaded.file) if loaded.file else None, "changed": [o.key for o in changed]}, format)
    differ = f"{values.count(len(changed), 'setting')} differ{'s' if len(changed) == 1 else ''} from the defaults"
    terminal.say(f"{loaded.file or 'The configuration'} is valid: {differ}.")
