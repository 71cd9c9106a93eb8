"""A train job as people write it: flags over a YAML file, names where the admin wants ids."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rafiki.constants import BudgetOption
from rafiki.errors import InvalidDatasetError, InvalidModelError
from rafiki.utils.nearest import nearest_or_all
from rafiki.utils.yaml_keys import find_duplicate_key
from rafiki_cli.target import resolve
from rafiki_cli.terminal import UsageError, read_text

if TYPE_CHECKING:
    from rafiki.client import Client

_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "app": (str, "a text"),
    "task": (str, "a text"),
    "train_dataset_id": (str, "an id or a name"),
    "val_dataset_id": (str, "an id or a name"),
    "budget": (dict, "options such as MODEL_TRIAL_COUNT: 10"),
    "model_ids": (list, "a list of ids or names"),
    "train_args": (dict, "arguments of the models' train()"),
    "advisor": ((str, dict), "the name of a search scheme, or settings such as scheme: asha"),
}
"""The keys of a job file: those of the body of POST /train_jobs."""


@dataclass
class JobSpec:
    """A train job before names are looked up. None = not said."""

    app: str | None = None
    task: str | None = None
    train_dataset_id: str | None = None
    val_dataset_id: str | None = None
    budget: dict[str, Any] = field(default_factory=dict)
    model_ids: list[str] | None = None
    train_args: dict[str, Any] = field(default_factory=dict)
    advisor: dict[str, Any] = field(default_factory=dict)

    def update(self, other: Mapping[str, Any]) -> None:
        """Take over what ``other`` says; budget, train_args and advisor key by key."""
        for key, value in other.items():
            if value is None:
                continue
            if key == "advisor" and isinstance(value, str):
                self.advisor["scheme"] = value
            elif key in ("budget", "train_args", "advisor"):
                getattr(self, key).update(value)
            else:
                setattr(self, key, value)

    def resolved(self, client: Client) -> dict[str, Any]:
        """The arguments of ``Client.create_train_job``.

        Raises:
            UsageError: when something is missing.
            InvalidDatasetError, InvalidModelError: when a name means nothing.
        """
        missing = [
            option
            for option, value in (
                ("--app", self.app),
                ("--train", self.train_dataset_id),
                ("--val", self.val_dataset_id),
            )
            if value is None
        ]
        if missing or self.train_dataset_id is None or self.val_dataset_id is None:
            them = "it as an option" if len(missing) == 1 else "them as options"
            raise UsageError(f"Missing: {', '.join(missing)}. Give {them} or in a job file (-f).")
        train = resolve.dataset(client, self.train_dataset_id)
        val = resolve.dataset(client, self.val_dataset_id)
        task = self.task or train["task"]
        for option, dataset in (("--train", train), ("--val", val)):
            if dataset["task"] != task:
                raise InvalidDatasetError(
                    f"{option}: the dataset {dataset['name']!r} is for {dataset['task']}, not for {task}."
                )
        models = None
        if self.model_ids is not None:
            models = [_model_for(client, m, task)["id"] for m in self.model_ids]
        return {
            "app": self.app,
            "task": task,
            "train_dataset_id": train["id"],
            "val_dataset_id": val["id"],
            "budget": self.budget,
            "models": models,
            "train_args": self.train_args or None,
            "advisor": self.advisor or None,
        }


def _model_for(client: Client, wanted: str, task: str) -> dict[str, Any]:
    """A model of the task; of the same name, one of that task goes before others.

    Raises:
        InvalidModelError: when there is none, or it is for another task.
    """
    try:
        return resolve.model(client, wanted, task)
    except InvalidModelError:
        other = resolve.model(client, wanted)  # Without a task: tells a wrong name from a wrong task.
    raise InvalidModelError(f"The model {other['name']!r} is for {other['task']}, not for {task}.")


def read_job_file(file: Path) -> JobSpec:
    """A job file.

    Raises:
        UsageError: with the file and line of what is wrong: bad YAML, an unknown key or a value of the wrong kind.
    """
    import yaml

    text = read_text(file, "this job file")
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{file}{line}: this is not valid YAML: {getattr(e, 'problem', e)}.") from e
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{file}: a job file holds keys such as 'app: digits'.")
    if found := find_duplicate_key(root):
        key, first, second = found
        raise UsageError(f"{file}, line {second}: {key} stands here a second time (first in line {first}).")
    lines = _lines(root)
    _check(tree, lines, str(file))
    spec = JobSpec()
    spec.update(tree)
    return spec


def _lines(root: Any) -> dict[str, int]:
    """Key -> line, and ``budget.KEY`` -> line."""
    lines = {}
    for key, value in root.value:
        lines[str(key.value)] = key.start_mark.line + 1
        if key.value == "budget" and hasattr(value, "value") and isinstance(value.value, list):
            for inner in value.value:
                if isinstance(inner, tuple):
                    lines[f"budget.{inner[0].value}"] = inner[0].start_mark.line + 1
    return lines


def _check(tree: Mapping[str, Any], lines: Mapping[str, int], file: str) -> None:
    for key, value in tree.items():
        where = f"{file}, line {lines.get(str(key), 1)}"
        if key not in _KINDS:
            raise UsageError(f"{where}: unknown key {key!r}. {nearest_or_all(str(key), _KINDS)}")
        kind, about = _KINDS[key]
        if value is not None and not isinstance(value, kind):
            raise UsageError(f"{where}: {key} must be {about}, not {value!r}.")
    if not all(isinstance(m, str) for m in tree.get("model_ids") or []):
        raise UsageError(f"{file}, line {lines['model_ids']}: model_ids must be a list of ids or names.")
    options = [str(o) for o in BudgetOption]
    for option, value in (tree.get("budget") or {}).items():
        where = f"{file}, line {lines.get(f'budget.{option}', 1)}"
        if option not in options:
            raise UsageError(f"{where}: unknown budget option {option!r}. {nearest_or_all(str(option), options)}")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or (isinstance(value, float) and not math.isfinite(value)):
            raise UsageError(f"{where}: budget.{option} must be a number, not {value!r}.")


def parse_knobs(texts: list[str]) -> list[dict[str, Any]]:
    """``--try '{"depth": 3}'`` options as knobs.

    Raises:
        UsageError: when one is no JSON object.
    """
    found = []
    for text in texts:
        try:
            knobs = json.loads(text)
        except ValueError as e:
            raise UsageError(f"--try {text}: this is not JSON: {e}.") from e
        if not isinstance(knobs, dict):
            raise UsageError(f"--try {text}: write a JSON object of knobs: '{{\"depth\": 3}}'.")
        found.append(knobs)
    return found


def parse_arguments(pairs: list[str], option: str = "--arg") -> dict[str, Any]:
    """``--arg KEY=JSON`` options as a dict; what is no JSON is taken as a text.

    Raises:
        UsageError: when one has no ``=``.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {pair}: write KEY=JSON, as in epochs=5.")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found
