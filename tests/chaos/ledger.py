"""What was seen finished, and what has become of it: the trials of every job, and the services of those that live."""

from __future__ import annotations

import threading
from typing import NamedTuple

import msgspec
from chaos.witness import Row, Witness, epoch_s, listed

LIVE = ("STARTED", "RUNNING")
_SCORE_TOLERANCE = 1e-9


class Finished(NamedTuple):
    """A finished trial, as it was first seen."""

    trial_id: str
    job_id: str
    no: int
    attempt: int
    score: float
    stopped: float


class Service(NamedTuple):
    """A service that has not ended, by the database."""

    id: str
    kind: str
    job_id: str
    unit_id: str
    slot: int
    status: str
    pid: int | None


class Job(NamedTuple):
    """A train job of the suite."""

    id: str
    app: str
    n_trials: int


class Ledger:
    """Kept by :meth:`look`, which one thread calls again and again; read from others."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._lock = threading.Lock()
        self._live: dict[str, Job] = {}
        self._all: dict[str, Job] = {}
        self._finished: dict[str, Finished] = {}
        self._lost: dict[str, str] = {}
        self._doubled: dict[str, str] = {}
        self._slots: dict[str, tuple[str, int]] = {}
        """Sub train job and slot of each train worker that was ever seen."""
        self._last_start: dict[str, float] = {}
        self._last_of_slot: dict[tuple[str, int], float] = {}
        self.services: list[Service] = []
        self.statuses: dict[str, tuple[str, str | None]] = {}
        """Status and error of the jobs that live."""

    # ---- from those who start jobs

    def add(self, job: Job) -> None:
        with self._lock:
            self._live[job.id] = self._all[job.id] = job

    def live_jobs(self) -> list[Job]:
        with self._lock:
            return list(self._live.values())

    def is_live(self, job_id: str) -> bool:
        with self._lock:
            return job_id in self._live

    # ---- what recoveries are told from

    def last_start(self, job_id: str) -> float:
        """When the finished trial of the job began that began last."""
        with self._lock:
            return self._last_start.get(job_id, 0.0)

    def last_start_of_slot(self, unit_id: str, slot: int) -> float:
        """Of those that workers of one slot have finished."""
        with self._lock:
            return self._last_of_slot.get((unit_id, slot), 0.0)

    @property
    def n_finished(self) -> int:
        return len(self._finished)

    def lost(self) -> list[str]:
        with self._lock:
            return list(self._lost.values())

    def doubled(self) -> list[str]:
        with self._lock:
            return list(self._doubled.values())

    # ---- looks

    def look(self, deployments: list[str]) -> None:
        """Read once what there is of live jobs and of these inference jobs.

        Raises:
            AwayError
        """
        jobs = self.live_jobs()
        ids = [job.id for job in jobs]
        told = self._witness.ask(
            "SELECT id, service_type, job_id, unit_id, slot, status, handle FROM services "
            f"WHERE status IN ('STARTED', 'DEPLOYING', 'RUNNING') AND job_id IN ({listed(ids + deployments)})",
            *ids, *deployments,
        )  # fmt: skip
        services = [Service(*row[:6], _pid_of(row[6])) for row in told]
        statuses = self._witness.ask(f"SELECT id, status, error FROM train_jobs WHERE id IN ({listed(ids)})", *ids)
        trials = self._ask_trials(ids)
        with self._lock:
            self.services = services
            self._slots |= {s.id: (s.unit_id, s.slot) for s in services if s.kind == "TRAIN"}
            self.statuses = {job_id: (status, error) for job_id, status, error in statuses}
            for row in trials:
                self._note(row)

    def _ask_trials(self, job_ids: list[str]) -> list[Row]:
        return self._witness.ask(
            "SELECT id, train_job_id, no, attempt, status, score, proposal, worker_id, datetime_started, "
            f"datetime_stopped, error FROM trials WHERE train_job_id IN ({listed(job_ids)})",
            *job_ids,
        )

    def _note(self, row: Row) -> None:
        trial_id, job_id, no, attempt, status, score, proposal, worker_id, started, stopped, _ = row
        before = self._finished.get(trial_id)
        if status != "COMPLETED":
            if before is not None:
                self._lost[trial_id] = f"trial {no} of {self._all[job_id].app} was finished, and is {status}"
            return
        now = Finished(trial_id, job_id, no, attempt, score, epoch_s(stopped))
        if before is not None:
            if now != before:
                self._lost[trial_id] = f"trial {no} of {self._all[job_id].app} was {before}, and is {now}"
            return
        self._finished[trial_id] = now
        x = _knobs_of(proposal)["x"]
        if abs(score - (1.0 - (x - 0.3) ** 2)) > _SCORE_TOLERANCE:
            self._lost[trial_id] = f"trial {no} of {self._all[job_id].app} has another's score: {score}"
        began = epoch_s(started)
        self._last_start[job_id] = max(self._last_start.get(job_id, 0.0), began)
        if (slot := self._slots.get(worker_id)) is not None:
            self._last_of_slot[slot] = max(self._last_of_slot.get(slot, 0.0), began)

    # ---- the end of a job

    def close_job(self, job: Job) -> list[str]:
        """Look at a job that has ended: what is wrong with it, but for what was lost or doubled, which is kept.

        Raises:
            AwayError
        """
        rows = self._ask_trials([job.id])
        with self._lock:
            for row in rows:
                self._note(row)
            self._live.pop(job.id, None)
            self._find_missing(job, {row[0] for row in rows})
            numbers = sorted(row[2] for row in rows)
            if len(set(numbers)) != len(numbers) or len(numbers) > job.n_trials:
                self._doubled[job.id] = f"{job.app} has trials {numbers} with a budget of {job.n_trials}"
        wrong = [f"trial {row[2]} of {job.app} is {row[4]} though its job has ended" for row in rows if _is_open(row)]
        if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < job.n_trials:
            wrong.append(f"{job.app} ended with {len(numbers)} trials and a budget of {job.n_trials}")
        return wrong

    def _find_missing(self, job: Job, present: set[str]) -> None:
        for trial in self._finished.values():
            if trial.job_id == job.id and trial.trial_id not in present:
                self._lost[trial.trial_id] = f"trial {trial.no} of {job.app} was finished, and is gone"

    def errors_of(self, job: Job) -> list[str]:
        """Why trials of a job failed.

        Raises:
            AwayError
        """
        return [row[10] or "without a reason" for row in self._ask_trials([job.id]) if row[4] == "ERRORED"]

    def look_at_all(self) -> None:
        """Look once more at every job that there ever was.

        Raises:
            AwayError
        """
        for job in list(self._all.values()):
            rows = self._ask_trials([job.id])
            with self._lock:
                for row in rows:
                    self._note(row)
                self._find_missing(job, {row[0] for row in rows})

    def left_running(self) -> list[str]:
        """What counts as live in the whole database.

        Raises:
            AwayError
        """
        live = {
            "trials": "status IN ('PENDING', 'RUNNING')",
            "train_jobs": "status IN ('STARTED', 'RUNNING')",
            "inference_jobs": "status IN ('STARTED', 'RUNNING')",
            "services": "status IN ('STARTED', 'DEPLOYING', 'RUNNING')",
        }
        found = []
        for table, condition in live.items():
            rows = self._witness.ask(f"SELECT id, status FROM {table} WHERE {condition}")
            found += [f"{table}: {row_id} is {status}" for row_id, status in rows]
        return found


def _is_open(row: Row) -> bool:
    return row[4] in ("PENDING", "RUNNING")


def _pid_of(handle: str | None) -> int | None:
    return msgspec.json.decode(handle).get("pid") if handle else None


def _knobs_of(proposal: object) -> dict[str, float]:
    decoded = msgspec.json.decode(proposal) if isinstance(proposal, str | bytes) else proposal
    return dict(decoded["knobs"])  # type: ignore[index]
