"""``rafiki version``."""

from __future__ import annotations

from rafiki import __version__
from rafiki.errors import RafikiError
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Format, FormatOption, put_data

app = new_app("The version.")


@app.command(epilog=examples("rafiki version", "rafiki version -o json"))
def version(cli: Application, format: FormatOption = Format.TABLE) -> None:
    """Print the version of Rafiki, and that of the admin which commands here go to, when it runs."""
    admin = _find_admin(cli)
    if format is not Format.TABLE:
        put_data({"version": __version__, **({"admin": admin} if admin else {})}, format)
        return
    terminal.put(__version__)
    if admin is not None:
        terminal.put(f"admin {admin['version']} at {admin['address']}")


def _find_admin(cli: Application) -> dict[str, str] | None:
    """Address and version of the admin; None when none is meant here, or it does not answer."""
    from rafiki_cli.target import session
    from rafiki_cli.target.health import health

    try:
        found = cli.target()
    except RafikiError:
        return None
    if found.source in (session.Source.DOWN, session.Source.DEFAULT):
        return None
    answer = health(found.host, found.port, trust=found.trust)
    return {"address": found.address, "version": str(answer.get("version"))} if answer else None
