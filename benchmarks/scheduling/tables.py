"""What came of the runs, with intervals: a page of tables, and how far simulation and reality are apart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.scheduling.simulated import LEARNED, LOADS, POLICIES, Measured

_Rows = Sequence[dict[str, Any]]
_CONFIDENCE = 0.95


class Interval(NamedTuple):
    mean: float
    half: float
    """Half of the 95% interval of the mean, by Student's t; infinite for one run."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        from scipy import stats

        n = len(values)
        if n < 2:
            return cls(values[0], math.inf)
        t = float(stats.t.ppf((1 + _CONFIDENCE) / 2, n - 1))
        return cls(statistics.mean(values), t * statistics.stdev(values) / n**0.5)

    def text(self, spec: str) -> str:
        around = "" if math.isinf(self.half) else f" ± {self.half:{spec}}"
        return f"{self.mean:{spec}}{around}"


def interval(rows: _Rows, key: str) -> Interval:
    return Interval.of([row[key] for row in rows])


def apart(real: _Rows, simulated: _Rows, key: str) -> Interval:
    """Reality less simulation, run by run."""
    return Interval.of([r[key] - s[key] for r, s in zip(real, simulated, strict=True)])


def _line(policy: str, where: str, rows: _Rows) -> str:
    refused, members, p50, p99 = (
        statistics.mean(row[key] for row in rows) for key in ("refused_share", "mean_members", "p50_s", "p99_s")
    )
    return (
        f"| {policy} | {where} | {interval(rows, 'score').text('.4f')} | {interval(rows, 'late_share').text('.2%')} "
        f"| {refused:.1%} | {members:.2f} | {p50 * 1e3:.0f} ms | {p99 * 1e3:.0f} ms |"
    )


def page(report: dict[str, Any], found: Measured) -> str:
    """Tables in Markdown."""
    lines = ["| member | weight | accuracy | a batch of b | queries/s at most |", "| --- " * 5 + "|"]
    for m, (name, member) in enumerate(zip(found.names, found.members, strict=True)):
        cost = f"{member.fixed_s * 1e3:.1f} + {member.each_s * 1e3:.2f} b ms"
        per_s = member.most / (member.fixed_s + member.each_s * member.most)
        lines.append(f"| {name} | {found.weights[m]:.2f} | {found.scores[1 << m]:.3f} | {cost} | {per_s:,.0f} |")
    everyone = max(found.scores)
    lines += [
        f"| all | 1 | {found.scores[everyone]:.3f} | | |",
        "",
        f"The best member alone answered {found.alone_per_s:,.0f} queries/s, all together "
        f"{found.together_per_s:,.0f}; a query took {found.front_s * 1e3:.2f} ms of a core outside the members. In the "
        f"simulation batches take {found.slow_down:.2f} times as long as measured, and those of the best one alone "
        f"{found.slow_down_alone:.2f} times, so that the same clients are answered as fast there.",
    ]
    for load in LOADS:
        head = f"| {load} | | accuracy | late | refused | members | p50 | p99 |"
        lines += ["", head, "| --- " * 8 + "|"]
        for policy in (*POLICIES, LEARNED):
            for where in ("real", "simulated"):
                if rows := report[where][load].get(policy):
                    lines.append(_line(policy if where == "real" or policy == LEARNED else "", where, rows))
    lines += ["", "| reality less simulation | late | accuracy (points) |", "| --- " * 3 + "|"]
    for load in LOADS:
        for policy in POLICIES:
            pair = report["real"][load][policy], report["simulated"][load][policy]
            late, score = apart(*pair, "late_share"), apart(*pair, "score")
            points = Interval(100 * score.mean, 100 * score.half)
            lines.append(f"| {load}, {policy} | {late.text('+.2%')} | {points.text('+.2f')} |".replace("± +", "± "))
    about = report["machine"]
    lags = [row["sent_late_p99_s"] for load in LOADS for p in POLICIES for row in report["real"][load][p]]
    lines += [
        "",
        f"The load generator sent 99 of 100 queries at most {statistics.median(lags) * 1e3:.1f} ms late (the median of "
        f"{len(lags)} runs; {max(lags) * 1e3:.1f} ms in the worst).",
        "",
        f"Each policy ran {report['runs']} times under each load, a "
        f"sine of {report['seconds']:g} s. Machine: {about['cpu']}, {about['n_cores']} cores, of which others used "
        f"{about['busy_percent']:.0f}% before the first run (load average {about['load_average'][0]:.1f}).",
    ]
    return "\n".join(lines)
