"""``rafiki template``: the catalogue is complete and true, and what is shown of it."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from rafiki.constants import ExitCode
from rafiki.environments.requirements import parse_dependencies
from rafiki.tasks.registry import get_task
from rafiki_cli.scaffold.catalogue import DEFAULT_TEMPLATE, Template, get_template, list_templates
from rafiki_cli.scaffold.find_class import model_classes
from rafiki_cli.scaffold.rewrite import make_model_source

ROOT = Path(__file__).parents[2]
TEMPLATES = list_templates()
MODULES = {"scikit-learn": "sklearn"}
each_template = pytest.mark.parametrize("template", TEMPLATES, ids=[t.name for t in TEMPLATES])


def test_every_model_of_every_template_file_is_in_the_catalogue_once() -> None:
    models = ROOT / "templates" / "models"
    in_files = {
        (file.relative_to(models).as_posix(), name)
        for file in models.rglob("*.py")
        for name in model_classes(file.read_text())
    }
    listed = [(t.file, t.model_class) for t in TEMPLATES]
    assert sorted(listed) == sorted(in_files)
    assert len({t.name for t in TEMPLATES}) == len(TEMPLATES)


@each_template
def test_a_template_is_named_after_its_task_and_says_what_it_imports(template: Template) -> None:
    assert template.name.startswith(template.task.lower() + "/")
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(make_model_source(template, template.model_class)))
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    # numpy and scipy are Rafiki's own; threadpoolctl comes with scikit-learn.
    foreign = imported - sys.stdlib_module_names - {"rafiki", "numpy", "scipy", "threadpoolctl"}
    assert foreign == {MODULES.get(d, d) for d in template.dependencies}
    assert [r.name for r in parse_dependencies(template.dependencies)] == sorted(template.dependencies)


@each_template
def test_the_extra_of_a_template_brings_its_dependencies(template: Template) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    brought = extras[template.extra] if template.extra else []
    for name, version in template.dependencies.items():
        assert any(line.partition(";")[0].strip().replace("-cpu", "") == f"{name}{version}" for line in brought)


@each_template
def test_the_sample_of_a_template_fits_its_task(template: Template) -> None:
    sample, rules = template.sample_files(), get_task(template.task)
    rules.validate_dataset(sample["train"])
    rules.validate_dataset(sample["val"])
    rules.decode_query(sample["query"].read_bytes())


def test_the_list_can_be_read_by_people_and_programs(cli) -> None:
    out = cli("template", "list").out
    assert all(t.name in out for t in TEMPLATES)
    rows = json.loads(cli("template", "list", "-o", "json").out)
    svm = next(r for r in rows if r["name"] == "image_classification/svm")
    assert svm == {
        "name": "image_classification/svm", "task": "IMAGE_CLASSIFICATION", "class": "SkSvm",
        "dependencies": {"scikit-learn": ">=1.4"}, "extra": "templates",
        "about": "A support vector machine on pixels: accurate on small images, and no more than numpy to serve.",
    }  # fmt: skip
    tagging = json.loads(cli("template", "list", "--task", "POS_TAGGING", "-o", "json").out)
    assert {r["task"] for r in tagging} == {"POS_TAGGING"}
    assert [r["name"] for r in tagging] == [r["name"] for r in rows if r["task"] == "POS_TAGGING"]


def test_a_task_without_templates_is_answered_with_what_there_is_to_do(cli) -> None:
    result = cli("template", "list", "--task", "COOKING")
    assert (result.code, result.out) == (0, "")
    assert "rafiki model new" in result.err


def test_the_source_is_shown_as_it_is(cli, folder: Path) -> None:
    template = get_template("image_classification/svm")
    assert cli("template", "show", "svm").out == template.source()
    shown = yaml.safe_load(cli("template", "show", "svm", "-o", "yaml").out)
    assert shown["source"] == template.source()
    assert shown["class"] == "SkSvm"


def test_on_a_terminal_the_source_has_colours(folder: Path) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "rafiki_cli", "template", "show", "svm"]
    child = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    out = b""
    try:
        while chunk := os.read(leader, 65536):
            out += chunk
    except OSError:  # how a terminal ends on Linux
        pass
    os.close(leader)
    assert child.wait(60) == 0
    assert b"\x1b[" in out
    assert b"SkSvm" in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("image_classification/svn", "Did you mean 'image_classification/svm'?"),
        ("desicion_tree", "Did you mean 'image_classification/decision_tree'?"),
        ("linear", "tabular_classification/linear or tabular_regression/linear"),
        ("zzz", "`rafiki template list` shows all"),
    ],
)
def test_a_name_that_means_nothing_is_answered_with_the_nearest(cli, name: str, message: str) -> None:
    result = cli("template", "show", name)
    assert result.code == ExitCode.NOT_FOUND
    assert message in result.err


@pytest.mark.parametrize("name", ["svm", "svm.py", "SkSvm", "image_classification/svm"])
def test_a_name_may_be_as_short_as_it_is_clear(name: str) -> None:
    assert get_template(name).name == "image_classification/svm"


def test_the_default_template_needs_no_more_than_the_templates_extra() -> None:
    template = get_template(DEFAULT_TEMPLATE)
    assert template.extra == "templates"
    assert all(importlib.util.find_spec(MODULES.get(d, d)) for d in template.dependencies)
