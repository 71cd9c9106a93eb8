"""The model templates that come with Rafiki; their list is templates/catalogue.yaml."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rafiki.constants import ExitCode
from rafiki.errors import RafikiError
from rafiki.utils.nearest import ROUGHLY_ALIKE, find_nearest
from rafiki_cli.scaffold.assets import find_asset

DEFAULT_TEMPLATE = "image_classification/decision_tree"


class UnknownTemplateError(RafikiError):
    """There is no such template. List them with `rafiki template list`."""

    exit_code = ExitCode.NOT_FOUND


class TemplateRecord(msgspec.Struct, frozen=True, kw_only=True, rename={"model_class": "class"}):
    """A model template as commands show it."""

    name: str
    task: str
    model_class: str
    dependencies: dict[str, str]
    extra: str | None
    about: str


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"model_class": "class"}):
    """One model template. A file may hold several, for different tasks."""

    name: str
    """As ``image_classification/svm``: the task, and what it is."""
    file: str
    """Below templates/models."""
    model_class: str
    task: str
    dependencies: dict[str, str] = {}
    """PyPI name -> version."""
    extra: str | None = None
    """The extra of Rafiki that brings the dependencies."""
    sample: str
    """The dataset that a project made from it gets."""
    trials: int
    """Of the job of such a project."""
    min_score: float
    """The gate of that job."""

    @property
    def path(self) -> Path:
        """Where the file lies.

        Raises:
            MissingAssetError: when this installation lacks it.
        """
        return find_asset("templates", f"models/{self.file}")

    @property
    def stem(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    def source(self) -> str:
        """The file's text."""
        return self.path.read_text("utf-8")

    def summary(self) -> str:
        """What it is, in one line: the first sentence of the file's docstring."""
        text = " ".join((ast.get_docstring(ast.parse(self.source())) or "").split())
        return text.partition(". ")[0].rstrip(".") + "."

    def sample_files(self) -> dict[str, Path]:
        """The parts of its sample dataset: ``train``, ``val`` and ``query``."""
        folder = find_asset("templates", "samples")
        found = {path.stem.removeprefix(f"{self.sample}_"): path for path in folder.glob(f"{self.sample}_*.*")}
        return {part: found[part] for part in ("train", "val", "query")}

    def record(self) -> TemplateRecord:
        """What commands show of it."""
        return TemplateRecord(
            name=self.name, task=self.task, model_class=self.model_class, dependencies=self.dependencies,
            extra=self.extra, about=self.summary(),
        )  # fmt: skip


def list_templates(task: str | None = None) -> list[Template]:
    """All templates, or those of one task."""
    import yaml

    tree = yaml.safe_load(find_asset("templates", "catalogue.yaml").read_text("utf-8"))
    found = msgspec.convert(tree, list[Template])
    return [t for t in found if task in (None, t.task)]


def get_template(name: str) -> Template:
    """The template of a name; the last part of the name does where it is the only one.

    Raises:
        UnknownTemplateError: naming those that are like it.
    """
    templates = list_templates()
    wanted = name.removesuffix(".py").strip("/")
    if found := next((t for t in templates if t.name == wanted), None):
        return found
    same_end = [t for t in templates if wanted in (t.stem, t.model_class)]
    if len(same_end) == 1:
        return same_end[0]
    if same_end:
        raise UnknownTemplateError(f"{name!r} may be {_listed([t.name for t in same_end])}. Write the whole name.")
    raise UnknownTemplateError(f"There is no template {name!r}. {_hint(wanted, templates)}")


def _hint(wanted: str, templates: Sequence[Template]) -> str:
    # The last part counts too: `svn` is near to `image_classification/svm`.
    spelt = {spelling: t.name for t in reversed(templates) for spelling in (t.stem, t.name)}
    if near := find_nearest(wanted, spelt, ROUGHLY_ALIKE):
        return f"Did you mean {spelt[near]!r}? `rafiki template list` shows all."
    return "`rafiki template list` shows all."


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
