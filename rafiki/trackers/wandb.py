"""Runs of Weights & Biases, by its own package (the extra ``wandb``): a group a train job, in it a run a trial.

The id of a run is that of its job or trial, and one that is told again takes the place of what was there. Offline, a
run is a folder of files that ``wandb sync`` uploads later.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rafiki import distribution
from rafiki.trackers.base import (
    TrackedJob,
    TrackedTrial,
    Tracker,
    TrackerAwayError,
    TrackerKind,
    TrackerRefusalError,
    TrackerSettings,
    experiment_of,
)
from rafiki.utils.paths import why

_OF_JOB, _OF_TRIAL = "train_job", "trial"


class WandbTracker(Tracker):
    """See the module."""

    def __init__(self, settings: TrackerSettings) -> None:
        import wandb

        self._settings = settings
        self._wandb = wandb
        made = {
            "mode": "offline" if settings.is_offline else "online",
            "root_dir": str(settings.folder),
            "api_key": settings.token,
            "base_url": settings.url,
            "silent": True,
            "console": "off",
            "x_disable_stats": True,
            "x_disable_meta": True,
            "disable_git": True,
            "disable_code": True,
            "init_timeout": settings.timeout_s,
        }
        self._made = wandb.Settings(**{name: value for name, value in made.items() if value is not None})

    def begin_job(self, job: TrackedJob) -> None:
        self._tell(job, job.id, job.label, _OF_JOB, job.params, [], {}, exit_code=None)

    def log_trial(self, job: TrackedJob, trial: TrackedTrial) -> None:
        rows = [({p.name: p.value}, p.step, p.time.timestamp()) for p in trial.points]
        summary: dict[str, object] = dict(trial.facts)
        if trial.trial.score is not None:
            summary["score"] = trial.trial.score
        self._tell(
            job, trial.trial.id, trial.trial.label, _OF_TRIAL, trial.knobs, rows, summary,
            exit_code=0 if trial.is_completed else 1, params=trial,
        )  # fmt: skip

    def end_job(self, job: TrackedJob) -> None:
        summary = {"best_score": job.best_score, "trials_completed": job.n_completed, "trials_failed": job.n_failed,
                   "status": job.outcome, "error": job.error}  # fmt: skip
        known = {name: value for name, value in summary.items() if value is not None}
        self._tell(
            job, job.id, job.label, _OF_JOB, job.params, [], known, exit_code=0 if job.error is None else 1
        )  # fmt: skip

    def _tell(
        self,
        job: TrackedJob,
        run_id: str,
        name: str,
        kind: str,
        config: Mapping[str, object],
        rows: list[tuple[dict[str, float], int, float]],
        summary: Mapping[str, object],
        *,
        exit_code: int | None,
        params: TrackedTrial | None = None,
    ) -> None:
        entity, _, project = experiment_of(self._settings, job).rpartition("/")
        try:
            self._settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for before in self._settings.folder.glob(f"wandb/offline-run-*-{run_id}"):
                shutil.rmtree(before)
            run = self._wandb.init(
                id=run_id, name=name, project=project, entity=entity or None, group=job.label, job_type=kind,
                tags=[job.app, job.task], config=dict(config), dir=str(self._settings.folder),
                settings=self._made, reinit="create_new",
            )  # fmt: skip
            # Its own steps only grow: those of the training are a column, and so are the times.
            run.define_metric("*", step_metric="step")
            for values, step, time_s in rows:
                run.log({**values, "step": step, "time": time_s})
            run.summary.update(dict(summary))
            if params is not None and params.read_params is not None:
                self._put_params(run, params)
            run.finish(exit_code=exit_code or 0)
        except self._wandb.errors.CommError as e:
            raise TrackerAwayError(f"W&B cannot be reached: {e}") from e
        except (self._wandb.errors.AuthenticationError, self._wandb.errors.UsageError) as e:
            raise TrackerRefusalError(f"W&B refuses what it is told: {e} See tracking.token_file.") from e
        except OSError as e:
            raise TrackerAwayError(f"{self._settings.folder} cannot be written: {why(e)}.") from e

    def _put_params(self, run: object, trial: TrackedTrial) -> None:
        assert trial.read_params is not None
        with tempfile.TemporaryDirectory(dir=self._settings.folder) as folder:
            file = Path(folder) / "params.safetensors"
            with file.open("wb") as f:
                for piece in trial.read_params():
                    f.write(piece)
            artifact = self._wandb.Artifact(f"params-{trial.trial.id}", type="model")
            artifact.add_file(str(file))
            run.log_artifact(artifact)  # type: ignore[attr-defined]


def _check(settings: TrackerSettings) -> str | None:
    if importlib.util.find_spec("wandb") is None:
        return f"wants the package wandb: {distribution.install_command('wandb')}."
    if settings.token is None and not settings.is_offline:
        return "wants your API key in a file that tracking.token_file names, or tracking.offline."
    return None


WANDB = TrackerKind(about="Weights & Biases", check=_check, open=WandbTracker)
