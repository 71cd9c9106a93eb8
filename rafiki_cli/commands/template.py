"""``rafiki template ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rafiki_cli import terminal
from rafiki_cli.completion import completers
from rafiki_cli.completion.arguments import TaskFilterOption
from rafiki_cli.lazy import new_app
from rafiki_cli.render.output import Column, Format, FormatOption, plain_record, put_data, put_rows

if TYPE_CHECKING:
    from rafiki_cli.scaffold.catalogue import TemplateRecord

app = new_app("The model templates that come with Rafiki.")


def _dependencies(row: TemplateRecord) -> str:
    return ", ".join(f"{name}{version}" for name, version in row.dependencies.items())


_COLUMNS: list[Column[TemplateRecord]] = [
    Column("NAME", lambda r: r.name),
    Column("TASK", lambda r: r.task, rank=1),
    Column("CLASS", lambda r: r.model_class, rank=4),
    Column("NEEDS", _dependencies, rank=3),
    Column("EXTRA", lambda r: r.extra, rank=2),
    Column("ABOUT", lambda r: r.about, least=24),
]


@app.command(
    "list",
    epilog="Examples:\n\n  rafiki template list\n\n  rafiki template list --task POS_TAGGING",
)
def list_(
    task: TaskFilterOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """List the model templates that come with Rafiki. EXTRA names what brings a template's packages: `pip install
    'rafiki-ml[EXTRA]'`."""
    from rafiki_cli.scaffold.catalogue import list_templates

    rows = [template.record() for template in list_templates(task)]
    put_rows(rows, _COLUMNS, format, nothing=f"No template is for {task}; `rafiki model new` starts from any other.")
    if rows and format is Format.TABLE and terminal.is_interactive():
        terminal.say(f"\nRead one with `rafiki template show {rows[0].name}`; start from one with `rafiki init`.")


@app.command(
    epilog="Examples:\n\n  rafiki template show image_classification/svm\n\n  rafiki template show svm > svm.py"
)
def show(
    name: Annotated[str, typer.Argument(help="As in `rafiki template list`.", autocompletion=completers.templates)],
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the source of a model template. As JSON or YAML with all that is known of it."""
    from rafiki_cli.scaffold.catalogue import get_template

    template = get_template(name)
    if format is not Format.TABLE:
        put_data({**plain_record(template.record()), "source": template.source()}, format)
    elif terminal.is_interactive():
        from rich.console import Console
        from rich.syntax import Syntax

        # The terminal's own colours, whether its background is dark or light.
        Console().print(Syntax(template.source(), "python", theme="ansi_dark", background_color="default"))
    else:
        terminal.put(template.source().rstrip("\n"))
