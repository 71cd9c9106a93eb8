"""How receivers are told what waits for them, against a real HTTP receiver and a clock of the test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.results.hook_receiver import HookReceiver
from support.stores.meta_store_records import Given

from rafiki.admin.courier.facts import track_trial
from rafiki.admin.courier.rounds import TrackerRound, WebhookRound, delay_s, may_reach_private
from rafiki.constants import DeliveryStatus, TrainJobStatus, UserType
from rafiki.entities import Receiver, TrialLog, TrialReport, User
from rafiki.meta_store import MetaStore, NamedReceiver, open_meta_store
from rafiki.trackers import TrackedJob, TrackedTrial, Tracker, TrackerAwayError, TrackerRefusalError
from rafiki.utils.clock import utc_now
from rafiki.webhook_signature import secret_bytes, secret_of, sign

DAY = timedelta(hours=24)


class Clock:
    def __init__(self) -> None:
        self.gone = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.gone


class World:
    """A meta store with a user, and what tells a webhook of his."""

    def __init__(self, store: MetaStore, clock: Clock, receiver: HookReceiver) -> None:
        self.store, self.clock, self.receiver = store, clock, receiver
        self.given = Given(store)
        self.user: User = self.given.user(user_type=UserType.ADMIN)

    def add(self, *events: str, url: str | None = None) -> Receiver:
        hook = self.store.outbox.create_receiver(self.user.id, "webhook", url or self.receiver.url, events, most=9)
        self.receiver.secret = secret_of("job key", hook.id)
        return hook

    def take(self, hook: Receiver, *, allow_private: bool = True, timeout_s: float = 60.0) -> float:
        now = self.store.outbox.get_receiver(hook.id)
        key = secret_bytes(secret_of("job key", hook.id))
        one = WebhookRound(
            self.store, now, url=now.url, key=key, admin_url="http://admin:3000", timeout_s=timeout_s, retry_for=DAY,
            allow_private=allow_private, now=self.clock,
        )  # fmt: skip
        return one.take(lambda: False)

    def statuses(self, hook: Receiver) -> list[str]:
        return [d.status.value for d in reversed(self.store.outbox.list_deliveries(hook.id))]


@pytest.fixture
def receiver() -> Iterator[HookReceiver]:
    made = HookReceiver()
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: Path, receiver: HookReceiver) -> Iterator[World]:
    clock = Clock()
    with open_meta_store(f"sqlite:///{tmp_path}/meta.db", clock) as store:
        store.migrate()
        yield World(store, clock, receiver)


def test_a_webhook_is_told_in_order_with_signature_facts_and_links(world: World) -> None:
    hook = world.add("*")
    job = world.given.train_job(world.user, "my app")
    [sub] = world.store.train_jobs.list_sub_train_jobs(job.id)
    trial = world.given.completed_trial(sub, 1, 0.5)
    world.store.train_jobs.set_train_job_status(job.id, TrainJobStatus.STOPPED)
    assert world.take(hook) == 0.0
    assert world.receiver.types() == ["train_job.started", "trial.completed", "trial.best", "train_job.ended"]
    assert world.receiver.is_genuine == [True] * 4
    body = world.receiver.got[2]
    assert body["data"]["score"] == 0.5
    assert (body["data"]["app"], body["data"]["app_version"], body["data"]["user"]) == ("my app", 1, world.user.email)
    assert body["links"] == {
        "train_job": "http://admin:3000/train_jobs/my%20app/1",
        "trial": f"http://admin:3000/trials/{trial.id}",
    }
    assert world.statuses(hook) == ["DELIVERED"] * 4


def test_what_fails_is_told_again_with_the_same_id_and_body_and_holds_up_its_job_alone(world: World) -> None:
    hook = world.add("train_job.*")
    world.given.stopped_train_job(world.user, "one")
    world.given.stopped_train_job(world.user, "two")
    world.receiver.answer = lambda body: 500 if body["data"]["app"] == "one" else 204
    assert world.take(hook) == delay_s(0)
    assert [b["data"]["app"] for b in world.receiver.got] == ["two", "two"]
    [refused] = world.receiver.refused
    assert "It answers with status 500." in [d.error for d in world.store.outbox.list_deliveries(hook.id)]
    world.receiver.answer = lambda body: None
    world.clock.gone += timedelta(seconds=delay_s(0))
    world.take(hook)
    assert world.receiver.refused == [refused, refused]
    world.receiver.answer = lambda body: 200
    world.take(hook)
    assert len(world.receiver.got) == 2, "the next attempt is not due"
    world.clock.gone += timedelta(seconds=delay_s(1))
    world.take(hook)
    assert world.receiver.got[2] == refused
    assert world.receiver.types()[2:] == ["train_job.started", "train_job.ended"]
    assert world.store.outbox.get_receiver(hook.id).error is None


def test_what_takes_nothing_for_a_day_is_given_up_and_switched_off(world: World) -> None:
    hook = world.add("train_job.*")
    world.given.stopped_train_job(world.user, "one")
    world.receiver.answer = lambda body: 503
    n_attempts = 0
    while world.store.outbox.get_receiver(hook.id).datetime_off is None:
        world.take(hook)
        world.clock.gone += timedelta(hours=1)
        n_attempts += 1
        assert n_attempts < 40
    off = world.store.outbox.get_receiver(hook.id)
    assert off.off_reason == "It took nothing for 24 hours. At last: It answers with status 503."
    assert world.statuses(hook) == ["FAILED", "FAILED"]
    assert n_attempts >= 24


def test_the_delays_grow_to_an_hour_and_a_day_has_a_bounded_number_of_attempts() -> None:
    total_s, attempts = 0.0, 0
    while total_s < DAY.total_seconds():
        total_s += delay_s(attempts)
        attempts += 1
    assert delay_s(0) == 1.0
    assert delay_s(1000) == 3600.0
    assert 30 < attempts < 40


def test_one_event_that_is_never_taken_does_not_switch_a_webhook_off(world: World) -> None:
    hook = world.add("train_job.*")
    world.given.train_job(world.user, "bad")
    world.receiver.answer = lambda body: 400 if body["data"]["app"] == "bad" else 204
    for hour in range(26):
        world.take(hook)
        world.given.train_job(world.user, f"good-{hour}")
        world.clock.gone += timedelta(hours=1)
    assert world.store.outbox.get_receiver(hook.id).datetime_off is None
    assert world.statuses(hook)[0] == "FAILED"
    assert len(world.receiver.got) >= 25


def test_a_receiver_that_says_that_it_is_gone_is_switched_off_at_once(world: World) -> None:
    hook = world.add("train_job.*")
    world.given.stopped_train_job(world.user, "one")
    world.receiver.answer = lambda body: 410
    world.take(hook)
    assert len(world.receiver.refused) == 1
    assert "410" in str(world.store.outbox.get_receiver(hook.id).off_reason)


def test_redirects_are_not_followed(world: World) -> None:
    target = HookReceiver()
    hook = world.add("train_job.*")
    world.given.train_job(world.user)
    world.receiver.answer, world.receiver.location = (lambda body: 307), target.url
    world.take(hook)
    target.close()
    assert target.got == target.refused == []
    assert "redirects are not followed" in str(world.store.outbox.get_receiver(hook.id).error)


def test_a_receiver_that_answers_too_late_is_not_waited_for(world: World) -> None:
    is_over = threading.Event()
    hook = world.add("train_job.*")
    world.given.train_job(world.user)

    def answer_late(body: dict[str, Any]) -> int:
        is_over.wait(60)
        return 204

    world.receiver.answer = answer_late
    world.take(hook, timeout_s=0.3)
    is_over.set()
    assert "took more than 0.3 s" in str(world.store.outbox.get_receiver(hook.id).error)
    assert world.statuses(hook) == ["WAITING"]


def test_a_user_who_is_no_admin_reaches_no_private_address(world: World) -> None:
    hook = world.add("train_job.*")
    world.given.train_job(world.user)
    assert may_reach_private(world.store, hook, is_allowed_to_all=False)
    world.store.users.set_user_type(world.user.id, UserType.APP_DEVELOPER)
    assert may_reach_private(world.store, hook, is_allowed_to_all=True)
    assert not may_reach_private(world.store, hook, is_allowed_to_all=False)
    world.take(hook, allow_private=False)
    assert world.receiver.got == world.receiver.refused == []
    assert "not a public address" in str(world.store.outbox.get_receiver(hook.id).error)


def test_a_test_is_tried_once(world: World) -> None:
    hook = world.add("train_job.*")
    world.store.outbox.add_test(hook.id, "e")
    world.receiver.answer = lambda body: 500
    world.take(hook)
    assert world.statuses(hook) == ["FAILED"]


def test_a_signature_holds_for_one_id_time_and_body_alone() -> None:
    key, body = b"0123456789abcdef", b'{"type":"x"}'
    headers = sign(key, "id", 1700000000, body)
    wanted = base64.b64encode(hmac.new(key, b"id.1700000000." + body, hashlib.sha256).digest()).decode()
    assert headers == {
        "webhook-id": "id", "webhook-timestamp": "1700000000", "webhook-signature": f"v1,{wanted}",
    }  # fmt: skip
    others = [
        sign(key, "id", 1700000000, body + b" "),
        sign(key, "id", 1700000001, body),
        sign(key, "ie", 1700000000, body),
    ]
    others.append(sign(key[::-1], "id", 1700000000, body))
    assert len({h["webhook-signature"] for h in [headers, *others]}) == 5


@pytest.mark.parametrize("secret", ["tiny", "whsec_AAAA", "whsec_?"])
def test_a_secret_that_is_none_is_refused_without_being_told(secret: str) -> None:
    with pytest.raises(ValueError) as refused:
        secret_bytes(secret)
    assert secret not in str(refused.value)


# ---- trackers


class Notes(Tracker):
    """A tracker that notes what it is told, and fails when it is told to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.failure: Callable[[str], Exception | None] = lambda what: None

    def begin_job(self, job: TrackedJob) -> None:
        self._note(f"begin {job.app}")

    def log_trial(self, job: TrackedJob, trial: TrackedTrial) -> None:
        self._note(f"trial {job.app}/{trial.trial.no}")

    def end_job(self, job: TrackedJob) -> None:
        self._note(f"end {job.app} {job.outcome} {job.best_score} {job.n_completed}")

    def _note(self, what: str) -> None:
        if (error := self.failure(what)) is not None:
            raise error
        self.told.append(what)


