"""The frame of every service: what advisor workers, train workers, inference workers and predictors do alike.

A service is a process that the container manager starts with the path of a spec. Its program is one call::

    def serve(service: ServiceContext[TrainWorkerSpec]) -> None: ...

    if __name__ == "__main__":
        sys.exit(run_service(TrainWorkerSpec, serve))

What the frame promises to the program, and to the admin:

Start
    The only argument is the path of the spec. Without a spec that can be read the process exits with ``USAGE``; nothing
    is reported, because nobody is known to report to.
Signals
    The first SIGTERM or SIGINT asks the service to stop. Inside ``service.stop.interruptible()`` it raises
    ServiceStopped at once; elsewhere it sets a flag that the service reads when its current step is done, and calls
    what was registered with ``service.stop.on_stop()`` (for event loops). The exit code is then 0. The second signal
    ends the process at once, with 128 plus the signal's number as its exit code: no clean-up, no report. Both hold
    from the reading of the spec to the end of the process.
Log
    As the stack's settings say (``logging``), with the service, its kind and its job in each record.
Heartbeat
    It begins with ``service.report_running()``, which the program calls when it can do its work; the admin waits that
    long (``supervisor.start_timeout_s``), not counting the time within ``service.preparing()``. It ends when ``serve``
    returns, or with the report of the failure.
Garbage
    It is not looked for while the service loads, until the program calls ``service.end_loading()``: what there is then
    is left out of all collections.
Failures
    A RafikiError is logged and reported with its message, and its ``exit_code`` is the process's. One that is raised
    inside ``service.permanent_failures()`` is reported as permanent: the same spec would fail in the same way, so the
    admin starts no other. Any other exception is a fault of our own: it is logged with its traceback, reported with its
    type and text, and the exit code is ``FAILURE``. A cache that is away loses the report, never the log.
Clean-up
    What was registered with ``service.on_exit()`` runs last, after a failure was reported, in reverse order, whatever
    happened before. It cannot change the exit code: its own failures are logged.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from rafiki.cache.heartbeat import Heartbeat
from rafiki.constants import ExitCode
from rafiki.errors import CacheUnavailableError, InternalError, RafikiError, StoreFullError, UnreachableError
from rafiki.messages import ServiceSpec
from rafiki.utils import collector
from rafiki.utils.clock import Deadline
from rafiki.utils.logs import log_unexpected, set_up_logging
from rafiki.utils.process import Backoff, ServiceStopped, StopSignal
from rafiki.utils.reach import NoWayError, check_way
from rafiki.utils.spec import is_on_another_host, read_spec

_logger = logging.getLogger(__name__)
_OF_THE_MOMENT = (CacheUnavailableError, InternalError, StoreFullError, UnreachableError)
S = TypeVar("S", bound=ServiceSpec)


class ServiceContext(Generic[S]):
    """What the frame hands to a program."""

    def __init__(self, spec: S, stop: StopSignal) -> None:
        self.spec = spec
        self.stop = stop
        self._heartbeat = Heartbeat(spec.cache, spec.service_id, spec.heartbeat_s)
        self._is_permanent = False
        self._clean_ups: list[Callable[[], object]] = []

    def report_running(self, *, serves_trial: str | None = None) -> None:
        """Begin the heartbeat: the service can do its work.

        Args:
            serves_trial: the trial whose queries it answers; the predictor sends queries from now on.
        """
        self._heartbeat.start(serves_trial=serves_trial)

    @staticmethod
    def end_loading() -> None:
        """What is loaded now stays as long as the service: the garbage collector begins, and leaves it out."""
        collector.keep_what_is_loaded()

    def preparing(self) -> contextlib.AbstractContextManager[None]:
        """What is done in here waits for others (a dataset comes to this host): a long one is no start that failed."""
        return self._heartbeat.preparing()

    @contextlib.contextmanager
    def permanent_failures(self) -> Iterator[None]:
        """A RafikiError that is raised in here would come again with the same spec; not so that a host has no space
        left, or that somebody did not answer: another host may do, or the same one later."""
        try:
            yield
        except RafikiError as e:
            self._is_permanent = not isinstance(e, _OF_THE_MOMENT)
            raise

    def on_exit(self, clean_up: Callable[[], object]) -> None:
        """Call ``clean_up`` when all else is over."""
        self._clean_ups.append(clean_up)

    def run(self, serve: Callable[[ServiceContext[S]], None]) -> int:
        """Serve; the process's exit code."""
        try:
            serve(self)
        except ServiceStopped:
            pass
        except RafikiError as e:
            _logger.error("%s", e.message)
            self._heartbeat.fail(e.message, is_permanent=self._is_permanent)
            return e.exit_code
        # Model code and servers may exit of their own accord: nothing here does, so that is no orderly end either.
        except (Exception, SystemExit) as e:  # noqa: BLE001 - the last place that can report it
            log_unexpected(_logger, e)
            self._heartbeat.fail(f"it failed unexpectedly: {type(e).__name__}: {e}; its log holds the details")
            return ExitCode.FAILURE
        finally:
            self._clean_up()
        self._heartbeat.stop()
        return ExitCode.OK

    def _clean_up(self) -> None:
        while self._clean_ups:
            try:
                self._clean_ups.pop()()
            except (Exception, SystemExit) as e:  # noqa: BLE001 - nothing depends on it any more
                log_unexpected(_logger, e)


class Outage:
    """What a service that needs the cache, the meta store or space on a disk does while there is none: it tries again
    after growing waits (0.05 s to 2 s), which a stop signal ends, and gives up after ten minutes without success.

    One object for each loop of tries::

        try:
            ...
        except CacheUnavailableError as e:
            outage.wait(e)
        else:
            outage.end()
    """

    def __init__(self, stop: StopSignal, give_up_s: float = 600.0) -> None:
        self._stop = stop
        self._give_up_s = give_up_s
        self._backoff = Backoff()
        self._limit: Deadline | None = None

    @property
    def is_on(self) -> bool:
        """Whether the last try failed."""
        return self._limit is not None

    def wait(self, error: RafikiError) -> None:
        """Wait before the next try.

        Raises:
            RafikiError: ``error``, when the outage lasts longer than the service waits.
            ServiceStopped: when the service is asked to stop.
        """
        self._limit = self._limit or Deadline(self._give_up_s)
        if self._limit.is_over():
            raise error
        if self._stop.wait(self._backoff.next_s()):
            raise ServiceStopped from None

    def end(self) -> None:
        """A try succeeded: the next outage is a new one."""
        if self._limit is not None:
            self._limit = None
            self._backoff.reset()


def run_service(spec_type: type[S], serve: Callable[[ServiceContext[S]], None]) -> int:
    """Run the process of a service, as this module describes; returns its exit code. Call from the main thread."""
    collector.rest_while_loading()
    spec = read_spec(spec_type)
    set_up_logging(
        spec.logging.format, spec.logging.level, service=spec.service_id, kind=spec.kind, job=spec.job_id,
        runs_model_code=spec.runs_model_code,
    )  # fmt: skip
    if spec.runs_model_code:
        spec.limits.apply()
    stop = StopSignal()
    stop.install()
    if is_on_another_host():
        # On another host: without this it would wait in silence for a cache that a firewall keeps it from.
        try:
            check_way("the cache", spec.cache.host, spec.cache.port)
        except NoWayError as e:
            _logger.error("%s", e)
            return ExitCode.UNREACHABLE
    return ServiceContext(spec, stop).run(serve)
