"""How a job may end otherwise than well; each with the exit code of its own."""

from __future__ import annotations

from rafiki.constants import ExitCode
from rafiki.errors import RafikiError


class GateMissedError(RafikiError):
    """The job ended well, but below what its spec asks for."""

    exit_code = ExitCode.GATE_MISSED


class TimedOutError(RafikiError):
    """The time that the command was given is over."""

    exit_code = ExitCode.TIMED_OUT


class JobErroredError(RafikiError):
    """A job ended ERRORED."""

    exit_code = ExitCode.JOB_ERRORED


class NoResultError(RafikiError):
    """The training ended without one completed trial."""

    exit_code = ExitCode.NO_RESULT