class Tracked:
    def __init__(self, world: World) -> None:
        self.world, self.notes = world, Notes()
        self.is_opened = 0
        events = ["train_job.*", "trial.completed", "trial.failed"]
        world.store.outbox.set_named_receivers([NamedReceiver(id="t", kind="notes", url="x", events=events)])
        self.round = TrackerRound(world.store, "t", self._open, None, now=world.clock)

    def _open(self) -> Tracker:
        self.is_opened += 1
        return self.notes

    def run_job(self, app: str, **fields: Any) -> None:
        given, store = self.world.given, self.world.store
        job = given.train_job(self.world.user, app, **fields)
        given.completed_trial(store.train_jobs.list_sub_train_jobs(job.id)[0], 1, 0.25)
        store.train_jobs.set_train_job_status(job.id, TrainJobStatus.STOPPED)

    def take(self) -> float:
        return self.round.take(lambda: False)

    def error(self) -> str | None:
        return self.world.store.outbox.get_receiver("t").error


@pytest.fixture
def tracked(world: World) -> Tracked:
    return Tracked(world)


def test_a_tracker_is_told_of_jobs_and_trials_in_order(tracked: Tracked) -> None:
    tracked.run_job("one")
    assert tracked.take() == 0.0
    assert tracked.notes.told == ["begin one", "trial one/1", "end one COMPLETED 0.25 1"]
    assert tracked.world.store.outbox.list_deliveries("t") == []


