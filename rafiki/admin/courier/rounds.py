"""Tells one receiver what is due: a round of a webhook, or of a tracker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from rafiki.admin.courier.facts import track_job, track_trial
from rafiki.admin.courier.webhooks import Answer, body_of, label, send
from rafiki.constants import UserType
from rafiki.entities import Delivery, Receiver
from rafiki.errors import InvalidTrainJobError, InvalidTrialError, InvalidUserError
from rafiki.job_events import JobEvent
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.trackers import TrackedJob, Tracker, TrackerAwayError, TrackerRefusalError
from rafiki.utils.clock import utc_now
from rafiki.utils.process import Backoff

_logger = logging.getLogger(__name__)

TRACKING_LABEL = "tracking"
"""A train job that has it with the value ``off`` is told to no tracker."""
MOST_AT_ONCE = 100
"""Events of one round."""
_KEPT = 200
"""Deliveries of a webhook that are remembered."""
_MOST_FAILURES = 3
"""Of one round of a webhook: it is down then, and others wait."""
_FIRST_DELAY_S, _MOST_DELAY_S = 1.0, 3600.0
_MOST_REST_S = 60.0
_MOST_ATTEMPTS = 5
"""At an event that a tracker refuses while it takes others."""


class Round(Protocol):
    def take(self, is_over: Callable[[], bool]) -> float:
        """Tell what is due, until ``is_over()``. Seconds for which the receiver is to be left alone."""


def delay_s(attempts: int) -> float:
    """How long to wait after so many failed attempts: they come to about 35 in a day."""
    return min(_MOST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(attempts, 32))


class WebhookRound:
    """Of one webhook.

    Args:
        key: what is signed with.
        url: where it is.
        admin_url: where links lead.
    """

    def __init__(
        self, store: MetaStore, receiver: Receiver, *, url: str, key: bytes, admin_url: str, timeout_s: float,
        retry_for: timedelta, allow_private: bool, now: Callable[[], datetime] = utc_now,
    ) -> None:  # fmt: skip
        self._store, self._receiver, self._url, self._key = store, receiver, url, key
        self._admin_url, self._timeout_s, self._retry_for = admin_url, timeout_s, retry_for
        self._allow_private, self._now = allow_private, now

    def take(self, is_over: Callable[[], bool]) -> float:
        failed_jobs: dict[str, float] = {}
        for delivery in self._store.outbox.list_due(self._receiver.id, limit=MOST_AT_ONCE):
            if is_over() or len(failed_jobs) >= _MOST_FAILURES:
                break
            if delivery.job_id in failed_jobs:
                continue
            answer = self._send(delivery)
            if answer.error is None:
                self._store.outbox.note_delivered(delivery, answer=answer.status, is_kept=True)
                continue
            failed_jobs[delivery.job_id] = delay_s(delivery.attempts)
            if self._note_failure(delivery, answer):
                return 0.0
        self._store.outbox.forget_deliveries(self._receiver.id, keep=_KEPT)
        return min([_MOST_REST_S, *failed_jobs.values()]) if failed_jobs else 0.0

    def _send(self, delivery: Delivery) -> Answer:
        body = body_of(delivery, self._facts(delivery), self._admin_url)
        return send(
            self._url, self._key, delivery.event_id, body, timeout_s=self._timeout_s, allow_private=self._allow_private
        )

    def _facts(self, delivery: Delivery) -> dict[str, object]:
        """What is known for good of a delivery's job."""
        job_id = delivery.data.get("train_job_id")
        if not isinstance(job_id, str):
            return {}
        job = self._store.train_jobs.get_train_job(job_id)
        user = self._store.users.get_user(job.user_id)
        return {"user": user.email, "app": job.app, "app_version": job.app_version}

    def _note_failure(self, delivery: Delivery, answer: Answer) -> bool:
        """Whether the webhook is off now."""
        outbox, now, error = self._store.outbox, self._now(), answer.error or ""
        is_last = delivery.event is JobEvent.WEBHOOK_TEST or now - delivery.datetime_created >= self._retry_for
        due = None if is_last else now + timedelta(seconds=delay_s(delivery.attempts))
        outbox.note_failed(delivery, error=error, answer=answer.status, due=due)
        if answer.is_gone:
            return self._turn_off("It answered with status 410: it wants nothing any more.")
        since = self._receiver.datetime_failed
        if since is not None and now - since >= self._retry_for:
            hours = self._retry_for.total_seconds() / 3600
            return self._turn_off(f"It took nothing for {hours:g} hours. At last: {error}")
        told = f"the next attempt is in {delay_s(delivery.attempts):.0f} s" if due else "it is given up"
        _logger.info("webhook %s: %s failed: %s; %s", self._receiver.id, label(delivery), error, told)
        return False

    def _turn_off(self, reason: str) -> bool:
        _logger.warning("webhook %s is switched off: %s", self._receiver.id, reason)
        self._store.outbox.turn_receiver_off(self._receiver.id, reason)
        return True


