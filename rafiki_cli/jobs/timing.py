"""How long the parts of a job take, and when to give up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rafiki.utils.clock import Deadline
from rafiki_cli.jobs.errors import TimedOutError


class Timing:
    """The stop watch of one job.

    Args:
        deadline: when to give up; None = never.
    """

    def __init__(self, deadline: Deadline | None = None) -> None:
        self.deadline = deadline
        self.seconds: dict[str, float] = {}
        """By part: ``datasets``, ``models``, ``train``, ``deploy``."""

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is done within to a part.

        Raises:
            TimedOutError: when the time is over before it begins.
        """
        if self.deadline is not None and self.deadline.is_over():
            raise TimedOutError(f"Not done within {self.deadline.duration_s:g} s. Run it again to go on.")
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