def test_a_job_may_be_kept_from_trackers(tracked: Tracked) -> None:
    tracked.run_job("secret", labels={"tracking": "off"})
    tracked.run_job("one", labels={"tracking": "on"})
    tracked.take()
    assert [t.split()[1] for t in tracked.notes.told] == ["one", "one/1", "one"]
    assert tracked.world.store.outbox.list_deliveries("t") == []


def test_a_tracker_that_is_away_is_told_everything_later(tracked: Tracked) -> None:
    tracked.run_job("one")
    tracked.notes.failure = lambda what: TrackerAwayError("It is down.") if what.startswith("trial") else None
    rests = [tracked.take() for _ in range(9)]
    assert rests == sorted(rests)
    assert rests[0] == 1.0
    assert rests[-1] == 60.0
    assert tracked.error() == "It is down."
    assert tracked.is_opened == 9, "it is opened anew: a token may be another one"
    tracked.notes.failure = lambda what: None
    tracked.take()
    assert tracked.notes.told == ["begin one", "trial one/1", "end one COMPLETED 0.25 1"]
    assert tracked.error() is None


def test_a_tracker_that_refuses_who_asks_is_told_everything_once_it_does_not(tracked: Tracked) -> None:
    tracked.run_job("one")
    tracked.notes.failure = lambda what: TrackerRefusalError("A wrong token.")
    for _ in range(20):
        assert tracked.take() > 0
    tracked.notes.failure = lambda what: None
    tracked.take()
    assert len(tracked.notes.told) == 3


