"""Runs of an MLflow server, told by its REST API: one parent run a train job, with one child a trial.

The API is stable and small; the client library would bring fifty packages for it. Calls are those of
https://mlflow.org/docs/latest/rest-api.html. A run is found again by a tag with the id of its job or trial, so it is
made once, whoever makes it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from rafiki.constants import TrainJobOutcome
from rafiki.distribution import USER_AGENT
from rafiki.trackers.base import (
    TrackedJob,
    TrackedTrial,
    Tracker,
    TrackerAwayError,
    TrackerRefusalError,
    TrackerSettings,
    experiment_of,
)
from rafiki.utils.certificates import context_trusting
from rafiki.utils.urls import mask_url

_A = TypeVar("_A")
JOB_TAG = "rafiki.train_job_id"
TRIAL_TAG = "rafiki.trial_id"
_TOLD_TAG = "rafiki.is_complete"
"""The last that is written of a run."""
_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_PROXIED = "mlflow-artifacts:"
_MOST_AT_ONCE = 90
"""Tags or params of one call; 100 are taken."""
_MOST_METRICS_AT_ONCE = 900
"""1000 are taken."""
_MOST_VALUE_CHARS = 500
"""Of a param: older servers take no longer one."""
_MOST_TAG_CHARS = 5000
_MOST_KNOWN_JOBS = 256
_NO_KEY = re.compile(r"[^\w\-. /]")
_STATUSES = {
    TrainJobOutcome.COMPLETED: "FINISHED",
    TrainJobOutcome.STOPPED: "KILLED",
    TrainJobOutcome.ERRORED: "FAILED",
}


class _Refusal(msgspec.Struct):
    """What a server answers besides an error's status."""

    error_code: str = ""
    message: str = ""


class _Tag(msgspec.Struct, frozen=True):
    key: str
    value: str = ""


class _RunInfo(msgspec.Struct, frozen=True):
    run_id: str
    experiment_id: str
    artifact_uri: str = ""


class _RunData(msgspec.Struct, frozen=True):
    tags: list[_Tag] = []


class _Run(msgspec.Struct, frozen=True):
    info: _RunInfo
    data: _RunData = _RunData()

    @property
    def is_complete(self) -> bool:
        return any(tag.key == _TOLD_TAG for tag in self.data.tags)


class _RunAnswer(msgspec.Struct):
    run: _Run


class _RunsAnswer(msgspec.Struct):
    runs: list[_Run] = []


class _Experiment(msgspec.Struct):
    experiment_id: str
    lifecycle_stage: str = "active"


class _ExperimentAnswer(msgspec.Struct):
    experiment: _Experiment


class _Nothing(msgspec.Struct):
    pass


