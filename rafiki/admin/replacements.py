"""Chooses the members of inference jobs again where some cannot be loaded, as their deployment allows."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from rafiki.admin.actions import ReplaceMembers
from rafiki.admin.ensembles import Ensemble, choose_ensemble, setting_of
from rafiki.admin.events import EventHub
from rafiki.ensembles import ReplacedMember
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import RafikiError
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.utils.logs import log_unexpected
from rafiki.utils.timing import SYSTEM, Timing

_logger = logging.getLogger(__name__)


class Replacements:
    """The supervisor's thread decides; a thread of its own reads predictions and chooses."""

    def __init__(
        self,
        *,
        store: MetaStore,
        params: ParamStore,
        environments: EnvironmentStore,
        hub: EventHub,
        wake: Callable[[], None],
        timing: Timing = SYSTEM,
    ) -> None:
        """
        Args:
            wake: called when members have been chosen.
        """
        self._store = store
        self._params = params
        self._environments = environments
        self._hub = hub
        self._wake = wake
        self._timing = timing
        self._pool = timing.make_pool(1, "members")
        self._choosing: set[str] = set()
        self._irreplaceable: dict[str, frozenset[str]] = {}

    def is_choosing(self, job_id: str) -> bool:
        """Whether the members of an inference job are being chosen."""
        return job_id in self._choosing

    def irreplaceable(self, job_id: str) -> frozenset[str]:
        """Trials of an inference job that cannot be loaded, without which no others were found to serve."""
        return self._irreplaceable.get(job_id, frozenset())

    def forget_all_but(self, job_ids: set[str]) -> None:
        """Forget what was found for jobs that have ended."""
        self._irreplaceable = {i: found for i, found in self._irreplaceable.items() if i in job_ids}

    def choose_later(self, action: ReplaceMembers) -> None:
        """Have a thread choose. It is planned again where it fails."""
        self._choosing.add(action.job.id)
        self._pool.submit(lambda: self._choose(action))

    def shut_down(self) -> None:
        self._pool.shutdown(wait=True)

    def _choose(self, action: ReplaceMembers) -> None:
        job, is_settled = action.job, True
        try:
            self._replace(action)
        except RafikiError as e:
            # The next look but for its tick would run into the same.
            is_settled = False
            _logger.warning("supervisor: members were not replaced: %s", e.message, extra={"job": job.id})
        except Exception as e:  # noqa: BLE001 - a pool's thread has nobody above it to tell
            log_unexpected(_logger, e, job=job.id)
            # What is a fault of our own would come again at once.
            self._irreplaceable[job.id] = self.irreplaceable(job.id) | action.lost.keys()
        finally:
            self._choosing.discard(job.id)
            self._hub.note_job(job.id)
            if is_settled:
                self._wake()

    def _replace(self, action: ReplaceMembers) -> None:
        job = action.job
        served = {s.trial_id for s in self._store.inference_jobs.list_served_trials(job.id)}
        out = {*action.lost, *(r.trial_id for r in job.ensemble.replaced)}
        train_job = self._store.train_jobs.get_train_job(job.train_job_id)
        found = choose_ensemble(self._store, self._params, train_job, setting_of(job.ensemble), without=out)
        added = [t for t in found.trials if t.id not in served]
        if not added:
            # The others go on as they are: their weights count in proportion.
            self._irreplaceable[job.id] = frozenset(action.lost) | self.irreplaceable(job.id)
            _logger.warning("supervisor: no other trials can be served instead", extra={"job": job.id})
            return
        for trial in added:
            sub = self._store.train_jobs.get_sub_train_job(trial.sub_train_job_id)
            self._environments.request(self._store.models.get_model(sub.model_id).dependencies)
        self._write(action, found)
        names = ", ".join(t.label for t in added)
        _logger.warning(
            "inference job %s v%s: serves %s from now on: %s", job.app, job.app_version, names,
            "; ".join(action.lost.values()), extra={"job": job.id},
        )  # fmt: skip

    def _write(self, action: ReplaceMembers, found: Ensemble) -> None:
        now = self._timing.now()
        replaced = [
            ReplacedMember(
                trial_id=trial_id, label=self._store.trials.get_trial(trial_id).label, reason=reason,
                datetime_replaced=now,
            )
            for trial_id, reason in action.lost.items()
        ]  # fmt: skip
        view = msgspec.structs.replace(found.view, replaced=[*action.job.ensemble.replaced, *replaced])
        trial_ids = [t.id for t in found.trials]
        self._store.inference_jobs.set_served_trials(action.job.id, trial_ids, found.weights, view)
