"""``rafiki init``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from rafiki.distribution import install_command
from rafiki_cli import terminal
from rafiki_cli.completion import completers
from rafiki_cli.lazy import new_app

app = new_app("Start a project.")
_DEFAULT = "image_classification/decision_tree"


@app.command(
    epilog="Examples:\n\n  rafiki init demo\n\n  rafiki init penguins --template tabular_classification/linear\n\n"
    "  rafiki init . --name my-app --force\n\n"
    "  rafiki init demo --requirement 'rafiki-ml @ https://example.org/rafiki.zip'"
)
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The project's folder.")] = Path(),
    template: Annotated[
        str,
        typer.Option(help="The model template, as in `rafiki template list`.", autocompletion=completers.templates),
    ] = _DEFAULT,
    name: Annotated[str | None, typer.Option(help="The app's name; the folder's name if left out.")] = None,
    requirement: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Where requirements.txt gets Rafiki, as pip takes it: a version, an address, or a wheel in the "
            "project. Where this installation came from, if left out.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Start a project: a model from a template, a sample dataset, a job, tests and CI. It runs as it is. Nothing is
    overwritten without --force."""
    from rafiki_cli.origin import find_origin
    from rafiki_cli.scaffold import names
    from rafiki_cli.scaffold.catalogue import get_template
    from rafiki_cli.scaffold.files import tree_lines, write_files
    from rafiki_cli.scaffold.project import REQUIREMENTS, model_name, project_files
    from rafiki_cli.scaffold.requirement import is_unfilled, parse_requirement, requirement_of

    chosen = get_template(template)
    app_name = names.check_app(name) if name is not None else names.app_from(folder.resolve().name)
    if requirement is not None:
        wanted = parse_requirement(requirement, chosen.extra, folder)
    else:
        wanted = requirement_of(find_origin(), chosen.extra)
    there = folder / REQUIREMENTS
    # Where nothing was known to ask for, a second `rafiki init` may say it.
    replace = [REQUIREMENTS] if there.is_file() and is_unfilled(there.read_bytes()) else []
    written = write_files(folder.absolute(), project_files(app_name, chosen, wanted), force=force, replace=replace)
    if not written:
        terminal.say(f"{folder}: everything is there already, as `rafiki init` writes it.")
        return
    for line in tree_lines(str(folder), written):
        terminal.put(line)
    if name is None and app_name != folder.resolve().name:
        terminal.say(f"The app is called {app_name}, after the folder; --name gives it another name.")
    module = model_name(app_name, chosen).module
    query = chosen.sample_files()["query"].name
    steps = [] if folder.absolute() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    steps += install_steps(chosen.dependencies, chosen.extra)
    steps += [
        f"rafiki model test models/{module}.py",
        "rafiki up",
        "rafiki run job.yaml",
        f"rafiki predict {app_name} --query-file data/{query}",
    ]
    terminal.say("\nNext:\n" + "\n".join(f"  {step}" for step in steps))
    if wanted.warning:
        terminal.say("")
        terminal.warn(wanted.warning)


def install_steps(dependencies: Iterable[str], extra: str | None) -> list[str]:
    """What to install first, where something that the model imports is missing."""
    from rafiki_cli.scaffold.installed import is_installed

    lacking = [d for d in dependencies if not is_installed(d)]
    return [install_command(extra)] if lacking else []
