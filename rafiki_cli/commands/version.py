"""``rafiki version``."""

from __future__ import annotations

from rafiki import __version__
from rafiki_cli import terminal
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Format, FormatOption, put_data

app = new_app("The version.")


@app.command(epilog=examples("rafiki version", "rafiki version -o json"))
def version(format: FormatOption = Format.TABLE) -> None:
    """Print the version of Rafiki."""
    if format is Format.TABLE:
        terminal.put(__version__)
    else:
        put_data({"version": __version__}, format)
