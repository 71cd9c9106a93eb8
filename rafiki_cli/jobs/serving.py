"""What answers the queries of an app while a job that should take its place does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from rafiki.analysis.curves import best_trial
from rafiki.constants import ServingRole
from rafiki_cli.jobs.gates import check_ensemble, check_trials
from rafiki_cli.jobs.observe import LIVE
from rafiki_cli.jobs.spec import Gates
from rafiki_cli.render import values

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the app that serves."""

    app: str
    app_version: int
    predictor_host: str | None
    score: float | None
    """Of the best of its served trials."""
    ensemble_score: float | None
    """On validation data; None where it was not measured."""
    missed_gates: list[str]
    """The gates of the job that it would miss as well."""

    @property
    def text(self) -> str:
        """``demo v1 goes on serving (best score 0.8480), which misses min_score too``."""
        scores = [f"best score {values.score(self.score)}"] if self.score is not None else []
        scores += [f"ensemble score {values.score(self.ensemble_score)}"] if self.ensemble_score is not None else []
        told = f" ({', '.join(scores)})" if scores else ""
        missed = f", which misses {' and '.join(self.missed_gates)} too" if self.missed_gates else ""
        return f"{self.app} v{self.app_version} goes on serving{told}{missed}"


def find_serving(client: AdminClient, app: str, gates: Gates) -> list[Serving]:
    """The versions of an app that serve, newest first, judged by the gates of a job."""
    found = []
    for job in client.get_inference_jobs_of_app(app):
        if job.status not in LIVE or job.role != ServingRole.PRIMARY:
            continue
        trials = client.get_trials_of_train_job(app, job.app_version)
        best = best_trial([t for t in trials if t.id in job.trial_ids])
        judged = [*check_trials(gates, trials), *check_ensemble(gates, job.ensemble)]
        found.append(
            Serving(
                app=app,
                app_version=job.app_version,
                predictor_host=job.predictor_host,
                score=best.score if best else None,
                ensemble_score=job.ensemble.validation_score,
                missed_gates=[gate.name for gate in judged if not gate.is_met],
            )
        )
    return found


def serving_sentence(app: str, serving: Sequence[Serving]) -> str:
    """What serves, for the end of a message: what to do is told where it would not be deployed now."""
    if not serving:
        return f"no version of {app} serves."
    text = "; ".join(s.text for s in serving) + "."
    missing = [s.app_version for s in serving if s.missed_gates]
    if missing:
        text += f" Stop it with `rafiki infer stop {app} --version {missing[0]}`."
    return text
