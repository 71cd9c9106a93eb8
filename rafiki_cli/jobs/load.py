"""From a job file to specs that hold together, or to one clear error about the first thing that is wrong."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from rafiki import registries
from rafiki.deployment import Replicas
from rafiki.errors import RafikiError
from rafiki.registry import Kind
from rafiki.utils.nearest import did_you_mean, nearest_or_all
from rafiki.utils.shares import parse_share
from rafiki.utils.values import JsonObject, JsonValue
from rafiki_cli.jobs.convert import convert, look
from rafiki_cli.jobs.overrides import Override, apply_settings, put_override
from rafiki_cli.jobs.spec import AUTO, DatasetSource, Deploy, Ensemble, Gates, JobFile, JobSpec, ModelSource, Part
from rafiki_cli.scaffold.find_class import find_model_class, model_classes
from rafiki_cli.target.resolve import mistyped_task
from rafiki_cli.terminal import UsageError, check_file
from rafiki_cli.yaml_files.placed_tree import Key, PlacedTree, read_placed_tree

E = TypeVar("E", bound=RafikiError)


class LoadedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A spec that is valid as far as this machine can tell: files are there, models can be parsed."""

    spec: JobSpec
    folder: Path
    """Where its relative paths start."""
    train: DatasetSource
    val: DatasetSource
    models: list[ModelSource]
    """As in the spec, with their classes and names filled in where they have files."""
    tree: PlacedTree
    top: Key
    """The place of the job in the file."""

    def error(self, key: Key, reason: str) -> UsageError:
        """The error for a value of the job, with its place in the file."""
        return self.tree.error((*self.top, *key), reason)

    def placed(self, key: Key, error: E) -> E:
        """The same error with the place in the file that it is about."""
        return error.with_message(self.error(key, error.message).message)

    def path(self, text: str) -> Path:
        """A path of the spec."""
        return self.folder / Path(text).expanduser()


def load_jobs(file: Path, environ: Mapping[str, str], settings: Sequence[str] = ()) -> list[LoadedJob]:
    """The jobs of a file, in its order.

    Args:
        settings: ``KEY.KEY=YAML`` values that go over those of the file.

    Raises:
        UsageError: with file, line and column of the first thing that is wrong.
    """
    tree = read_placed_tree(file, environ)
    apply_settings(tree, settings)
    return [_complete(spec, file.resolve().parent, tree, top) for top, spec in _specs(tree)]


class LoadedTraining(msgspec.Struct, frozen=True, kw_only=True):
    """A job of which only the training is wanted."""

    job: LoadedJob
    left_out: list[str]
    """The keys of the job that say what comes after the training: ``["ensemble", "gates"]``."""


def load_training(
    file: Path, environ: Mapping[str, str], overrides: Sequence[Override] = (), app: str | None = None
) -> LoadedTraining:
    """One job of a file, without what comes after its training.

    Args:
        overrides: values that go over those of the job.
        app: in a file of several jobs, the app of the one that is meant; of a single job, its new name.

    Raises:
        UsageError: with file, line and column of the first thing that is wrong.
    """
    tree = read_placed_tree(file, environ)
    top = _choose_job(tree, app)
    if app is not None:
        put_override(tree, top, Override(("app",), app, f"--app {app}"))
    for override in overrides:
        put_override(tree, top, override)
    spec = next(spec for at, spec in _specs(tree) if at == top)
    left_out = [key for key in ("ensemble", "gates", "deploy") if (look(tree.value, (*top, key)) not in (None, False))]
    spec = msgspec.structs.replace(spec, ensemble=None, gates=Gates(), deploy=False)
    return LoadedTraining(job=_complete(spec, file.resolve().parent, tree, top), left_out=left_out)


def _choose_job(tree: PlacedTree, app: str | None) -> Key:
    jobs = _mapping(tree).get("jobs")
    if not isinstance(jobs, list):
        return ()
    if len(jobs) < 2:
        return ("jobs", 0)
    apps = [str(look(job, ("app",))) for job in jobs]
    if app is None:
        raise tree.error(("jobs",), f"{len(jobs)} jobs stand here, for {', '.join(apps)}. Choose one with --app.")
    if app not in apps:
        hint = did_you_mean(app, apps, f"There are: {', '.join(apps)}.")
        raise tree.error(("jobs",), f"no job here is of the app {app!r} (--app). {hint}")
    return ("jobs", apps.index(app))


