"""What came of a job, as plain values: what is printed, reported and returned."""

from __future__ import annotations

import msgspec

from rafiki.analysis.curves import best_trial
from rafiki.constants import ExitCode, TrialStatus
from rafiki.contract.train_jobs import TrainJobView, TrialView
from rafiki.ensembles import EnsembleSummary
from rafiki.states import find_outcome
from rafiki_cli.jobs.gates import GateResult
from rafiki_cli.jobs.plan import Plan
from rafiki_cli.jobs.serving import Serving


class Outcome(msgspec.Struct, kw_only=True):
    """Filled in while a job runs; what was not reached stays empty."""

    app: str
    plan: Plan | None = None
    exit_code: ExitCode = ExitCode.OK
    message: str = ""
    """Why it did not end well, or what it came to."""
    train_job: TrainJobView | None = None
    trials: list[TrialView] = []
    gates: list[GateResult] = []
    ensemble: EnsembleSummary | None = None
    n_members: int = 0
    """Trials of the ensemble."""
    predictor_host: str | None = None
    serving: list[Serving] = []
    """The versions of the app that serve at the end, newest first."""
    seconds: dict[str, float] = {}
    """By part: ``datasets``, ``models``, ``train``, ``deploy``; what was done in this run alone."""

    @property
    def is_ok(self) -> bool:
        return self.exit_code is ExitCode.OK

    @property
    def version(self) -> int | None:
        return self.train_job.app_version if self.train_job else None

    @property
    def best(self) -> TrialView | None:
        """The best trial."""
        return best_trial(self.trials)

    def count(self, status: TrialStatus) -> int:
        """Trials of a status."""
        return sum(t.status == status for t in self.trials)

    def to_json(self) -> dict[str, object]:
        """What ``-o json`` puts out."""
        best, job = self.best, self.train_job
        return {
            "app": self.app,
            "app_version": self.version,
            "exit_code": int(self.exit_code),
            "outcome": self.exit_code.name,
            "message": self.message,
            "steps": [msgspec.to_builtins(step) for step in self.plan.steps] if self.plan else [],
            "train_job_id": job.id if job else None,
            "status": job.status if job else None,
            "train_outcome": find_outcome(job.status, job.datetime_stop_requested) if job else None,
            "trials_completed": self.count(TrialStatus.COMPLETED),
            "trials_failed": self.count(TrialStatus.ERRORED),
            "best": best
            and {
                "trial_id": best.id, "model": best.model_name, "model_version": best.model_version, "no": best.no,
                "score": best.score, "knobs": best.proposal.knobs,
            },
            "gates": [msgspec.to_builtins(gate) for gate in self.gates],
            "ensemble": msgspec.to_builtins(self.ensemble),
            "predictor_host": self.predictor_host,
            "serving": [msgspec.to_builtins(s) for s in self.serving],
            "seconds": {part: round(s, 2) for part, s in self.seconds.items()},
        }  # fmt: skip
