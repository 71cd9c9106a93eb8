"""The log of the running trial: kept until the advisor has it, sent in batches from a thread."""

from __future__ import annotations

import threading

from rafiki.cache.train import RedisTrainCache
from rafiki.entities import TrialLog
from rafiki.errors import CacheUnavailableError
from rafiki.messages import CacheAddress, TrialProgress
from rafiki.utils.values import JsonObject, JsonValue

_FLUSH_S = 0.5
_MOST_LINES = 100_000
_MOST_TEXT = 10_000
_MOST_AT_ONCE = 5_000


class TrialLogBuffer:
    """Takes entries from model code at any rate and from any thread; never blocks it, never fails it."""

    def __init__(self, address: CacheAddress, sub_train_job_id: str, worker_id: str) -> None:
        self._cache = RedisTrainCache(address, sub_train_job_id)
        self._worker_id = worker_id
        self._lock = threading.Lock()
        self._filled = threading.Event()
        self._trial: tuple[str, int] | None = None
        self._lines: list[TrialLog] = []
        self._n_sent = 0
        self._n_repeats = 0
        self._thread = threading.Thread(target=self._run, name="trial-log", daemon=True)
        self._thread.start()

    def open(self, trial_id: str, attempt: int) -> None:
        """Begin the log of a trial."""
        with self._lock:
            self._trial = (trial_id, attempt)
            self._lines, self._n_sent = [], 0

    def write(self, entry: JsonObject) -> None:
        """The logger's sink. Past 100,000 lines, and past 10,000 characters of a line, the rest is dropped."""
        if isinstance(text := entry.get("message"), str) and len(text) > _MOST_TEXT:
            entry = {**entry, "message": text[:_MOST_TEXT] + " ... (cut)"}
        entry = {_sendable_text(key): _sendable(value) for key, value in entry.items()}
        with self._lock:
            if self._trial is None or len(self._lines) >= _MOST_LINES:
                return
            trial_id, attempt = self._trial
            self._lines.append(TrialLog(trial_id=trial_id, attempt=attempt, line_no=len(self._lines) + 1, entry=entry))
        self._filled.set()

    def close(self) -> list[TrialLog]:
        """End the log of the trial and return the lines that still have to travel: with the trial's result."""
        with self._lock:
            left = self._lines[self._n_sent :]
            self._trial = None
            return left

    def resend(self) -> None:
        """Send all lines again: the cache may have lost some. Their numbers make sending them twice harmless."""
        with self._lock:
            self._n_sent = 0
            self._n_repeats += 1

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._filled.wait()
            # A short wait gathers lines into batches.
            pause.wait(_FLUSH_S)
            self._filled.clear()
            with self._lock:
                lines = self._lines[self._n_sent : self._n_sent + _MOST_AT_ONCE] if self._trial else []
                n_repeats = self._n_repeats
            if not lines:
                continue
            try:
                self._cache.send_event(TrialProgress(self._worker_id, lines))
            except CacheUnavailableError:
                self.resend()
                self._filled.set()
                continue
            with self._lock:
                if self._trial == (lines[0].trial_id, lines[0].attempt):
                    # Asked to resend meanwhile: that these lines were sent no longer counts.
                    if n_repeats == self._n_repeats:
                        self._n_sent = max(self._n_sent, lines[-1].line_no)
                    if self._n_sent < len(self._lines):
                        self._filled.set()


def _sendable_text(value: object) -> str:
    return str(value).encode(errors="replace").decode()


def _sendable(value: object) -> JsonValue:
    """The value as plain JSON. Half a surrogate pair (from a file's name, say) is replaced: no message can hold it."""
    match value:
        case dict():
            return {_sendable_text(key): _sendable(item) for key, item in value.items()}
        case list() | tuple():
            return [_sendable(item) for item in value]
        case None | bool():
            return value
        # A subclass (a numpy number, an IntEnum) travels as the plain number.
        case float():
            return float(value)
        case int() if abs(value) < 1 << 63:
            return int(value)
        case _:
            return _sendable_text(value)