def _mapping(tree: PlacedTree) -> JsonObject:
    if not isinstance(tree.value, dict):
        raise tree.error((), "a job spec is a mapping that begins with `app: NAME`.")
    return tree.value


def _specs(tree: PlacedTree) -> list[tuple[Key, JobSpec]]:
    """The jobs of a file, each with where it stands."""
    if "jobs" in _mapping(tree):
        specs = convert(tree, (), JobFile).jobs
        tops: list[Key] = [("jobs", i) for i in range(len(specs))]
    else:
        specs, tops = [convert(tree, (), JobSpec)], [()]
    _refuse_same_apps(tree, specs, tops)
    return list(zip(tops, specs, strict=True))


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A model file in a job file, and what its job says of how it is trained."""

    model: ModelSource
    task: str | None
    train: DatasetSource | None
    val: DatasetSource | None
    train_args: JsonObject


def find_model_entry(file: Path, model_file: Path, environ: Mapping[str, str]) -> ModelEntry | None:
    """What a job file says of a model file; None when it does not name it.

    The rest of the job file is not looked at, and a variable that is not set stays as it is written: what needs it is
    known only where the job runs.

    Raises:
        UsageError: with file, line and column, when the file is no YAML or what concerns the model is wrong.
    """
    tree = read_placed_tree(file, environ, must_be_set=False)
    folder = file.resolve().parent
    several = look(tree.value, ("jobs",)) if isinstance(tree.value, dict) else None
    tops: list[Key] = [("jobs", i) for i in range(len(several))] if isinstance(several, list) else [()]
    for top in tops:
        models = look(tree.value, (*top, "models"))
        for i, model in enumerate(models if isinstance(models, list) else []):
            named = look(model, ("file",))
            if isinstance(named, str) and (folder / Path(named).expanduser()).resolve() == model_file.resolve():
                return _model_entry(tree, folder, top, i)
    return None


def _model_entry(tree: PlacedTree, folder: Path, top: Key, i: int) -> ModelEntry:
    def dataset(part: str) -> DatasetSource | None:
        given = look(tree.value, (*top, "datasets", part))
        if given is None:
            return None
        return (
            _dataset_of_text(folder, given)
            if isinstance(given, str)
            else convert(tree, (*top, "datasets", part), DatasetSource)
        )

    task, train_args = look(tree.value, (*top, "task")), look(tree.value, (*top, "train_args"))
    return ModelEntry(
        model=convert(tree, (*top, "models", i), ModelSource),
        task=None if task is None else convert(tree, (*top, "task"), str),
        train=dataset("train"),
        val=dataset("val"),
        train_args={} if train_args is None else convert(tree, (*top, "train_args"), JsonObject),
    )


# ---- what no type can say


def _refuse_same_apps(tree: PlacedTree, specs: Sequence[JobSpec], tops: Sequence[Key]) -> None:
    seen: dict[str, Key] = {}
    for spec, top in zip(specs, tops, strict=True):
        if spec.app in seen:
            first = tree.place((*seen[spec.app], "app"))
            raise tree.error((*top, "app"), f"{spec.app!r} is the app of another job too ({first}). One job an app.")
        seen[spec.app] = top


def _complete(spec: JobSpec, folder: Path, tree: PlacedTree, top: Key) -> LoadedJob:
    job = LoadedJob(spec=spec, folder=folder, train=DatasetSource(), val=DatasetSource(), models=[], tree=tree, top=top)
    _check_name(job, ("app",), spec.app)
    _check_task(job)
    _check_advisor(job)
    sources = {part: _dataset(job, ("datasets", part), getattr(spec.datasets, part)) for part in ("train", "val")}
    models = [_model(job, ("models", i), model) for i, model in enumerate(spec.models)]
    _refuse_same_names(job, models)
    _check_numbers(job)
    return msgspec.structs.replace(job, train=sources["train"], val=sources["val"], models=models)


_NAME = re.compile(r"[^\s/\\#@]+")


def _check_name(job: LoadedJob, key: Key, name: str) -> None:
    if not _NAME.fullmatch(name) or not name.isprintable():
        fitting = "-".join(re.findall(_NAME.pattern, "".join(c if c.isprintable() else " " for c in name)))
        hint = f" Write {fitting}." if fitting else ""
        raise job.error(key, f"{name!r} cannot be a name: no spaces, slashes, `#` or `@`.{hint}")


def _check_task(job: LoadedJob) -> None:
    task = job.spec.task
    if task is None:
        return
    if hint := mistyped_task(task):
        raise job.error(("task",), f"{task!r} is no task of Rafiki's. {hint}")


def _check_advisor(job: LoadedJob) -> None:
    given = job.spec.advisor
    if isinstance(given, str):
        return _check_known(job, ("advisor",), given, registries.SCHEMES)
    _check_known(job, ("advisor", "scheme"), given.scheme, registries.SCHEMES)
    if isinstance(given.early_ending, str):
        return _check_known(job, ("advisor", "early_ending"), given.early_ending, registries.RULES)
    rule = AUTO if given.early_ending is None else given.early_ending.rule
    return _check_known(job, ("advisor", "early_ending", "rule"), rule, registries.RULES)


def _check_known(job: LoadedJob, key: Key, name: JsonValue, kind: Kind) -> None:
    """Refuses what is mistyped. Any other name is the server's to know: it may have packages that are not here."""
    if not isinstance(name, str) or name == AUTO or name in (names := kind.names()):
        return
    if hint := did_you_mean(name.lower(), names, least=0.7):
        raise job.error(key, f"there is no {kind.what} {name!r}. {hint}")


