"""What may be freed: from what is there to items, without any effect. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

import msgspec

from rafiki.constants import GarbageKind
from rafiki.entities import SavedTrial, StoredFile

LEAST_AGE_OF_ORPHANS_S = 24 * 3600.0
"""A file may be there before what refers to it: a trial's parameters are, until its advisor has written them down."""


class ObservedEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """Installed packages, ready to be used."""

    key: str
    requirements: list[str]
    size_bytes: int
    datetime_built: datetime
    n_models: int
    is_in_use: bool


class ObservedLog(msgspec.Struct, frozen=True, kw_only=True):
    """The log of a service, or of the builds of an environment."""

    name: str
    size_bytes: int
    datetime_modified: datetime
    of: str
    """Whose it is, for people."""
    is_live: bool
    """Whether its service runs, or its environment is there."""
    datetime_ended: datetime | None
    """When its service ended; None when there is no record of it."""


class ObservedStore(msgspec.Struct, frozen=True, kw_only=True):
    """A store of files, looked at before what refers to them."""

    name: str
    """``params`` or ``datasets``."""
    files: list[StoredFile]
    referred: frozenset[str]
    """The ids that records refer to."""
    is_ours_alone: bool
    """Whether it is in the stack's own folder: another one may be shared with stacks whose records are elsewhere."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """All that is looked at."""

    now: datetime
    trials: list[SavedTrial]
    """Those with parameters; of each model together, best first."""
    served_trial_ids: frozenset[str]
    """Of live deployments."""
    last_served_trial_ids: frozenset[str]
    """Of the latest deployment of each train job, live or not."""
    stores: list[ObservedStore]
    environments: list[ObservedEnvironment]
    logs: list[ObservedLog]
    oldest_live_job_started: datetime | None
    """Of live train jobs."""


class GarbageItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that may go."""

    id: str
    """``params:<trial id>``, ``environments:<key>``, ``logs:<file>`` or ``orphans:<store>:<file id>``."""
    kind: GarbageKind
    name: str
    size_bytes: int
    reason: str
    target: SavedTrial | StoredFile | str
    """The trial, the file, or the key of the environment or name of the log."""
    store: str | None = None
    """Of an orphan."""


def plan_garbage(
    observed: Observed, *, what: Collection[GarbageKind] | None, keep: int, older_than_s: float
) -> list[GarbageItem]:
    """What may go, by kind; in each kind, the largest first.

    Args:
        observed: what is there.
        what: these kinds; None = all, but orphans only from stores in the stack's own folder.
        keep: so many trials of each model of each train job, the best ones, keep their parameters.
        older_than_s: nothing goes that was of use within this time.
    """
    before = observed.now - timedelta(seconds=older_than_s)
    found: list[GarbageItem] = []
    for kind, plan in (
        (GarbageKind.PARAMS, _plan_params(observed, keep, before)),
        (GarbageKind.ENVIRONMENTS, _plan_environments(observed, before)),
        (GarbageKind.LOGS, _plan_logs(observed, before)),
        (GarbageKind.ORPHANS, _plan_orphans(observed, before, only_ours=what is None)),
    ):
        if what is None or kind in what:
            found += sorted(plan, key=lambda item: (-item.size_bytes, item.id))
    return found


def _plan_params(observed: Observed, keep: int, before: datetime) -> Iterator[GarbageItem]:
    sizes = {f.id: f.size_bytes for store in observed.stores if store.name == "params" for f in store.files}
    needed = observed.served_trial_ids | observed.last_served_trial_ids
    ranks: Counter[str] = Counter()
    for trial in observed.trials:
        ranks[trial.sub_train_job_id] += 1
        rank = ranks[trial.sub_train_job_id]
        is_recent = trial.datetime_stopped is None or trial.datetime_stopped > before
        if trial.is_job_live or rank <= keep or trial.id in needed or is_recent:
            continue
        yield GarbageItem(
            id=f"params:{trial.id}", kind=GarbageKind.PARAMS,
            name=f"{trial.app} v{trial.app_version} {trial.label}",
            size_bytes=sizes.get(trial.params_id, 0),
            reason=f"number {rank} of its model, and not deployed", target=trial,
        )  # fmt: skip


def _plan_environments(observed: Observed, before: datetime) -> Iterator[GarbageItem]:
    for e in observed.environments:
        if e.n_models == 0 and not e.is_in_use and e.datetime_built <= before:
            yield GarbageItem(
                id=f"environments:{e.key}", kind=GarbageKind.ENVIRONMENTS,
                name=f"{e.key} ({', '.join(e.requirements)})", size_bytes=e.size_bytes,
                reason="no model depends on it", target=e.key,
            )  # fmt: skip


def _plan_logs(observed: Observed, before: datetime) -> Iterator[GarbageItem]:
    for log in observed.logs:
        last_used = max(log.datetime_modified, log.datetime_ended or log.datetime_modified)
        if not log.is_live and last_used <= before:
            ended = "it ended" if log.datetime_ended else "it is not known any more; last written"
            yield GarbageItem(
                id=f"logs:{log.name}", kind=GarbageKind.LOGS, name=log.of, size_bytes=log.size_bytes,
                reason=f"{ended} {last_used:%Y-%m-%d}", target=log.name,
            )  # fmt: skip


def _plan_orphans(observed: Observed, before: datetime, *, only_ours: bool) -> Iterator[GarbageItem]:
    before = min(before, observed.now - timedelta(seconds=LEAST_AGE_OF_ORPHANS_S))
    if observed.oldest_live_job_started is not None:
        # Whatever a job's workers have written since its start may still be reported.
        before = min(before, observed.oldest_live_job_started)
    for store in observed.stores:
        if only_ours and not store.is_ours_alone:
            continue
        for file in store.files:
            if file.datetime_modified > before or (not file.is_half_written and file.id in store.referred):
                continue
            yield GarbageItem(
                id=f"orphans:{store.name}:{file.id}", kind=GarbageKind.ORPHANS, name=f"{store.name}/{file.id}",
                size_bytes=file.size_bytes, target=file, store=store.name,
                reason="its writer was killed" if file.is_half_written else "nothing refers to it",
            )  # fmt: skip
