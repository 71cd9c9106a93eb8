"""What the admin pushes, read in a thread: waiting for it ends at a tick, at a deadline, or at Ctrl-C."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from rafiki.utils.clock import Deadline

Event = TypeVar("Event")
_MOST_WAITING = 1000
"""Events that nobody has taken yet; then the stream waits, and the admin tells less often."""


def batches(  # type: ignore[explicit-any]  # watch(*arguments, stop=...)
    watch: Callable[..., Iterator[Event]], *arguments: object, tick_s: float, deadline: Deadline | None = None
) -> Iterator[list[Event]]:
    """The events of a stream of the client, together as they come; an empty list when none came for ``tick_s``.

    Ends with the stream, or at the deadline.

    Args:
        watch: a method of the client, such as ``client.watch_train_job``.

    Raises:
        RafikiError: what the stream raised.
    """
    events: queue.Queue[Event | BaseException | None] = queue.Queue(_MOST_WAITING)
    stop = threading.Event()

    def put(item: Event | BaseException | None) -> None:
        while not stop.is_set():
            try:
                events.put(item, timeout=0.5)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for event in watch(*arguments, stop=stop):
                put(event)
                if stop.is_set():
                    return
            put(None)
        except BaseException as e:  # noqa: BLE001 - it is raised again where the events are taken
            put(e)

    # A daemon: when nobody takes events any more, its read ends with the process at the latest.
    threading.Thread(target=read, name="events", daemon=True).start()
    try:
        while deadline is None or not deadline.is_over():
            batch, end = _take(events, tick_s if deadline is None else min(tick_s, deadline.left_s()))
            if batch or not end:
                yield batch
            if isinstance(end, BaseException):
                raise end
            if end:
                return
    finally:
        stop.set()


def _take(
    events: queue.Queue[Event | BaseException | None], timeout_s: float
) -> tuple[list[Event], BaseException | bool]:
    """What is there, waiting for the first; and whether or how the stream has ended."""
    batch: list[Event] = []
    try:
        item = events.get(timeout=max(0.001, timeout_s))
        while True:
            if item is None:
                return batch, True
            if isinstance(item, BaseException):
                return batch, item
            batch.append(item)
            item = events.get_nowait()
    except queue.Empty:
        return batch, False
