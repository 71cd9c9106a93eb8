"""A trial's log entries in the form in which they are read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from rafiki.contract.train_jobs import LogMessage, LogMetrics, LogPlot, TrialLogsView
from rafiki.utils.values import JsonValue


def parse_logs(entries: Iterable[Mapping[str, JsonValue]]) -> TrialLogsView:
    """Sorts the entries of :mod:`rafiki.model.logger` by kind, each kind in the order of ``entries``.

    Entries come from user code's process, so one of an unknown or broken form is left out, never an error. A plot
    that is defined again (a trial that was restarted) counts once.
    """
    logs = TrialLogsView(messages=[], metrics=[], plots=[])
    for entry in entries:
        try:
            match entry:
                case {"type": "MESSAGE"}:
                    logs.messages.append(msgspec.convert(entry, LogMessage))
                case {"type": "METRICS", "time": str(time), "metrics": metrics}:
                    logs.metrics.append({**msgspec.convert(metrics, LogMetrics), "time": time})
                case {"type": "PLOT"}:
                    if (plot := msgspec.convert(entry, LogPlot)) not in logs.plots:
                        logs.plots.append(plot)
        except msgspec.ValidationError:
            continue
    return logs
