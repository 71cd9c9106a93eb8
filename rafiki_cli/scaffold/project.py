"""What a new project, or a new model in one, consists of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from rafiki_cli.scaffold.assets import find_asset
from rafiki_cli.scaffold.catalogue import Template
from rafiki_cli.scaffold.names import ModelName, camel_case, snake_case
from rafiki_cli.scaffold.requirement import ProjectRequirement
from rafiki_cli.scaffold.rewrite import make_model_source
from rafiki_cli.scaffold.schemas import schema_files

_PLACEHOLDER = re.compile(r"@\{(\w+)(:yaml)?\}")
# YAML 1.1 reads these as something other than text.
_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"}
TEST = "tests/test_model.py.tmpl"
REQUIREMENTS = "requirements.txt"
_WORKERS = 2


def model_name(app: str, template: Template) -> ModelName:
    """What the model of a project is called: after its app and its template."""
    model_class = camel_case(app) + camel_case(template.stem)
    return ModelName(model_class, snake_case(model_class))


def project_files(app: str, template: Template, requirement: ProjectRequirement) -> dict[str, bytes]:
    """A whole project: path -> contents.

    Args:
        requirement: by which another machine gets Rafiki.

    Raises:
        MissingAssetError: when this installation lacks a file.
    """
    name = model_name(app, template)
    values = {**_values(app, template, name), "rafiki": requirement.text()}
    files = {}
    for path, text in _project_texts():
        if path != TEST:
            files[_target(path)] = fill(text, values).encode()
    return {**files, **model_files(template, name), **schema_files()}


def model_files(template: Template, name: ModelName) -> dict[str, bytes]:
    """One model with its test and the sample data that the test needs: path in the project -> contents.

    Raises:
        UsageError: when the template uses the name for something else.
    """
    test = (find_asset("templates", "project") / TEST).read_text("utf-8")
    return {
        f"models/{name.module}.py": make_model_source(template, name.model_class).encode(),
        f"tests/test_{name.module}.py": fill(test, _values("", template, name)).encode(),
        **sample_files(template),
    }


def sample_files(template: Template) -> dict[str, bytes]:
    """The sample data of a template's task."""
    return {f"data/{path.name}": path.read_bytes() for path in template.sample_files().values()}


def job_lines(template: Template, name: ModelName) -> str:
    """A model as an entry of job.yaml's list of models."""
    return f"  - file: models/{name.module}.py\n    class: {name.model_class}\n{_dependency_lines(template)}".rstrip()


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text with its placeholders ``@{name}`` filled; ``@{name:yaml}`` is quoted where YAML needs that.

    Raises:
        KeyError: when there is no such value.
    """

    def value_of(match: re.Match[str]) -> str:
        value = values[match[1]]
        return yaml_text(value) if match[2] else value

    return _PLACEHOLDER.sub(value_of, text)


def yaml_text(text: str) -> str:
    """A text as a YAML scalar that is read as this text."""
    is_plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", text) and text.lower() not in _YAML_WORDS
    return text if is_plain else json.dumps(text)


def _values(app: str, template: Template, name: ModelName) -> dict[str, str]:
    sample = template.sample_files()
    return {
        "app": app,
        "task": template.task,
        "template": template.name,
        "model_class": name.model_class,
        "module": name.module,
        "train_file": sample["train"].name,
        "val_file": sample["val"].name,
        "query_file": sample["query"].name,
        "dependencies_lines": _dependency_lines(template),
        "trials": str(template.trials),
        "workers": str(_WORKERS),
        "min_score": f"{template.min_score:g}",
        "least_score": f"{template.min_score / 2:g}",
        "data_about": _about_sample(template.sample),
    }


def _dependency_lines(template: Template) -> str:
    if not template.dependencies:
        return ""
    pairs = ", ".join(f"{yaml_text(n)}: {json.dumps(v)}" for n, v in template.dependencies.items())
    return f"    dependencies: {{{pairs}}}\n"


def _about_sample(sample: str) -> str:
    """What the README of the samples says of one."""
    text = find_asset("templates", "samples/README.md").read_text("utf-8")
    section = text.partition(f"## {sample}\n")[2]
    return section.partition("\n## ")[0].strip()


def _project_texts() -> Iterator[tuple[str, str]]:
    root = find_asset("templates", "project")
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root)
        # What tools left there (.ruff_cache, __pycache__) is no part of it.
        if path.is_file() and not any(part.startswith((".", "__")) for part in inner.parts):
            yield inner.as_posix(), path.read_text("utf-8")


def _target(path: str) -> str:
    """Where a file of templates/project goes. ``dot_`` stands for a leading dot there, and some names end in ``.tmpl``:
    under their own names, tools would act on such files in Rafiki's own repository."""
    parts = PurePosixPath(path.removesuffix(".tmpl")).parts
    return "/".join(f".{part.removeprefix('dot_')}" if part.startswith("dot_") else part for part in parts)
