"""``utils.logger``: how model code reports messages, metrics and plots while it trains."""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from rafiki.errors import ModelError
from rafiki.utils.clock import utc_now
from rafiki.utils.values import JsonObject, JsonValue

LogEntry: TypeAlias = JsonObject
"""Plain JSON values, one of::

    {"type": "MESSAGE", "time": iso, "message": str}
    {"type": "METRICS", "time": iso, "metrics": {name: float}}
    {"type": "PLOT", "title": str, "metrics": [name], "x_axis": name or None}

A metric that is no finite number, which JSON cannot hold, is the string ``"nan"``, ``"inf"`` or ``"-inf"``:
``float()`` turns it back.
"""


def _metric(name: str, value: object) -> float | str:
    if name == "time":
        raise ModelError("logger.log(): 'time' is recorded by itself; give this metric another name.")
    original = value
    if not isinstance(value, numbers.Real) and hasattr(value, "item"):
        try:
            value = value.item()  # an array or tensor of one number
        except (ValueError, RuntimeError):
            value = original
    if not isinstance(value, numbers.Real):
        raise ModelError(
            f"logger.log(): the metric {name!r} must be a number, not a {type(original).__name__} "
            f"({str(original)[:60]}); pass text as the message."
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if abs(value) == value else -math.inf
    return number if math.isfinite(number) else str(number)


def log_line(entry: LogEntry) -> str:
    """An entry as one line for people."""
    match entry["type"]:
        case "MESSAGE":
            return str(entry["message"])
        case "METRICS":
            metrics = cast(dict[str, float | str], entry["metrics"])
            return ", ".join(f"{name}={value}" for name, value in metrics.items())
        case _:
            x_axis = entry["x_axis"] or "time"
            return f"Plot {entry['title']!r}: {', '.join(cast(list[str], entry['metrics']))} over {x_axis}"


class TrialEndedEarly(BaseException):
    """Training is to end here: the trial is hopeless. Raised by :meth:`ModelLogger.report_score` inside ``train()``; no
    ``except Exception`` of model code keeps it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ModelLogger:
    """Makes log entries and hands each to its sink at once; without one, prints readable lines to stdout."""

    def __init__(self) -> None:
        self._sink: Callable[[LogEntry], None] | None = None
        self._stopping_check: Callable[[float, float], str | None] | None = None

    def set_sink(self, sink: Callable[[LogEntry], None] | None) -> None:
        """Sends entries to ``sink`` from now on; None goes back to stdout. Called by the train worker."""
        self._sink = sink

    def set_stopping_check(self, check: Callable[[float, float], str | None] | None) -> None:
        """Asks ``check(step, score)`` at each report from now on; what it answers is why training ends. Called by
        the train worker.
        """
        self._stopping_check = check

    def report_score(self, score: object, step: object) -> None:
        """Reports what the model would score now; call it once an epoch (or every so many steps) in ``train()``.

        The search compares trials by these scores at equal steps, and may end one that is hopeless: then this call
        does not return, ``train()`` ends here, and ``evaluate()`` and ``dump_parameters()`` are called as after any
        training. So keep what they need on ``self`` before you report. The score is logged too, as the metrics
        ``score`` and ``step``.

        Args:
            score: a number, of the same meaning as that of ``evaluate()`` (higher is better).
            step: how far the training is: the epoch, from 1 on; it grows with each report.

        Raises:
            ModelError: when one of them is no number.
        """
        now, at = _metric("score", score), _metric("step", step)
        self._emit({"type": "METRICS", "time": utc_now().isoformat(), "metrics": {"score": now, "step": at}})
        # A score that is no number (a diverged training) is logged, and judged by nobody.
        if self._stopping_check is not None and isinstance(now, float) and isinstance(at, float):
            reason = self._stopping_check(at, now)
            if reason is not None:
                raise TrialEndedEarly(reason)

    def log(self, msg: str = "", **metrics: object) -> None:
        """Records a message, or the metrics at this moment, or both.

        Args:
            msg: any text.
            **metrics: numbers by name; numpy scalars and one-element arrays and tensors count as numbers.

        Raises:
            ModelError: when a metric is no number.
        """
        values: JsonObject = {name: _metric(name, value) for name, value in metrics.items()}
        time = utc_now().isoformat()
        if msg != "":
            self._emit({"type": "MESSAGE", "time": time, "message": str(msg)})
        if values:
            self._emit({"type": "METRICS", "time": time, "metrics": values})

    def define_plot(self, title: str, metrics: Sequence[str], x_axis: str | None = None) -> None:
        """Asks for a chart of ``metrics`` over the metric ``x_axis``, or over time without one."""
        names: list[JsonValue] = [metrics] if isinstance(metrics, str) else [str(name) for name in metrics]
        self._emit({"type": "PLOT", "title": str(title), "metrics": names, "x_axis": x_axis})

    def define_loss_plot(self) -> None:
        """Asks for a chart of what :meth:`log_loss` records."""
        self.define_plot("Loss over epochs", ["loss"], x_axis="epoch")

    def log_loss(self, loss: object, epoch: object) -> None:
        """Records the loss of one epoch; shown when :meth:`define_loss_plot` was called."""
        self.log(loss=loss, epoch=epoch)

    def _emit(self, entry: LogEntry) -> None:
        if self._sink is not None:
            self._sink(entry)
        else:
            sys.stdout.write(log_line(entry) + "\n")
            sys.stdout.flush()


LoggerUtils = ModelLogger
"""The name of the class for code that makes an instance of its own."""
logger = ModelLogger()
"""The one that model code uses."""
