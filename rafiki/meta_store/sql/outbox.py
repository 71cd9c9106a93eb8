"""Receivers of events, and what they are still to be told, in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    String,
    Update,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from rafiki.constants import DeliveryStatus, InferenceJobStatus, RolloutStatus, TrainJobStatus, TrialStatus
from rafiki.entities import Delivery, InferenceJob, Receiver, Rollout, TrainJob, Trial
from rafiki.errors import InvalidUserError, InvalidWebhookError
from rafiki.job_events import JobEvent, patterns_of
from rafiki.meta_store.base.outbox import NamedReceiver, OutboxStore
from rafiki.meta_store.sql.database import Parents, Refusals, not_found
from rafiki.meta_store.sql.records import Records
from rafiki.meta_store.sql.schema import (
    deliveries,
    delivery_is_waiting,
    receiver_is_on,
    receivers,
    train_jobs,
    trials,
    users,
)
from rafiki.utils.ids import new_id

_NAMED = receivers.c.user_id.is_(None)
_ORDER = [deliveries.c.seq, deliveries.c.event_id]


def _telling(user_id: ColumnElement[str], *where: ColumnElement[bool]) -> Insert:
    """Adds an event for every receiver that is on and chooses it."""
    # Writers of one job come one after the other, and each sees what was committed before it: so its events are in
    # order. Two that are written at the same moment on PostgreSQL may get the same number.
    last = select(func.coalesce(func.max(deliveries.c.seq), 0)).scalar_subquery()
    now = bindparam("now", type_=deliveries.c.datetime_created.type)
    values: dict[str, ColumnElement[object]] = {
        "receiver_id": receivers.c.id,
        "event_id": cast(bindparam("event_id"), String),
        "seq": cast(last + 1, BigInteger),
        "event": cast(bindparam("event", type_=deliveries.c.event.type), String),
        "job_id": cast(bindparam("of_job"), String),
        "data": cast(bindparam("data", type_=deliveries.c.data.type), String),
        "status": literal(DeliveryStatus.WAITING, deliveries.c.status.type),
        "attempts": cast(literal(0), Integer),
        "datetime_created": now,
        "datetime_due": now,
    }
    chosen = or_(*(receivers.c.events.cast(String).like(bindparam(f"pattern_{i}", type_=String)) for i in range(3)))
    is_theirs = or_(_NAMED, receivers.c.user_id == user_id)
    wanted = select(*values.values()).where(receiver_is_on, is_theirs, chosen, *where)
    return deliveries.insert().from_select(list(values), wanted)


# Built once: building costs more than running them.
_ANY_RECEIVER = select(receivers.c.id).where(receiver_is_on).limit(1)
_OF_JOB = _telling(bindparam("user_id", type_=String))
_USER_OF_JOB = select(train_jobs.c.user_id).where(train_jobs.c.id == bindparam("of_job")).scalar_subquery()
_OF_TRIAL = _telling(_USER_OF_JOB)
_IS_AS_GOOD = exists().where(
    trials.c.train_job_id == bindparam("of_job"),
    trials.c.status == TrialStatus.COMPLETED,
    trials.c.id != bindparam("trial_id"),
    trials.c.score >= bindparam("score"),
)
_OF_BEST_TRIAL = _telling(_USER_OF_JOB, ~_IS_AS_GOOD)


def _parameters(event: JobEvent, job_id: str, data: Mapping[str, object], now: datetime) -> dict[str, object]:
    # The patterns are kept as a JSON list.
    patterns = {f"pattern_{i}": f'%"{pattern}"%' for i, pattern in enumerate(patterns_of(event))}
    return {"event_id": new_id(), "event": event, "of_job": job_id, "data": data, "now": now, **patterns}


def _tells_anybody(connection: Connection) -> bool:
    """Whether there is a receiver: mostly there is none, and asking that is all that it costs then."""
    return connection.execute(_ANY_RECEIVER).first() is not None


def tell_of_train_job(connection: Connection, event: JobEvent, job: TrainJob, now: datetime) -> None:
    """Write the event of a train job, in the transaction of its change."""
    if not _tells_anybody(connection):
        return
    data = {"train_job_id": job.id, "app": job.app, "app_version": job.app_version, "task": job.task,
            "status": job.status, "error": job.error,
            "is_stop_requested": job.datetime_stop_requested is not None}  # fmt: skip
    connection.execute(_OF_JOB, {**_parameters(event, job.id, data, now), "user_id": job.user_id})


def tell_of_inference_job(connection: Connection, event: JobEvent, job: InferenceJob, now: datetime) -> None:
    """Write the event of an inference job, in the transaction of its change."""
    if not _tells_anybody(connection):
        return
    data = {"inference_job_id": job.id, "train_job_id": job.train_job_id, "app": job.app,
            "app_version": job.app_version, "status": job.status, "error": job.error,
            "predictor_host": job.predictor_host}  # fmt: skip
    connection.execute(_OF_JOB, {**_parameters(event, job.id, data, now), "user_id": job.user_id})


def tell_of_rollout(connection: Connection, event: JobEvent, rollout: Rollout, now: datetime) -> None:
    """Write the event of an update of a deployment, in the transaction of its change."""
    if not _tells_anybody(connection):
        return
    data = {"rollout_id": rollout.id, "app": rollout.app, "kind": rollout.kind, "from_job_id": rollout.from_job_id,
            "inference_job_id": rollout.to_job_id, "status": rollout.status, "reason": rollout.reason}  # fmt: skip
    connection.execute(_OF_JOB, {**_parameters(event, rollout.to_job_id, data, now), "user_id": rollout.user_id})


def tell_of_trial(connection: Connection, trial: Trial, now: datetime) -> None:
    """Write the events of a trial that has ended, in the transaction of its end."""
    if not _tells_anybody(connection):
        return
    is_completed = trial.status is TrialStatus.COMPLETED
    data = {"train_job_id": trial.train_job_id, "trial_id": trial.id, "trial": trial.label, "no": trial.no,
            "status": trial.status, "score": trial.score, "error": trial.error}  # fmt: skip
    event = JobEvent.TRIAL_COMPLETED if is_completed else JobEvent.TRIAL_FAILED
    connection.execute(_OF_TRIAL, _parameters(event, trial.train_job_id, data, now))
    if is_completed:
        best = _parameters(JobEvent.TRIAL_BEST, trial.train_job_id, data, now)
        connection.execute(_OF_BEST_TRIAL, {**best, "trial_id": trial.id, "score": trial.score})


EVENTS_OF_TRAIN_JOBS = {
    TrainJobStatus.STARTED: JobEvent.TRAIN_JOB_STARTED,
    TrainJobStatus.STOPPED: JobEvent.TRAIN_JOB_ENDED,
    TrainJobStatus.ERRORED: JobEvent.TRAIN_JOB_FAILED,
}
EVENTS_OF_ROLLOUTS = {
    RolloutStatus.PROMOTED: JobEvent.ROLLOUT_PROMOTED,
    RolloutStatus.ROLLED_BACK: JobEvent.ROLLOUT_ROLLED_BACK,
    RolloutStatus.ERRORED: JobEvent.ROLLOUT_FAILED,
}
EVENTS_OF_INFERENCE_JOBS = {
    InferenceJobStatus.STARTED: JobEvent.INFERENCE_JOB_STARTED,
    InferenceJobStatus.RUNNING: JobEvent.INFERENCE_JOB_RUNNING,
    InferenceJobStatus.STOPPED: JobEvent.INFERENCE_JOB_STOPPED,
    InferenceJobStatus.ERRORED: JobEvent.INFERENCE_JOB_FAILED,
}


def turn_off(connection: Connection, which: ColumnElement[bool], reason: str, now: datetime) -> None:
    """Tell some receivers nothing any more, and give up what waits for them."""
    changed = update(receivers).where(which, receiver_is_on).values(datetime_off=now, off_reason=reason)
    ids = list(connection.scalars(changed.returning(receivers.c.id)))
    if ids:
        waiting = and_(deliveries.c.receiver_id.in_(ids), delivery_is_waiting)
        given_up = {"status": DeliveryStatus.FAILED, "datetime_ended": now}
        connection.execute(update(deliveries).where(waiting).values(**given_up))


class SqlOutboxStore(Records, OutboxStore):
    def set_named_receivers(self, wanted: Sequence[NamedReceiver]) -> None:
        with self._db.write() as connection:
            known = set(connection.scalars(select(receivers.c.id).where(_NAMED)))
            for receiver in wanted:
                values: dict[str, object] = {"kind": receiver.kind, "url": receiver.url, "events": receiver.events}
                if receiver.id in known:
                    values |= {"datetime_off": None, "off_reason": None}
                    connection.execute(update(receivers).where(receivers.c.id == receiver.id).values(**values))
                else:
                    values |= {"id": receiver.id, "datetime_created": self._db.now()}
                    connection.execute(insert(receivers).values(**values))
            left = known - {receiver.id for receiver in wanted}
            connection.execute(delete(receivers).where(receivers.c.id.in_(left)))

    def create_receiver(self, user_id: str, kind: str, url: str, events: Sequence[str], *, most: int) -> Receiver:
        values = {
            "id": new_id(),
            "user_id": user_id,
            "kind": kind,
            "url": url,
            "events": list(events),
            "datetime_created": self._db.now(),
        }
        refusals = Refusals(parents=[Parents(users, [user_id], "user", InvalidUserError)])
        with self._db.write(refusals) as connection:
            # Locked, so that several calls at once do not get past the limit.
            connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
            count = select(func.count()).select_from(receivers).where(receivers.c.user_id == user_id)
            if connection.execute(count).scalar_one() >= most:
                raise InvalidWebhookError(f"You have {most} webhooks, which are the most. Remove one first.")
            return self._insert(connection, receivers, Receiver, values)

    def list_receivers(self, user_id: str | None) -> list[Receiver]:
        whose = _NAMED if user_id is None else receivers.c.user_id == user_id
        return self._list(receivers, Receiver, [whose], [receivers.c.datetime_created, receivers.c.id])

    def list_live_receivers(self) -> list[Receiver]:
        return self._list(receivers, Receiver, [receiver_is_on], [receivers.c.datetime_created, receivers.c.id])

    def get_receiver(self, receiver_id: str) -> Receiver:
        return self._get(receivers, Receiver, receiver_id, "webhook", InvalidWebhookError)

    def remove_receiver(self, receiver_id: str) -> Receiver:
        removed = self.get_receiver(receiver_id)
        with self._db.write() as connection:
            if not connection.execute(delete(receivers).where(receivers.c.id == receiver_id)).rowcount:
                raise not_found(InvalidWebhookError, "webhook", receiver_id)
        return removed

    def turn_receiver_off(self, receiver_id: str, reason: str) -> None:
        with self._db.write() as connection:
            turn_off(connection, receivers.c.id == receiver_id, reason, self._db.now())

    def turn_receiver_on(self, receiver_id: str) -> Receiver:
        values = {"datetime_off": None, "off_reason": None, "error": None, "datetime_failed": None}
        changed = self._update(receivers, Receiver, [receivers.c.id == receiver_id], values)
        if changed is None:
            raise not_found(InvalidWebhookError, "webhook", receiver_id)
        return changed

    def add_test(self, receiver_id: str, event_id: str) -> Delivery:
        now = self._db.now()
        values = {
            "receiver_id": receiver_id,
            "event_id": event_id,
            "seq": select(func.coalesce(func.max(deliveries.c.seq), 0) + 1).scalar_subquery(),
            "event": JobEvent.WEBHOOK_TEST,
            # A job of its own: it waits for nothing.
            "job_id": event_id,
            "data": {},
            "status": DeliveryStatus.WAITING,
            "attempts": 0,
            "datetime_created": now,
            "datetime_due": now,
        }
        gone = Refusals(parents=[Parents(receivers, [receiver_id], "webhook", InvalidWebhookError)])
        return self._create(deliveries, Delivery, values, gone)

    def list_due(self, receiver_id: str, *, limit: int) -> list[Delivery]:
        of_receiver = [deliveries.c.receiver_id == receiver_id, delivery_is_waiting]
        now = self._db.now()
        later = deliveries.alias("later")
        held_up = select(later.c.job_id).where(
            later.c.receiver_id == receiver_id,
            later.c.status == DeliveryStatus.WAITING,
            later.c.datetime_due > now,
        )
        where = [*of_receiver, deliveries.c.job_id.not_in(held_up)]
        return self._list(deliveries, Delivery, where, _ORDER, limit=limit)

    def list_waiting_receivers(self) -> set[str]:
        wanted = select(deliveries.c.receiver_id).where(
            delivery_is_waiting, deliveries.c.datetime_due <= self._db.now()
        )
        with self._db.read() as connection:
            return set(connection.scalars(wanted.distinct()))

    def count_waiting(self) -> dict[str, int]:
        wanted = select(deliveries.c.receiver_id, func.count()).where(delivery_is_waiting)
        with self._db.read() as connection:
            return {row[0]: row[1] for row in connection.execute(wanted.group_by(deliveries.c.receiver_id))}

    def note_delivered(self, delivery: Delivery, *, answer: int | None, is_kept: bool) -> None:
        now = self._db.now()
        is_it = _is(delivery)
        values = {"status": DeliveryStatus.DELIVERED, "attempts": delivery.attempts + 1, "error": None,
                  "answer": answer, "datetime_ended": now}  # fmt: skip
        told = update(deliveries).where(is_it).values(**values) if is_kept else delete(deliveries).where(is_it)
        well = {"error": None, "datetime_failed": None, "datetime_delivered": now}
        with self._db.write() as connection:
            connection.execute(told)
            connection.execute(update(receivers).where(receivers.c.id == delivery.receiver_id).values(**well))

    def note_failed(self, delivery: Delivery, *, error: str, answer: int | None, due: datetime | None) -> None:
        now = self._db.now()
        values: dict[str, object] = {"attempts": delivery.attempts + 1, "error": error, "answer": answer}
        values |= {"status": DeliveryStatus.FAILED, "datetime_ended": now} if due is None else {"datetime_due": due}
        with self._db.write() as connection:
            connection.execute(update(deliveries).where(_is(delivery)).values(**values))
            connection.execute(_failing(delivery.receiver_id, error, now))

    def note_receiver_failed(self, receiver_id: str, error: str) -> None:
        with self._db.write_once() as connection:
            connection.execute(_failing(receiver_id, error, self._db.now()))

    def list_deliveries(self, receiver_id: str, *, offset: int = 0, limit: int | None = None) -> list[Delivery]:
        order = [deliveries.c.seq.desc(), deliveries.c.event_id]
        return self._list(deliveries, Delivery, [deliveries.c.receiver_id == receiver_id], order, offset, limit)

    def forget_deliveries(self, receiver_id: str, *, keep: int) -> None:
        of_receiver = and_(deliveries.c.receiver_id == receiver_id, ~delivery_is_waiting)
        last = select(deliveries.c.seq).where(of_receiver).order_by(deliveries.c.seq.desc()).offset(keep).limit(1)
        with self._db.read() as connection:
            beyond = connection.execute(last).scalar_one_or_none()
        if beyond is not None:
            with self._db.write_once() as connection:
                connection.execute(delete(deliveries).where(of_receiver, deliveries.c.seq <= beyond))


def _is(delivery: Delivery) -> ColumnElement[bool]:
    return and_(
        deliveries.c.receiver_id == delivery.receiver_id,
        deliveries.c.event_id == delivery.event_id,
        delivery_is_waiting,
    )


def _failing(receiver_id: str, error: str, now: datetime) -> Update:
    since = func.coalesce(receivers.c.datetime_failed, literal(now, receivers.c.datetime_failed.type))
    return update(receivers).where(receivers.c.id == receiver_id).values(error=error, datetime_failed=since)
