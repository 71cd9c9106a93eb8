"""The log of every process of a stack: records of :mod:`logging` on stderr, which goes to the process's log file.

Each process sets its log up once, with :func:`set_up_logging`. As lines for people::

    2026-11-30 06:00:00 INFO    train 3f2a91c0: started (attempt 1)
    2026-11-30 06:00:07 WARNING trial 12: destroy() failed: ValueError: not now

or as JSON lines, each with the same keys (null = does not apply), and with ``traceback`` or ``access``
(:mod:`rafiki.contract.access_log`) where there is one::

    {"time": "2026-11-30T06:00:07.123Z", "level": "WARNING", "logger": "rafiki.worker.train",
     "message": "destroy() failed: ValueError: not now", "service": "3f2a...", "kind": "train", "job": "9c1d...",
     "trial": 12}

``service``, ``kind`` and ``job`` name what a record is about: the process that writes it, unless ``extra`` names
another (the admin writes about the services that it starts). Passwords, keys and tokens never belong into a message.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, TextIO

from rafiki.constants import LogFormat, LogLevel

_FIELDS = ("service", "kind", "job", "trial")
_TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) +(.*)", re.DOTALL)
_NO_FIELDS: Mapping[str, object] = MappingProxyType({})
_context = contextvars.ContextVar("log_fields", default=_NO_FIELDS)
_logger = logging.getLogger(__name__)


def bind_log_fields(**fields: object) -> None:
    """Records that this thread (or task) logs from now on carry ``fields``."""
    _context.set({**_context.get(), **fields})


@contextlib.contextmanager
def log_fields(**fields: object) -> Iterator[None]:
    """Records that this thread (or task) logs within the block carry ``fields``: ``trial``, above all."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class _Formatter(logging.Formatter):
    """What both formats share: the fields of a record."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        super().__init__()
        self._fields = fields

    def fields_of(self, record: logging.LogRecord) -> dict[str, object]:
        found = {**self._fields, **_context.get(), **record.__dict__}
        return {name: found.get(name) for name in _FIELDS}


class TextFormatter(_Formatter):
    """A line for people; a traceback follows in lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC)
        trial = self.fields_of(record)["trial"]
        prefix = "" if trial is None else f"trial {trial}: "
        return f"{time:%Y-%m-%d %H:%M:%S} {record.levelname:<7} {prefix}{record.message}"


class JsonFormatter(_Formatter):
    """One JSON object a line, in ASCII: whatever a message holds, the line can be read."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields_of(record),
        }
        if (access := record.__dict__.get("access")) is not None:
            entry["access"] = access
        if record.exc_info and record.exc_info[0] is not None:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class MessageFormatter(logging.Formatter):
    """``warning: ...``, as command lines print their messages."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {record.message}"


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to stderr. A record that cannot be written (a full disk, a stream that model code closed) stops nobody."""

    def handle(self, record: logging.LogRecord) -> bool:
        # Around filters, locks and recursion too, which emit() does not guard.
        try:
            return bool(super().handle(record))
        except Exception:  # noqa: BLE001 - no failure to log may end what logs
            return False

    def handleError(self, record: logging.LogRecord) -> None:
        pass


def set_up_logging(
    format: LogFormat | Literal["messages"] = "text",
    level: LogLevel = "info",
    *,
    service: str | None = None,
    kind: str | None = None,
    job: str | None = None,
    runs_model_code: bool = False,
) -> None:
    """Set up the log of this process; what an earlier call set up is replaced.

    Records of Rafiki are logged from ``level`` on, those of libraries from WARNING on. An exception that ends a thread
    is logged too.

    Args:
        format: ``messages`` is for command lines.
        service, kind, job: the fields of each record of this process.
        runs_model_code: leaves the root logger alone, as model code finds it in any other process: a model may call
            :func:`logging.basicConfig`, and what its libraries log goes where they send it.
    """
    handler = _Handler(sys.stderr)
    match format:
        case "text":
            handler.setFormatter(TextFormatter({"service": service, "kind": kind, "job": job}))
        case "json":
            handler.setFormatter(JsonFormatter({"service": service, "kind": kind, "job": job}))
        case "messages":
            handler.setFormatter(MessageFormatter())
    ours, root = logging.getLogger("rafiki"), logging.getLogger()
    for logger in (ours, root):
        for old in [h for h in logger.handlers if isinstance(h, _Handler)]:
            logger.removeHandler(old)
    ours.setLevel(level.upper())
    ours.propagate = not runs_model_code
    (ours if runs_model_code else root).addHandler(handler)
    if not runs_model_code:
        root.setLevel(max(logging.WARNING, ours.level))
    threading.excepthook = _log_end_of_thread


def _log_end_of_thread(end: threading.ExceptHookArgs) -> None:
    if isinstance(end.exc_value, SystemExit):
        return
    name = end.thread.name if end.thread else "?"
    _logger.error("thread %s ended: %s", name, _describe(end.exc_value), exc_info=end.exc_value)


def log_unexpected(logger: logging.Logger, error: BaseException, **fields: object) -> None:
    """Log a failure of our own, with everything that helps to mend it. Never shown to a user.

    Args:
        fields: ``service``, ``kind``, ``job``: what the record is about.
    """
    logger.error("unexpected: %s", _describe(error), exc_info=error, extra=fields)


def _describe(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def message_of(line: str) -> str:
    """The message of a line of a log, as a command line prints it: ``error: The port is taken.`` A line of another form
    (what a library or model code printed) is returned as it is."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
            return _leveled(entry["level"], entry["message"])
        except (ValueError, KeyError, TypeError):
            return line
    if found := _TEXT_LINE.fullmatch(line):
        return _leveled(found[1], found[2])
    return line


def _leveled(level: str, message: str) -> str:
    return message if level in ("DEBUG", "INFO") else f"{level.lower()}: {message}"