def _one_of(job: LoadedJob, key: Key, part: Part, names: Sequence[str]) -> str:
    given = [name for name in names if getattr(part, name) is not None]
    if len(given) != 1:
        what = " and ".join(given) if given else "none"
        raise job.error(key, f"give exactly one of {', '.join(names)}; here is {what}.")
    return given[0]


def _dataset(job: LoadedJob, key: Key, given: str | DatasetSource) -> DatasetSource:
    source = _dataset_of_text(job.folder, given) if isinstance(given, str) else given
    _one_of(job, key, source, ("path", "url", "name", "id"))
    if source.as_ is not None:
        if source.path is None and source.url is None:
            raise job.error((*key, "as"), "only what is uploaded (path, url) can be named anew.")
        _check_name(job, (*key, "as"), source.as_)
    if source.path is not None:
        path_key = key if isinstance(given, str) else (*key, "path")
        file = job.path(source.path)
        _check_file(job, path_key, file)
        if file.stat().st_size == 0:
            raise job.error(path_key, f"{file} is empty.")
    if source.url is not None and not re.match(r"https?://[^/\s]+", source.url):
        raise job.error(key if isinstance(given, str) else (*key, "url"), "must be an http or https address.")
    return source


def _dataset_of_text(folder: Path, text: str) -> DatasetSource:
    if "://" in text:
        return DatasetSource(url=text)
    looks_like_path = "/" in text or "\\" in text or bool(Path(text).suffix) or text.startswith("~")
    if looks_like_path or (folder / Path(text).expanduser()).exists():
        return DatasetSource(path=text)
    if re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", text):
        return DatasetSource(id=text)
    return DatasetSource(name=text)


def _check_file(job: LoadedJob, key: Key, file: Path) -> None:
    try:
        check_file(file)
    except UsageError as e:
        raise job.error(key, e.message) from e


def _model(job: LoadedJob, key: Key, model: ModelSource) -> ModelSource:
    if model.file is None and model.template is None:
        _one_of(job, key, model, ("file", "template", "name", "id"))
        for name, value in (("class", model.class_), ("dependencies", model.dependencies)):
            if value is not None:
                raise job.error((*key, name), "is of a model that is uploaded, and this one is on the server already.")
        return model
    if model.id is not None or (model.file is not None and model.template is not None):
        raise job.error(key, "give exactly one of file, template, name and id; `name` may go with the first two.")
    if model.template is not None:
        model = _from_template(job, key, model)
    file = job.path(model.file or "")
    _check_file(job, (*key, "file"), file)
    class_name = _model_class(job, key, file, model.class_)
    name = model.name or class_name
    _check_name(job, (*key, "name"), name)
    for package in model.dependencies or {}:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", package):
            raise job.error((*key, "dependencies", package), "is no name of a package on PyPI.")
    return msgspec.structs.replace(model, class_=class_name, name=name)


