"""``rafiki model check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rafiki.constants import ExitCode
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion.arguments import ModelArgument
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import progress, values
from rafiki_cli.render.output import Column, Format, FormatOption, put_data, put_record
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.contract.models import ModelView

app = new_app("Checks of models.")


@app.command(epilog=examples("rafiki model check wine", "rafiki model check wine@2 -o json"))
def check(
    cli: Application,
    model: ModelArgument,
    format: FormatOption = Format.TABLE,
) -> None:
    """Check again whether a model loads, with more time than at its upload, and show what the check before found.
    Exits with 3 when it does not load."""
    client = cli.client()
    before = client.get_model(model) if resolve.is_whole_id(model) else resolve.model(client, model)
    with progress.installing(client, before.dependencies):
        now = client.check_model(before.id)
    if format is Format.TABLE:
        columns: list[Column[ModelView]] = [
            Column("MODEL", lambda r: r.ref),
            Column("BEFORE", lambda _: f"{values.local_time(before.datetime_checked or before.datetime_created)}: "
                   f"{result_text(before)}"),
            Column("NOW", result_text),
        ]  # fmt: skip
        put_record(now, columns, format)
    else:
        put_data({"before": before, "now": now}, format)
    if now.load_error:
        terminal.finish(ExitCode.REFUSED)


def result_text(model: ModelView) -> str:
    """``loads, 3 knobs``, or why it does not."""
    return model.load_error or f"loads, {values.count(len(model.knob_config or {}), 'knob')}"