def may_reach_private(store: MetaStore, receiver: Receiver, *, is_allowed_to_all: bool) -> bool:
    """Whether a webhook may lead into private networks: that of an admin may, as long as its user is one."""
    if receiver.user_id is None or is_allowed_to_all:
        return True
    try:
        user = store.users.get_user(receiver.user_id)
    except InvalidUserError:
        return False
    return user.user_type in (UserType.ADMIN, UserType.SUPERADMIN)


class TrackerRound:
    """Of one tracker. Lives as long as the process: a tracker keeps its connections.

    Args:
        open_tracker: opens it, with what rafiki.yaml and the files that it names say now.
        params: where trained parameters are; None = they are not told.
    """

    def __init__(
        self, store: MetaStore, receiver_id: str, open_tracker: Callable[[], Tracker], params: ParamStore | None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:  # fmt: skip
        self._now = now
        self._store, self._id, self._open, self._params = store, receiver_id, open_tracker, params
        self._tracker: Tracker | None = None
        self._backoff = Backoff(_FIRST_DELAY_S, _MOST_REST_S)
        self._last_error: str | None = None

    def take(self, is_over: Callable[[], bool]) -> float:
        failed_jobs: set[str] = set()
        jobs: dict[str, TrackedJob] = {}
        for delivery in self._store.outbox.list_due(self._id, limit=MOST_AT_ONCE):
            if is_over():
                break
            if delivery.job_id in failed_jobs:
                continue
            try:
                self._tell(delivery, jobs)
            except TrackerAwayError as e:
                return self._rest(str(e))
            except TrackerRefusalError as e:
                if not e.is_of_event:
                    return self._rest(str(e))
                failed_jobs.add(delivery.job_id)
                self._note_refusal(delivery, str(e))
            except (InvalidTrainJobError, InvalidTrialError) as e:
                self._store.outbox.note_failed(delivery, error=e.message, answer=None, due=None)
            # A tracker may be a package of somebody else's.
            except Exception as e:
                _logger.warning("tracker %s: %s failed", self._id, label(delivery), exc_info=e)
                failed_jobs.add(delivery.job_id)
                self._note_refusal(delivery, f"{type(e).__name__}: {e}")
            else:
                self._store.outbox.note_delivered(delivery, answer=None, is_kept=False)
                self._note_success()
        self._store.outbox.forget_deliveries(self._id, keep=_KEPT)
        return 0.0

    def _tell(self, delivery: Delivery, jobs: dict[str, TrackedJob]) -> None:
        if delivery.job_id not in jobs or delivery.event in (JobEvent.TRAIN_JOB_ENDED, JobEvent.TRAIN_JOB_FAILED):
            record = self._store.train_jobs.get_train_job(delivery.job_id)
            if record.labels.get(TRACKING_LABEL) == "off":
                return
            jobs[delivery.job_id] = track_job(self._store, record)
        job = jobs[delivery.job_id]
        if self._tracker is None:
            self._tracker = self._open()
        match delivery.event:
            case JobEvent.TRAIN_JOB_STARTED:
                self._tracker.begin_job(job)
            case JobEvent.TRAIN_JOB_ENDED | JobEvent.TRAIN_JOB_FAILED:
                self._tracker.end_job(job)
            case JobEvent.TRIAL_COMPLETED | JobEvent.TRIAL_FAILED:
                trial = self._store.trials.get_trial(str(delivery.data["trial_id"]))
                self._tracker.log_trial(job, track_trial(self._store, self._params, trial))
            case _:
                pass

    def _note_refusal(self, delivery: Delivery, error: str) -> None:
        is_last = delivery.attempts + 1 >= _MOST_ATTEMPTS
        due: datetime | None = None if is_last else self._now() + timedelta(seconds=delay_s(delivery.attempts))
        self._store.outbox.note_failed(delivery, error=error, answer=None, due=due)
        _logger.warning("tracker %s: %s %s", self._id, label(delivery), "is given up: " + error if is_last else error)

    def _note_success(self) -> None:
        if self._last_error is not None:
            _logger.info("tracker %s: works again", self._id)
        self._last_error = None
        self._backoff.reset()

    def _rest(self, error: str) -> float:
        """Close it, so that it is opened anew: a token may be another one by then."""
        self.close()
        rest_s = self._backoff.next_s()
        self._store.outbox.note_receiver_failed(self._id, error)
        if error != self._last_error:
            _logger.warning("tracker %s: %s It is tried again; nothing is lost.", self._id, error)
        self._last_error = error
        return rest_s

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
        self._tracker = None