def _from_template(job: LoadedJob, key: Key, model: ModelSource) -> ModelSource:
    from rafiki_cli.scaffold.catalogue import UnknownTemplateError, get_template

    try:
        template = get_template(model.template or "")
    except UnknownTemplateError as e:
        raise job.error((*key, "template"), e.message) from e
    if job.spec.task is not None and template.task != job.spec.task:
        raise job.error((*key, "template"), f"{model.template} is for {template.task}, not for {job.spec.task}.")
    dependencies = template.dependencies if model.dependencies is None else model.dependencies
    return msgspec.structs.replace(
        model, file=str(template.path), class_=model.class_ or template.model_class, dependencies=dependencies
    )


def _model_class(job: LoadedJob, key: Key, file: Path, wanted: str | None) -> str:
    if wanted is None:
        try:
            return find_model_class(file)
        except UsageError as e:
            reason = e.message.replace("--class", "`class:`")
            raise job.error((*key, "file"), reason) from e
    try:
        source = file.read_text("utf-8")
        names = [n.name for n in ast.parse(source).body if isinstance(n, ast.ClassDef)]
    except SyntaxError as e:
        raise job.error((*key, "file"), f"{file}, line {e.lineno}: this is not valid Python: {e.msg}.") from e
    except ValueError as e:
        raise job.error((*key, "file"), f"{file}: this is no UTF-8 text, or holds a zero byte.") from e
    if names and wanted not in names and not re.search(rf"^(from|import)\b.*\b{re.escape(wanted)}\b", source, re.M):
        raise job.error(
            (*key, "class"), f"{file} has no class {wanted!r}. {nearest_or_all(wanted, model_classes(source) or names)}"
        )
    return wanted


def _refuse_same_names(job: LoadedJob, models: Sequence[ModelSource]) -> None:
    seen: dict[str, int] = {}
    for i, model in enumerate(models):
        name = model.name or model.id or ""
        if name in seen:
            raise job.error(
                ("models", i), f"{name!r} is the name of models[{seen[name]}] too. Give one of them another `name:`."
            )
        seen[name] = i


def _check_rollout(job: LoadedJob) -> None:
    deploy = job.spec.deploy
    if not isinstance(deploy, Deploy):
        return
    if deploy.canary is not None and deploy.shadow:
        raise job.error(("deploy", "shadow"), "a shadow answers nothing: leave `canary` or `shadow` out.")
    rules = deploy.rollback
    shares: list[tuple[tuple[str, ...], str | float | None]] = [(("deploy", "canary"), deploy.canary)]
    if rules is not None:
        shares += [
            (("deploy", "rollback", "errors"), rules.errors),
            (("deploy", "rollback", "disagreement"), rules.disagreement),
        ]
    for place, written in shares:
        try:
            if written is not None:
                parse_share(written)
        except ValueError as e:
            raise job.error(place, str(e)) from e


def _check_numbers(job: LoadedJob) -> None:
    spec = job.spec
    if spec.budget.trials == 0:
        raise job.error(("budget", "trials"), "must be 1 or more, or -1 for as many as the time allows; not 0.")
    gates = spec.gates
    if gates.min_ensemble_score is not None and (spec.ensemble is None or spec.deploy is False):
        what = "`deploy: false`" if spec.deploy is False else "no `ensemble`"
        raise job.error(("gates", "min_ensemble_score"), f"needs an ensemble that is served, and here is {what}.")
    _check_rollout(job)
    most = spec.budget.trials * len(job.spec.models)
    if gates.min_trials is not None and 0 < most < gates.min_trials:
        raise job.error(
            ("gates", "min_trials"), f"{gates.min_trials} trials cannot complete: the budget allows {most} in all."
        )
    if isinstance(spec.ensemble, Ensemble) and spec.ensemble.method == "best" and (spec.ensemble.size or 1) > 1:
        raise job.error(("ensemble", "size"), "`best` serves one trial: leave size out, or choose mean or greedy.")
    replicas = spec.deploy.replicas if isinstance(spec.deploy, Deploy) else None
    if isinstance(replicas, Replicas) and (problem := replicas.problem) is not None:
        raise job.error(("deploy", "replicas"), problem)
