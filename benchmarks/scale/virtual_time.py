"""Time that passes when nobody has anything left to do in it.

What runs at one moment runs one after another, in the order in which it was asked for: threads that wait for each other
hand a baton on. So a run with the same seed is the same run, and an hour of it takes what its computations take.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from rafiki.utils.timing import Timing

_BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
_READING_TAKES_S = 1e-6
"""No two readings of the clock are alike, so that records have one order, whatever their ids."""


class VirtualThread:
    """Runs when the time lets it, until it waits."""

    def __init__(self, time: VirtualTime, run: Callable[[], None]) -> None:
        self._time = time
        self._has_ended = VirtualFlag(time)
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(run,), daemon=True)

    # ---- as threading.Thread

    def start(self) -> None:
        self._time.call_later(0.0, self._begin)

    def join(self, timeout: float | None = None) -> None:
        self._has_ended.wait(timeout)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def ident(self) -> int | None:
        return self._thread.ident

    # ---- the baton

    def _begin(self) -> None:
        self._time.current = self
        self._thread.start()
        self._wait_for_it()

    def go_on(self) -> None:
        """By the time: let it run until it waits again."""
        self._time.current = self
        self._go.release()
        self._wait_for_it()

    def _wait_for_it(self) -> None:
        self._back.acquire()
        self._time.current = None
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """By itself: wait until it may go on."""
        self._back.release()
        self._go.acquire()

    def _run(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as e:  # noqa: BLE001 - raised where the time is run
            self._error = e
        finally:
            self._has_ended.set()
            self._back.release()


class VirtualFlag:
    """As threading.Event."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._is_set = False
        self._waiting: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            self._time.call_later(0.0, wake)

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        if self._is_set:
            return True
        wake = self._time.make_alarm()
        self._waiting.append(wake)
        if timeout is not None:
            self._time.call_later(timeout, wake)
        self._time.pause()
        return self._is_set


class VirtualPool:
    """So many threads at most, each of which ends when there is nothing to do."""

    def __init__(self, time: VirtualTime, most: int) -> None:
        self._time, self._most = time, most
        self._left: deque[Callable[[], None]] = deque()
        self._n_active = 0
        self._is_idle = VirtualFlag(time)
        self._is_idle.set()

    def submit(self, action: Callable[[], None], /) -> None:
        self._left.append(action)
        self._is_idle.clear()
        if self._n_active < self._most:
            self._n_active += 1
            self._time.make_thread(self._work, "").start()

    def _work(self) -> None:
        while self._left:
            self._left.popleft()()
        self._n_active -= 1
        if not self._n_active:
            self._is_idle.set()

    def shutdown(self, wait: bool = True) -> None:
        if wait:
            self._is_idle.wait()


class VirtualTime(Timing):
    """One for all that belongs together."""

    def __init__(self) -> None:
        self._at_s = 0.0
        self._numbers = itertools.count()
        self._to_come: list[tuple[float, int, Callable[[], None]]] = []
        self.current: VirtualThread | None = None

    # ---- what Timing promises

    def now(self) -> datetime:
        self._at_s += _READING_TAKES_S
        return _BEGIN + timedelta(seconds=self._at_s)

    def monotonic_s(self) -> float:
        return self._at_s

    def make_flag(self) -> VirtualFlag:
        return VirtualFlag(self)

    def make_thread(self, run: Callable[[], None], name: str) -> VirtualThread:
        return VirtualThread(self, run)

    def make_pool(self, most_threads: int, name: str) -> VirtualPool:
        return VirtualPool(self, most_threads)

    # ---- within

    def call_later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Have ``action`` called once the time has come. It must not wait: threads do."""
        heapq.heappush(self._to_come, (self._at_s + delay_s, next(self._numbers), action))

    def sleep(self, duration_s: float) -> None:
        """Of a virtual thread."""
        self.call_later(duration_s, self.make_alarm())
        self.pause()

    def make_alarm(self) -> Callable[[], None]:
        """What lets the present thread go on: the first call does, others find nothing to do."""
        thread, calls = self._thread(), itertools.count()
        return lambda: thread.go_on() if next(calls) == 0 else None

    def pause(self) -> None:
        self._thread().pause()

    def _thread(self) -> VirtualThread:
        assert self.current is not None, "only threads of this time can wait"
        return self.current

    def run_until(self, is_done: Callable[[], bool], at_most_s: float) -> bool:
        """Let time pass until ``is_done()``, which is asked after all that happens; whether it came to that."""
        limit_s = self._at_s + at_most_s
        while not is_done():
            if not self._to_come or self._to_come[0][0] > limit_s:
                self._at_s = limit_s
                return False
            at_s, _, action = heapq.heappop(self._to_come)
            self._at_s = max(self._at_s, at_s)
            action()
        return True

    def run_for(self, duration_s: float) -> None:
        self.run_until(lambda: False, duration_s)

    def run_thread(self, action: Callable[[], None], at_most_s: float = 3600.0) -> None:
        """Let time pass until a thread of it has done ``action``."""
        done: list[bool] = []

        def run() -> None:
            action()
            done.append(True)

        self.make_thread(run, "").start()
        assert self.run_until(lambda: bool(done), at_most_s), "it did not end in time"
