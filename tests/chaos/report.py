"""What a run has found, as JSON and as a table."""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec


class Kind(msgspec.Struct, kw_only=True):
    """The blows of one kind."""

    kind: str
    n: int
    median_s: float | None
    worst_s: float | None


class Report(msgspec.Struct, kw_only=True):
    """Of one run."""

    database: str
    seed: int
    started: str
    duration_s: float
    machine: str
    load_average: float
    is_boxed: bool
    kinds: list[Kind]
    left_out: dict[str, str]
    """Kinds of blows that this machine does not allow, and why."""
    n_blows: int
    n_not_recovered: int
    n_moot: int
    """Blows whose job had ended, or whose deployment had been replaced, before it was clear that they recovered."""
    n_jobs: int
    n_deployments: int
    n_finished_trials: int
    n_failed_trials: int
    """For reasons that are promised: a full disk, too many lost workers."""
    n_lost: int
    n_doubled: int
    n_left_running: int
    requests: dict[str, int]
    n_late: int
    """Answered more than 0.2 s after the deadline, by the kernel's clock of arrivals."""
    n_late_for_client: int
    """The same, with the delays of the clients' own process."""
    n_held: int
    """Late only by the time for which the suite had stopped their predictor."""
    worst_late_s: float
    client_lag_s: float
    """How late the clients' own process was woken at worst."""
    n_ups: int
    failed_ups: list[str]
    broken: list[str]
    """What was promised and was not kept."""

    @property
    def n_requests(self) -> int:
        return sum(self.requests.values())


def summarize(kind: str, recoveries: list[float], n: int) -> Kind:
    return Kind(
        kind=kind, n=n, median_s=round(statistics.median(recoveries), 2) if recoveries else None,
        worst_s=round(max(recoveries), 2) if recoveries else None,
    )  # fmt: skip


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def as_markdown(report: Report) -> str:
    """The tables, for a page and for a terminal."""
    minutes = report.duration_s / 60
    lines = [
        f"{report.database}, seed {report.seed}, {minutes:.0f} minutes, {report.machine}, "
        f"load {report.load_average:.1f}; workers {'in boxes' if report.is_boxed else 'without boxes'}. "
        f"Measured {report.started}.",
        "",
        "| blow | times | recovered, median | worst |",
        "| --- | --- | --- | --- |",
        *(f"| {k.kind} | {k.n} | {_seconds(k.median_s)} | {_seconds(k.worst_s)} |" for k in report.kinds),
        f"| **all** | {report.n_blows} | | not recovered: {report.n_not_recovered} |",
        "",
        "| counted | |",
        "| --- | --- |",
    ]
    counted = {
        "train jobs, deployments": f"{report.n_jobs}, {report.n_deployments}",
        "finished trials": f"{report.n_finished_trials:,}",
        "... lost or changed": f"{report.n_lost}",
        "... doubled, or beyond the budget": f"{report.n_doubled}",
        "trials that failed for a reason that is promised": f"{report.n_failed_trials}",
        "left running at the end": f"{report.n_left_running}",
        "requests": f"{report.n_requests:,}: " + ", ".join(f"{n:,} {what}" for what, n in report.requests.items()),
        "... more than 0.2 s past their deadline": f"{report.n_late}",
        "... with the delays of the clients' own process": f"{report.n_late_for_client} (it was woken up to "
        f"{report.client_lag_s:.2f} s late)",
        "... held by a predictor that was stopped, and answered in time but for that": f"{report.n_held}",
        "`rafiki up`, typed by the supervisor of processes": f"{report.n_ups}",
        "promises broken": f"{len(report.broken)}",
    }
    return "\n".join(lines + [f"| {what} | {value} |" for what, value in counted.items()])


def save(report: Report, file: Path) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def load(file: Path) -> Report:
    return msgspec.json.decode(file.read_bytes(), type=Report)