@pytest.mark.parametrize("error", [TrackerRefusalError("Too long.", is_of_event=True), KeyError("a fault of its own")])
def test_what_a_tracker_never_takes_is_given_up_and_the_rest_is_told(tracked: Tracked, error: Exception) -> None:
    tracked.run_job("one")
    tracked.run_job("two")
    tracked.notes.failure = lambda what: error if what == "trial one/1" else None
    for _ in range(5):
        tracked.take()
        tracked.world.clock.gone += timedelta(hours=1)
    tracked.take()
    assert sorted(t.partition(" ")[2][:3] for t in tracked.notes.told) == ["one"] * 2 + ["two"] * 3
    [given_up] = tracked.world.store.outbox.list_deliveries("t")
    assert (given_up.status, given_up.attempts) == (DeliveryStatus.FAILED, 5)


def test_logged_metrics_have_their_steps_and_times_and_intermediate_scores_their_steps(world: World) -> None:
    sub = world.given.sub_train_job()
    trial = world.given.trial(sub)

    def entry(no: int, **metrics: Any) -> TrialLog:
        made = {"type": "METRICS", "time": f"2026-01-02T03:04:0{no}+00:00", "metrics": metrics}
        return TrialLog(trial_id=trial.id, attempt=1, line_no=no, entry=made)

    logs = [entry(0, loss=1.0), entry(1, loss="inf"), entry(2, loss=0.5, epoch=7.0)]
    world.store.trials.add_trial_logs(trial.id, logs, owner_id=None)
    report = TrialReport(trial_id=trial.id, attempt=1, step=4.0, score=0.25)
    world.store.trials.add_trial_report(report, owner_id=None)
    points = track_trial(world.store, None, world.store.trials.get_trial(trial.id)).points
    assert [(p.name, p.value, p.step) for p in points] == [
        ("loss", 1.0, 0), ("loss", float("inf"), 1), ("loss", 0.5, 7), ("epoch", 7.0, 7),
        ("intermediate_score", 0.25, 4),
    ]  # fmt: skip
    assert [p.time.second for p in points[:3]] == [0, 1, 2]