class MlflowTracker(Tracker):
    """See the module."""

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self._url = (settings.url or "").rstrip("/")
        headers = {"User-Agent": USER_AGENT}
        auth = None
        if settings.token is not None:
            headers["Authorization"] = f"Bearer {settings.token}"
        elif settings.username is not None:
            auth = httpx.BasicAuth(settings.username, settings.password or "")
        verify = context_trusting(settings.authority, "tracking.ca")
        self._http = httpx.Client(headers=headers, auth=auth, timeout=settings.timeout_s, verify=verify)
        self._parents: OrderedDict[str, _Run] = OrderedDict()

    def begin_job(self, job: TrackedJob) -> None:
        self._parent(job)

    def log_trial(self, job: TrackedJob, trial: TrackedTrial) -> None:
        parent = self._parent(job)
        record, experiment_id = trial.trial, parent.info.experiment_id
        run = self._find(experiment_id, TRIAL_TAG, record.id)
        if run is None:
            tags = {"mlflow.parentRunId": parent.info.run_id, TRIAL_TAG: record.id, JOB_TAG: job.id}
            run = self._create(experiment_id, record.label, record.datetime_started, job.user, tags)
        elif run.is_complete:
            return
        run_id = run.info.run_id
        self._log_params(run_id, {name: _text(value) for name, value in trial.knobs.items()})
        metrics = [_metric(p.name, p.value, p.step, p.time) for p in trial.points]
        if record.score is not None:
            metrics.append(_metric("score", record.score, 0, trial.time_ended))
        self._log_metrics(run_id, metrics)
        tags = {f"rafiki.{name}": value for name, value in trial.facts.items()}
        if record.error is not None:
            tags["mlflow.note.content"] = record.error
        self._log_tags(run_id, tags)
        if trial.read_params is not None:
            self._put_artifact(run.info, "params.safetensors", trial.read_params())
        self._end(run_id, "FINISHED" if trial.is_completed else "FAILED", trial.time_ended)

    def end_job(self, job: TrackedJob) -> None:
        run_id = self._parent(job).info.run_id
        ended = job.datetime_stopped or job.datetime_started
        metrics = [
            _metric("trials_completed", job.n_completed, 0, ended),
            _metric("trials_failed", job.n_failed, 0, ended),
        ]
        if job.best_score is not None:
            metrics.append(_metric("best_score", job.best_score, 0, ended))
        self._log_metrics(run_id, metrics)
        outcome = job.outcome or TrainJobOutcome.COMPLETED
        tags = {"rafiki.status": outcome.value}
        if job.error is not None:
            tags |= {"rafiki.error": job.error, "mlflow.note.content": job.error}
        self._log_tags(run_id, tags)
        self._end(run_id, _STATUSES[outcome], ended)

    def close(self) -> None:
        self._http.close()

    # ---- runs

    def _parent(self, job: TrackedJob) -> _Run:
        if (known := self._parents.get(job.id)) is not None:
            return known
        experiment_id = self._experiment_id(experiment_of(self._settings, job))
        # Its trials carry the id of the job too, but a trial's as well.
        run = self._find(experiment_id, "rafiki.parent_of", job.id)
        if run is None:
            tags = {JOB_TAG: job.id, "rafiki.parent_of": job.id, "rafiki.app": job.app,
                    "rafiki.app_version": str(job.app_version), "rafiki.task": job.task}  # fmt: skip
            run = self._create(experiment_id, job.label, job.datetime_started, job.user, tags)
        self._log_params(run.info.run_id, job.params)
        self._parents[job.id] = run
        if len(self._parents) > _MOST_KNOWN_JOBS:
            self._parents.popitem(last=False)
        return run

    def _experiment_id(self, name: str) -> str:
        for _ in range(2):
            found = self._ask(
                "GET", f"/experiments/get-by-name?experiment_name={quote(name, safe='')}", None, _ExperimentAnswer,
                or_none="RESOURCE_DOES_NOT_EXIST",
            )  # fmt: skip
            if found is None:
                # Somebody else may make it at the same moment: then it is found the second time.
                self._ask(
                    "POST", "/experiments/create", {"name": name}, _Nothing, or_none="RESOURCE_ALREADY_EXISTS"
                )  # fmt: skip
                continue
            if found.experiment.lifecycle_stage != "active":
                raise TrackerRefusalError(
                    f"The experiment {name!r} is deleted in MLflow. Restore it there, or name another with "
                    "tracking.experiment."
                )
            return found.experiment.experiment_id
        raise TrackerAwayError(f"The experiment {name!r} was made, and is not found.")

    def _find(self, experiment_id: str, tag: str, value: str) -> _Run | None:
        request = {"experiment_ids": [experiment_id], "filter": f"tags.`{tag}` = '{value}'", "max_results": 1}
        runs = self._must("POST", "/runs/search", request, _RunsAnswer).runs
        return runs[0] if runs else None

    def _create(
        self, experiment_id: str, name: str, started: datetime, user: str, tags: Mapping[str, str]
    ) -> _Run:  # fmt: skip
        every = {"mlflow.runName": name, "mlflow.user": user, "mlflow.source.name": "rafiki", **tags}
        request = {"experiment_id": experiment_id, "run_name": name, "start_time": _ms(started),
                   "tags": [{"key": k, "value": v} for k, v in every.items()]}  # fmt: skip
        return self._must("POST", "/runs/create", request, _RunAnswer).run

    def _end(self, run_id: str, status: str, ended: datetime) -> None:
        request = {"run_id": run_id, "status": status, "end_time": _ms(ended)}
        self._must("POST", "/runs/update", request, _Nothing)
        self._log_tags(run_id, {_TOLD_TAG: "true"})

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        listed = [{"key": _key(k), "value": v[:_MOST_VALUE_CHARS]} for k, v in params.items()]
        for some in _parts(listed, _MOST_AT_ONCE):
            self._must("POST", "/runs/log-batch", {"run_id": run_id, "params": some}, _Nothing)

    def _log_metrics(self, run_id: str, metrics: list[dict[str, object]]) -> None:
        for some in _parts(metrics, _MOST_METRICS_AT_ONCE):
            self._must("POST", "/runs/log-batch", {"run_id": run_id, "metrics": some}, _Nothing)

    def _log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        listed = [{"key": _key(k), "value": v[:_MOST_TAG_CHARS]} for k, v in tags.items()]
        self._must("POST", "/runs/log-batch", {"run_id": run_id, "tags": listed}, _Nothing)

    def _put_artifact(self, run: _RunInfo, name: str, pieces: Iterator[bytes]) -> None:
        if not run.artifact_uri.startswith(_PROXIED):
            raise TrackerRefusalError(
                "The MLflow server takes no artifacts itself (it was started with --no-serve-artifacts, or keeps them "
                f"at {mask_url(run.artifact_uri)}). Let it serve them, or set tracking.artifacts to false."
            )
        path = f"{urlsplit(run.artifact_uri).path.strip('/')}/{name}"
        self._send("PUT", f"{_ARTIFACTS}/{quote(path)}", content=pieces)

    # ---- calls

    def _must(self, method: str, path: str, request: object, kind: type[_A]) -> _A:
        answer = self._ask(method, path, request, kind)
        assert answer is not None
        return answer

    def _ask(
        self, method: str, path: str, request: object, kind: type[_A], *, or_none: str | None = None
    ) -> _A | None:  # fmt: skip
        content = None if request is None else msgspec.json.encode(request)
        answer = self._send(method, _API + path, content=content, or_none=or_none)
        if answer is None:
            return None
        try:
            return msgspec.json.decode(answer or b"{}", type=kind)
        except msgspec.DecodeError as e:
            raise TrackerRefusalError(
                f"{mask_url(self._url)} does not answer as an MLflow server does ({e}). See tracking.url."
            ) from e

    def _send(
        self, method: str, path: str, *, content: bytes | Iterator[bytes] | None, or_none: str | None = None
    ) -> bytes | None:
        headers = {"Content-Type": "application/json" if isinstance(content, bytes) else "application/octet-stream"}
        try:
            response = self._http.request(method, self._url + path, content=content, headers=headers)
        except (httpx.TransportError, httpx.InvalidURL) as e:
            reason = str(e) or type(e).__name__
            raise TrackerAwayError(f"MLflow at {mask_url(self._url)} cannot be reached: {reason}.") from e
        if response.is_success:
            return response.content
        try:
            refusal = msgspec.json.decode(response.content, type=_Refusal)
        except msgspec.DecodeError:
            refusal = _Refusal()
        if or_none is not None and refusal.error_code == or_none:
            return None
        raise self._why_refused(response, refusal)

    def _why_refused(self, response: httpx.Response, refusal: _Refusal) -> TrackerAwayError | TrackerRefusalError:
        status, at = response.status_code, mask_url(self._url)
        told = f" ({refusal.message[:300]})" if refusal.message else ""
        if status >= 500 or status in (408, 425, 429):
            return TrackerAwayError(f"MLflow at {at} answers with status {status}{told}.")
        if status in (401, 403):
            return TrackerRefusalError(
                f"MLflow at {at} refuses who asks (status {status}): see tracking.token_file, or tracking.username and "
                "tracking.password_file."
            )
        if (status == 404 and not refusal.error_code) or response.is_redirect:
            return TrackerRefusalError(f"There is no MLflow server at {at} (status {status}). See tracking.url.")
        return TrackerRefusalError(f"MLflow at {at} answers with status {status}{told}.", is_of_event=True)


def _parts(listed: list[_A], size: int) -> Iterable[list[_A]]:
    return (listed[i : i + size] for i in range(0, len(listed), size))


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _key(name: str) -> str:
    return _NO_KEY.sub("_", name)[:250]


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _metric(name: str, value: float, step: int, time: datetime) -> dict[str, object]:
    # JSON has no such numbers; MLflow takes these words.
    words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return {"key": _key(name), "value": words.get(str(float(value)), value), "timestamp": _ms(time), "step": step}
