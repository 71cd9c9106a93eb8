"""``rafiki init``."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from rafiki_cli import terminal
from rafiki_cli.completion import completers
from rafiki_cli.lazy import new_app

app = new_app("Start a project.")
_DEFAULT = "image_classification/decision_tree"
_MODULES = {"scikit-learn": "sklearn"}


@app.command(
    epilog="Examples:\n\n  rafiki init demo\n\n  rafiki init penguins --template tabular_classification/linear\n\n"
    "  rafiki init . --name my-app --force"
)
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The project's folder.")] = Path(),
    template: Annotated[
        str,
        typer.Option(help="The model template, as in `rafiki template list`.", autocompletion=completers.templates),
    ] = _DEFAULT,
    name: Annotated[str | None, typer.Option(help="The app's name; the folder's name if left out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Start a project: a model from a template, a sample dataset, a job, tests and CI. It runs as it is. Nothing is
    overwritten without --force."""
    from rafiki_cli.scaffold import names
    from rafiki_cli.scaffold.catalogue import get_template
    from rafiki_cli.scaffold.files import tree_lines, write_files
    from rafiki_cli.scaffold.project import model_name, project_files

    chosen = get_template(template)
    app_name = names.check_app(name) if name is not None else names.app_from(folder.resolve().name)
    written = write_files(folder.absolute(), project_files(app_name, chosen), force=force)
    if not written:
        terminal.say(f"{folder}: everything is there already, as `rafiki init` writes it.")
        return
    for line in tree_lines(str(folder), written):
        terminal.put(line)
    module = model_name(app_name, chosen).module
    query = chosen.sample_files()["query"].name
    steps = [] if folder.absolute() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    steps += install_steps(chosen.dependencies, chosen.distribution)
    steps += [
        f"rafiki model test models/{module}.py",
        "rafiki up",
        "rafiki run job.yaml",
        f"rafiki predict {app_name} --query-file data/{query}",
    ]
    terminal.say("\nNext:\n" + "\n".join(f"  {step}" for step in steps))


def install_steps(dependencies: Iterable[str], distribution: str) -> list[str]:
    """What to install first, where something that the model imports is missing."""
    lacking = [d for d in dependencies if importlib.util.find_spec(_MODULES.get(d, d)) is None]
    return [f"pip install '{distribution}'"] if lacking else []
