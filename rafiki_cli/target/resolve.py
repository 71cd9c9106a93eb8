"""What people write for a dataset, a model or a trial: its id, its name, or the beginning of its id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from rafiki.constants import InferenceJobStatus
from rafiki.errors import InvalidDatasetError, InvalidModelError, InvalidTrialError, InvalidUserError, RafikiError
from rafiki.utils.ids import model_ref, parse_model_ref
from rafiki.utils.nearest import did_you_mean
from rafiki_cli import terminal

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.datasets import DatasetView
    from rafiki.contract.models import ModelView
    from rafiki.contract.train_jobs import TrialView


class Named(Protocol):
    """What has an id and a name."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


Found = TypeVar("Found", bound=Named)
_MIN_PREFIX = 4
_MOST_NAMED = 4
"""How many trials a message names."""


def choose(rows: Sequence[Found], wanted: str, what: str, error: type[RafikiError]) -> Found:
    """The row that ``wanted`` means; of several with the same name the first (``rows`` come newest first).

    Raises:
        RafikiError: of the class ``error``, when no row fits, or the beginning of an id fits several.
    """
    for row in rows:
        if row.id == wanted:
            return row
    for row in rows:
        if row.name == wanted:
            return row
    if len(wanted) >= _MIN_PREFIX:
        found = [row for row in rows if row.id.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise error(f"{wanted!r} begins the ids of {len(found)} {what}s. Write more of the id.")
    names = list(dict.fromkeys(row.name for row in rows))
    there_are = f"There are: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}."
    hint = did_you_mean(wanted, names, there_are if names else f"Upload one with `rafiki {what} upload`.")
    raise error.not_found(f"There is no {what} {wanted!r} that you can use. {hint}")


def dataset(client: AdminClient, wanted: str) -> DatasetView:
    """One of your datasets."""
    return choose(client.get_datasets(), wanted, "dataset", InvalidDatasetError)


def model(client: AdminClient, wanted: str, task: str | None = None) -> ModelView:
    """A model that you can use: see :func:`choose_model`."""
    rows = client.get_available_models(all_versions=True)
    return choose_model(rows, wanted, client.get_current_user().id, task)


def newest_versions(rows: Iterable[ModelView]) -> list[ModelView]:
    """Of each model of each owner the newest version, in the order of the first ones."""
    newest: dict[tuple[str, str], ModelView] = {}
    for row in rows:
        known = newest.get((row.user_id, row.name))
        if known is None or known.version < row.version:
            newest[row.user_id, row.name] = row
    return list(newest.values())


def choose_model(rows: Sequence[ModelView], wanted: str, user_id: str, task: str | None = None) -> ModelView:
    """The model that ``wanted`` means: ``wine`` is its newest version, ``wine@2`` that one.

    Of several with the name, one of the task goes before others, and the user's own before public ones.

    Args:
        rows: all versions.

    Raises:
        InvalidModelError: when none is meant, or the beginning of an id fits several.
    """

    def best_first(found: Iterable[ModelView]) -> list[ModelView]:
        return sorted(found, key=lambda row: (task not in (None, row.task), row.user_id != user_id))

    if any(row.id == wanted for row in rows):
        return next(row for row in rows if row.id == wanted)
    # A name first: models of earlier versions of Rafiki may have one like `wine@2`.
    if named := best_first(row for row in newest_versions(rows) if row.name == wanted):
        return named[0]
    if (ref := parse_model_ref(wanted)) is not None:
        name, version = ref
        versions = best_first(row for row in rows if row.name == name)
        if found := next((row for row in versions if row.version == version), None):
            return found
        if versions:
            numbers = sorted(row.version for row in versions if row.user_id == versions[0].user_id)
            there_are = ", ".join(model_ref(name, number) for number in numbers)
            raise InvalidModelError.not_found(f"There is no version {version} of {name!r}. There are: {there_are}.")
    return choose(newest_versions(rows), wanted, "model", InvalidModelError)


def served_version(client: AdminClient, app: str, version: int) -> int:
    """The version of an app that is meant where none is named (-1): the newest that is served.

    The latest one may never have been served: it missed a gate, or still trains. -1 when none is served.
    """
    if version != -1:
        return version
    live = (InferenceJobStatus.STARTED, InferenceJobStatus.RUNNING)
    served = [j.app_version for j in client.get_inference_jobs_of_app(app) if j.status in live]
    return max(served, default=-1)


def user_id(client: AdminClient, email: str | None) -> str | None:
    """The id of a user, for admins; None for nobody.

    Raises:
        InvalidUserError: there is none with that email.
    """
    if email is None:
        return None
    found = [user.id for user in client.get_users() if user.email.casefold() == email.casefold()]
    if not found:
        raise InvalidUserError(f"There is no user {email!r}. `rafiki user list` shows all.")
    return found[0]


def is_whole_id(text: str) -> bool:
    """Whether ``text`` looks like an id that need not be looked up."""
    return len(text) == 36 and text.count("-") == 4


def trial_name(trial: TrialView) -> str:
    """``SkSvm#10``: a trial within its train job."""
    return trial.label


def trial(client: AdminClient, wanted: str, name: str | None = None, version: int = -1) -> TrialView:
    """A trial: by its id or the beginning of that, or by its app (``wanted``: ``digits`` or ``digits@2``) and ``name``
    (``SkSvm#10``, or ``10`` where one model has a trial of that number).

    Raises:
        InvalidTrialError: when none fits, or several do; it lists what to type.
    """
    if name is not None:
        return _trial_of_app(client, *app_and_version(wanted, version), name)
    if is_whole_id(wanted):
        return client.get_trial(wanted)
    jobs = client.get_train_jobs_by_user()
    if _is_prefix(wanted):
        trials = [t for job in jobs for t in client.get_trials_of_train_job(job.app, job.app_version)]
        found = [t for t in trials if t.id.startswith(wanted.lower())]
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidTrialError(f"{wanted!r} begins the ids of {len(found)} trials. Write more of the id.")
    return _trial_in_words(client, wanted, version, [job.app for job in jobs])


def _is_named(trial: TrialView, text: str) -> bool:
    """Whether ``text`` names the trial: with the version of its model (``wine@3#4``) or without."""
    names = (f"{trial.model_name}#{trial.no}", f"{trial.model_ref}#{trial.no}")
    return text.lower() in [name.lower() for name in names]


def _is_prefix(text: str) -> bool:
    return len(text) >= _MIN_PREFIX and set(text.lower()) <= set("0123456789abcdef-")


def app_and_version(text: str, version: int = -1) -> tuple[str, int]:
    """An app with its version, as in ``digits@2`` or ``digits/2``; without one, ``version``."""
    m = re.fullmatch(r"([^@/]+)[@/]v?(\d+)", text)
    return (m[1], int(m[2])) if m and version == -1 else (text, version)


def _trial_in_words(client: AdminClient, wanted: str, version: int, apps: Sequence[str]) -> TrialView:
    """The trial that one word names: ``SkSvm#2`` where the latest job of one app alone has it."""
    app, version = app_and_version(wanted, version)
    if app in apps:
        rows = client.get_trials_of_train_job(app, version)
        if len(rows) == 1:
            return rows[0]
        raise InvalidTrialError(f"{wanted!r} is an app. Name a trial of it: {_to_type(wanted, rows)}.")
    if "#" in wanted:
        found = [
            (app, t)
            for app in dict.fromkeys(apps)
            for t in client.get_trials_of_train_job(app, -1)
            if _is_named(t, wanted)
        ]
        if len(found) == 1:
            return found[0][1]
        if found:
            words = ", ".join(f"`{_command()} {app} {trial_name(t)}`" for app, t in found[:_MOST_NAMED])
            raise InvalidTrialError(f"{len(found)} apps have a trial {wanted!r}. Name one: {words}.")
    if _is_prefix(wanted):
        raise InvalidTrialError.not_found(f"None of your trials has an id that begins with {wanted!r}.")
    hint = did_you_mean(wanted, list(dict.fromkeys(apps)), f"By its app it is named as in `{_command()} APP MODEL#1`.")
    raise InvalidTrialError(
        f"{wanted!r} is no app, and no id of a trial or the first {_MIN_PREFIX} letters of one. {hint}"
    )


def _command() -> str:
    """The command that is run, as it was typed: ``rafiki trial logs``."""
    context = terminal.find_context()
    path = str(context.command_path) if context is not None else ""
    return path if " trial " in f"{path} " else "rafiki trial show"


def _to_type(app: str, trials: Sequence[TrialView]) -> str:
    """The commands for some trials of an app: the first ones, and how to see all."""
    if not trials:
        return "it has none yet"
    commands = ", ".join(f"`{_command()} {app} {trial_name(t)}`" for t in trials[:_MOST_NAMED])
    return f"{commands}; `rafiki train trials {app}` lists them" if len(trials) > _MOST_NAMED else commands


def _trial_of_app(client: AdminClient, app: str, version: int, name: str) -> TrialView:
    rows = client.get_trials_of_train_job(app, version)
    exact = [t for t in rows if trial_name(t).lower() == name.lower()]
    exact = exact or [t for t in rows if _is_named(t, name)]
    number = name.removeprefix("#")
    found = exact or [t for t in rows if number.isdecimal() and t.no == int(number)]
    found = found or [t for t in rows if _is_prefix(name) and t.id.startswith(name.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        if len({trial_name(t) for t in found}) == len(found):
            raise InvalidTrialError(f"{name!r} means {len(found)} trials of {app!r}. Name one: {_to_type(app, found)}.")
        ids = ", ".join(t.id for t in found)
        raise InvalidTrialError(f"{name!r} means {len(found)} trials of {app!r}. Name one by its id: {ids}.")
    names = [trial_name(t) for t in rows]
    hint = did_you_mean(name, names, f"Its trials: {_to_type(app, rows)}.")
    raise InvalidTrialError.not_found(f"There is no trial {name!r} of {app!r}. {hint}")


def check_task(task: str | None) -> None:
    """Warn when a task is no known one but looks like one: it would silently be a custom task."""

    if task is None:
        return
    if hint := mistyped_task(task):
        terminal.warn(f"{task!r} is taken as a custom task, whose datasets and queries nobody checks. {hint}")


def mistyped_task(task: str) -> str:
    """``Did you mean 'IMAGE_CLASSIFICATION'?`` for a slip in the name of a task; empty for what may be a custom one."""
    from rafiki import registries

    names = registries.TASKS.names()
    return "" if task in names else did_you_mean(task.upper().replace("-", "_"), names, least=0.8)
