"""A trial's log entries in the form in which they are read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict


class TrialLogs(TypedDict):
    messages: list[dict[str, Any]]
    """``{time, message}``"""
    metrics: list[dict[str, Any]]
    """``{time, <metric>: value, ...}``"""
    plots: list[dict[str, Any]]
    """``{title, metrics, x_axis}``"""


def parse_logs(entries: Iterable[Mapping[str, Any]]) -> TrialLogs:
    """Sorts the entries of :mod:`rafiki.model.logger` by kind, each kind in the order of ``entries``.

    Entries come from user code's process, so one of an unknown or broken form is left out, never an error. A plot
    that is defined again (a trial that was restarted) counts once.
    """
    logs: TrialLogs = {"messages": [], "metrics": [], "plots": []}
    for entry in entries:
        match entry:
            case {"type": "MESSAGE", "time": time, "message": message}:
                logs["messages"].append({"time": time, "message": message})
            case {"type": "METRICS", "time": time, "metrics": dict(values)}:
                logs["metrics"].append({**values, "time": time})
            case {"type": "PLOT", "title": title, "metrics": [*names], "x_axis": x_axis}:
                plot = {"title": title, "metrics": names, "x_axis": x_axis}
                if plot not in logs["plots"]:
                    logs["plots"].append(plot)
            case _:
                continue
    return logs
