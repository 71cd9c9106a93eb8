"""What people write for a dataset, a model or a trial: its id, its name, or the beginning of its id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from rafiki.constants import InferenceJobStatus
from rafiki.errors import InvalidDatasetError, InvalidModelError, InvalidTrialError, RafikiError
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
    """A model that you can use; your own go before public ones of the same name."""
    me = client.get_current_user().id
    rows = sorted(client.get_available_models(task), key=lambda row: row.user_id != me)
    return choose(rows, wanted, "model", InvalidModelError)


def served_version(client: AdminClient, app: str, version: int) -> int:
    """The version of an app that is meant where none is named (-1): the newest that is served.

    The latest one may never have been served: it missed a gate, or still trains. -1 when none is served.
    """
    if version != -1:
        return version
    live = (InferenceJobStatus.STARTED, InferenceJobStatus.RUNNING)
    served = [j.app_version for j in client.get_inference_jobs_of_app(app) if j.status in live]
    return max(served, default=-1)


def is_whole_id(text: str) -> bool:
    """Whether ``text`` looks like an id that need not be looked up."""
    return len(text) == 36 and text.count("-") == 4


def trial_name(trial: TrialView) -> str:
    """``SkSvm#10``: a trial within its train job."""
    return f"{trial.model_name}#{trial.no}"


def trial(client: AdminClient, wanted: str, name: str | None = None, version: int = -1) -> TrialView:
    """A trial: by its id or the beginning of that, or by its app (``wanted``) and ``name`` (``SkSvm#10``).

    Raises:
        InvalidTrialError: when none fits, or several do.
    """
    if name is not None:
        return _trial_of_app(client, wanted, name, version)
    if is_whole_id(wanted):
        return client.get_trial(wanted)
    if len(wanted) < _MIN_PREFIX or not set(wanted.lower()) <= set("0123456789abcdef-"):
        raise InvalidTrialError(
            f"{wanted!r} is no id of a trial, nor the first {_MIN_PREFIX} letters of one or more. By its app it is "
            f"named as in `rafiki trial show {wanted if '#' not in wanted else 'APP'} MODEL#1`."
        )
    found = [
        t
        for job in client.get_train_jobs_by_user()
        for t in client.get_trials_of_train_job(job.app, job.app_version)
        if t.id.startswith(wanted.lower())
    ]
    if not found:
        raise InvalidTrialError.not_found(f"None of your trials has an id that begins with {wanted!r}.")
    if len(found) > 1:
        raise InvalidTrialError(f"{wanted!r} begins the ids of {len(found)} trials. Write more of the id.")
    return found[0]


def _trial_of_app(client: AdminClient, app: str, name: str, version: int) -> TrialView:
    rows = client.get_trials_of_train_job(app, version)
    found = [t for t in rows if trial_name(t) == name or t.id.startswith(name.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(t.id for t in found)
        raise InvalidTrialError(f"{name!r} means {len(found)} trials of {app!r}. Name one by its id: {ids}.")
    names = [trial_name(t) for t in rows]
    hint = did_you_mean(name, names, f"See `rafiki train trials {app}`.")
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
