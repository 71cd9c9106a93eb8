"""``rafiki stop-all``."""

from __future__ import annotations

from typing import Annotated

import typer

from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Format, FormatOption, put_data

app = new_app("What only the superadmin does.")


@app.command("stop-all", epilog=examples("rafiki stop-all", "rafiki stop-all --yes -o json"))
def stop_all(
    cli: Application,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Stop every train and inference job of everyone: for the superadmin. The stack itself stays up."""
    with cli.client() as client:
        question = f"Stop the train and inference jobs of everyone at {client.address}?"
        if not yes and not terminal.ask(question):
            terminal.abort("Nothing was stopped.")
        stopped = client.stop_all_jobs()
    if format is not Format.TABLE:
        put_data(stopped, format)
        return
    trained, served = len(stopped.train_jobs), len(stopped.inference_jobs)
    terminal.say(f"Stopped {values.count(trained, 'train job')} and {values.count(served, 'inference job')}.")
