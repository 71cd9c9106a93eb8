"""``rafiki model new``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rafiki_cli import terminal
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app

app = new_app("New models.")

_PROJECT_FILE = "rafiki.yaml"


@app.command(
    epilog=examples(
        "rafiki model new DigitsSvm --template image_classification/svm",
        "rafiki model new prices --template tabular_regression/linear --dir ../other",
    )
)
def new(
    name: Annotated[str, typer.Argument(help="The model's class, as DigitsTree; its file is digits_tree.py.")],
    template: Annotated[
        str,
        typer.Option(help="What to start from, as in `rafiki template list`.", autocompletion=completers.templates),
    ] = "image_classification/decision_tree",
    folder: Annotated[
        Path | None, typer.Option("--dir", help="The project's folder; that of the nearest rafiki.yaml if left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Write a model from a template, and its test: models/<name>.py and tests/test_<name>.py in the project's folder.
    Sample data that the test needs goes into data/. Nothing is overwritten without --force."""
    from rafiki_cli.commands.init import install_steps
    from rafiki_cli.scaffold.catalogue import get_template
    from rafiki_cli.scaffold.files import tree_lines, write_files
    from rafiki_cli.scaffold.names import parse_model_name
    from rafiki_cli.scaffold.project import REQUIREMENTS, job_lines, model_files, sample_files
    from rafiki_cli.scaffold.requirement import line_with_extra

    names = parse_model_name(name)
    chosen = get_template(template)
    project = folder if folder is not None else _find_project()
    # Data that is there is somebody's own by now, also where it has the name of a sample.
    samples = sample_files(chosen)
    written = write_files(project.absolute(), model_files(chosen, names), force=force, keep=samples)
    if not written:
        terminal.say(f"models/{names.module}.py and its test are there already, as `rafiki model new` writes them.")
        return
    for line in tree_lines(str(project), written):
        terminal.put(line)
    train, val = (chosen.sample_files()[part].name for part in ("train", "val"))
    steps = install_steps(chosen.dependencies, chosen.extra)
    place = project / "models" / f"{names.module}.py"
    data = {"--train": project / "data" / train, "--val": project / "data" / val}
    options = [str(part) for option in data.items() for part in option]
    steps.append(shlex.join(["rafiki", "model", "test", str(place), "--task", chosen.task, *options]))
    terminal.say("\nNext:\n" + "\n".join(f"  {step}" for step in steps))
    if (file := project / REQUIREMENTS).is_file() and chosen.extra:
        wanted = line_with_extra(file.read_text("utf-8", "replace"), chosen.extra)
        if wanted is not None:
            terminal.say(f"\nIts tests in CI need what it imports. Put this line into {file}:\n\n  {wanted}")
    terminal.say(f"\nA job for {chosen.task} trains it with these lines below `models:` in job.yaml:\n")
    terminal.say(job_lines(chosen, names))


def _find_project() -> Path:
    here = Path.cwd()
    found = next((p for p in (here, *here.parents) if (p / _PROJECT_FILE).is_file()), here)
    return Path() if found == here else found
