"""The figures as tables of Markdown."""

from __future__ import annotations

from typing import Protocol

from benchmarks.machine import Machine
from benchmarks.scale.looks import LookFigures
from benchmarks.scale.simulation import Figures


class HasFigures(Protocol):
    machine: Machine
    looks: list[LookFigures]
    simulations: list[Figures]


def tables(results: HasFigures) -> str:
    machine = results.machine
    return "\n".join(
        [
            f"{machine.cpu}, {machine.n_cores} cores; Python {machine.python}; load average "
            f"{', '.join(f'{load:g}' for load in machine.load_average)}.",
            "",
            *_looks(results.looks),
            "",
            *_simulations(results.simulations),
        ]
    )


def _looks(looks: list[LookFigures]) -> list[str]:
    rows = [
        f"| {f.n_services:,} | {f.n_jobs:,} | {f.database} | {f.processor_ms:.0f} ms | {f.look_ms:.0f} ms | "
        f"{f.look_p95_ms:.0f} ms | {f.statements} | {f.plan_ms:.1f} ms | {f.cache_ms:.1f} ms | {f.listing_ms:.1f} ms |"
        for f in looks
    ]
    return [
        "| services | jobs | database | a look, processor | a look, clock | p95 | statements | of it: plan "
        "| of it: reports | listing of a Swarm, besides |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
    ]


def _simulations(runs: list[Figures]) -> list[str]:
    heads = [f"{f.n_hosts} hosts, {f.n_services:,} services ({f.database})" for f in runs]
    lines = [f"| figure | {' | '.join(heads)} |", f"| --- {'| --- ' * len(runs)}|"]

    def row(name: str, values: list[str]) -> None:
        lines.append(f"| {name} | {' | '.join(values)} |")

    row("jobs; trials", [f"{f.n_jobs:,}; {f.n_trials:,}" for f in runs])
    row("from nothing to all services running", [f"{f.all_running_s:.1f} s" for f in runs])
    for i in range(max((len(f.recoveries) for f in runs), default=0)):
        row(f"hosts lost at once, {('first', 'second', 'third')[i]}", [_recovery(f, i) for f in runs])
    row("a look, processor: median; p95", [f"{f.look_median_ms:.0f} ms; {f.look_p95_ms:.0f} ms" for f in runs])
    row("statements a look, median", [f"{f.look_statements:g}" for f in runs])
    row("services killed one by one", [str(f.n_crashes) for f in runs])
    row("statements a second: admin; advisors", [
        f"{f.admin_statements_a_s:.0f}; {f.advisors_statements_a_s:.0f}" for f in runs])  # fmt: skip
    row("rows written a second", [f"{f.rows_written_a_s:.0f}" for f in runs])
    row("calls a second at the service door", [f"{sum(f.door_calls_a_s.values()):.0f}" for f in runs])
    row("heartbeats a second at the cache", [f"{f.heartbeats_a_s:.0f}" for f in runs])
    row("events and orders a second", [
        f"{f.cache_calls_a_s.get('event', 0) + f.cache_calls_a_s.get('order', 0):.0f}" for f in runs])  # fmt: skip
    row("memory of admin and services on paper", [f"{f.memory_mb:.0f} MB" for f in runs])
    row("database", [f"{f.database_mb:.1f} MB" for f in runs])
    row("simulated; processor time for it", [f"{f.virtual_s:.0f} s; {f.took_s:.0f} s" for f in runs])
    return lines


def _recovery(figures: Figures, i: int) -> str:
    if i >= len(figures.recoveries):
        return "-"
    r = figures.recoveries[i]
    return f"{r.n_hosts} lost, {r.n_services} services: {r.median_s:.1f} s, worst {r.worst_s:.1f} s"
