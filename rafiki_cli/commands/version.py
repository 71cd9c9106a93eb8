"""``rafiki version``."""

from __future__ import annotations

from rafiki import __version__
from rafiki_cli import terminal
from rafiki_cli.lazy import new_app

app = new_app("The version.")


@app.command()
def version() -> None:
    """Print the version of Rafiki."""
    terminal.put(__version__)
