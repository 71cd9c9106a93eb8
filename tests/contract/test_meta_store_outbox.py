from datetime import timedelta

import pytest

from rafiki.budget import InferenceBudget
from rafiki.constants import DeliveryStatus, InferenceJobStatus, RolloutKind, RolloutStatus, TrainJobStatus
from rafiki.deployment import Deployment
from rafiki.ensembles import EnsembleSummary
from rafiki.errors import InvalidUserError, InvalidWebhookError
from rafiki.meta_store import NamedReceiver
from rafiki.rollouts import RollbackRules
from rafiki.utils.clock import utc_now

ALL = ["*"]


def make(store, user, events=ALL):
    return store.outbox.create_receiver(user.id, "webhook", "https://example.org/hook", events, most=3)


def events_of(store, receiver):
    return [d.event.value for d in reversed(store.outbox.list_deliveries(receiver.id))]


def test_the_events_of_a_job_are_written_in_order_for_its_users_receivers_and_those_of_the_stack(store, given):
    user = given.user()
    mine, others = make(store, user), make(store, given.user())
    store.outbox.set_named_receivers([NamedReceiver(id="all", kind="webhook", url="http://x", events=ALL)])
    job = given.train_job(user)
    [sub] = store.train_jobs.list_sub_train_jobs(job.id)
    given.completed_trial(sub, 1, 0.5)
    given.completed_trial(sub, 2, 0.4)
    failed = given.trial(sub, 3)
    store.trials.fail_trial(failed.id, error="it broke", owner_id=None)
    store.train_jobs.set_train_job_status(job.id, TrainJobStatus.RUNNING)
    store.train_jobs.set_train_job_status(job.id, TrainJobStatus.STOPPED)
    deployed = given.inference_job(job)
    store.inference_jobs.set_inference_job_status(deployed.id, InferenceJobStatus.RUNNING)
    store.inference_jobs.set_inference_job_status(deployed.id, InferenceJobStatus.ERRORED, "no room")
    told = [
        "train_job.started", "trial.completed", "trial.best", "trial.completed", "trial.failed", "train_job.ended",
        "inference_job.started", "inference_job.running", "inference_job.failed",
    ]  # fmt: skip
    assert events_of(store, mine) == told
    waiting = store.outbox.list_due(mine.id, limit=100)
    assert [d.event.value for d in waiting] == told
    assert waiting[1].data["score"] == 0.5
    assert waiting[-1].data["error"] == "no room"
    assert events_of(store, others) == []
    [everybodys] = store.outbox.list_receivers(None)
    of_all = store.outbox.list_due(everybodys.id, limit=100)

    assert [(d.event_id, d.event) for d in of_all] == [(d.event_id, d.event) for d in waiting]


def test_a_job_that_fails_at_once_is_told(store, given):
    user = given.user()
    hook = make(store, user)
    given.train_job(user, error="no model")
    assert sorted(events_of(store, hook)) == ["train_job.failed", "train_job.started"]


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (["train_job.*"], ["train_job.started", "train_job.ended"]),
        (["train_job.ended"], ["train_job.ended"]),
        (["trial.best"], ["trial.best"]),
        (["inference_job.*"], []),
    ],
)
def test_a_receiver_is_told_what_it_chose(store, given, events, told):
    user = given.user()
    hook = make(store, user, events)
    job = given.train_job(user)
    given.completed_trial(store.train_jobs.list_sub_train_jobs(job.id)[0], 1, 0.5)
    store.train_jobs.set_train_job_status(job.id, TrainJobStatus.STOPPED)
    assert events_of(store, hook) == told


def test_what_did_not_happen_is_not_told(store, given):
    user = given.user()
    hook = make(store, user, ["train_job.ended"])
    job = given.stopped_train_job(user)
    with pytest.raises(Exception, match="cannot become"):
        store.train_jobs.set_train_job_status(job.id, TrainJobStatus.STOPPED)
    assert events_of(store, hook) == ["train_job.ended"]


def test_what_is_not_due_holds_up_its_job_alone(store, given):
    user = given.user()
    hook = make(store, user, ["train_job.*"])
    given.stopped_train_job(user, "one")
    given.stopped_train_job(user, "two")
    first, *_ = store.outbox.list_due(hook.id, limit=100)
    later = utc_now() + timedelta(hours=1)
    store.outbox.note_failed(first, error="refused", answer=500, due=later)
    assert {d.data["app"] for d in store.outbox.list_due(hook.id, limit=100)} == {"two"}
    assert store.outbox.get_receiver(hook.id).error == "refused"
    since = store.outbox.get_receiver(hook.id).datetime_failed
    assert since is not None
    for delivery in store.outbox.list_due(hook.id, limit=100):
        store.outbox.note_delivered(delivery, answer=200, is_kept=True)
    assert store.outbox.get_receiver(hook.id).error is None
    assert store.outbox.count_waiting() == {hook.id: 2}
    assert store.outbox.list_waiting_receivers() == {hook.id}
    assert store.outbox.list_due(hook.id, limit=100) == []


def test_what_is_told_or_given_up_is_over_and_only_the_latest_of_it_is_kept(store, given):
    user = given.user()
    hook = make(store, user, ["train_job.*"])
    for app in ("one", "two", "three"):
        given.stopped_train_job(user, app)
    due = store.outbox.list_due(hook.id, limit=100)
    store.outbox.note_failed(due[0], error="refused", answer=500, due=None)
    store.outbox.note_delivered(due[1], answer=204, is_kept=False)
    for delivery in due[2:5]:
        store.outbox.note_delivered(delivery, answer=204, is_kept=True)
    store.outbox.forget_deliveries(hook.id, keep=2)
    kept = store.outbox.list_deliveries(hook.id)
    assert [d.status for d in kept] == [DeliveryStatus.WAITING, DeliveryStatus.DELIVERED, DeliveryStatus.DELIVERED]
    assert [d.event_id for d in kept] == [due[5].event_id, due[4].event_id, due[3].event_id]
    store.outbox.note_delivered(due[4], answer=500, is_kept=True)
    assert store.outbox.list_deliveries(hook.id)[1].answer == 204


def test_a_receiver_that_is_off_is_told_nothing_until_it_is_on_again(store, given):
    user = given.user()
    hook = make(store, user, ["train_job.*"])
    given.train_job(user, "one")
    store.outbox.turn_receiver_off(hook.id, "gone")
    given.train_job(user, "two")
    assert store.outbox.list_due(hook.id, limit=9) == []
    assert [d.status for d in store.outbox.list_deliveries(hook.id)] == [DeliveryStatus.FAILED]
    assert store.outbox.list_live_receivers() == []
    assert store.outbox.list_receivers(user.id)[0].off_reason == "gone"
    assert store.outbox.turn_receiver_on(hook.id).datetime_off is None
    given.train_job(user, "three")
    assert [d.data["app"] for d in store.outbox.list_due(hook.id, limit=9)] == ["three"]


def test_receivers_of_the_configuration_keep_what_waits_for_them(store, given):
    def name(*ids):
        named = [NamedReceiver(id=i, kind="mlflow", url=f"http://{i}", events=ALL) for i in ids]
        store.outbox.set_named_receivers(named)

    name("one", "two")
    given.train_job()
    store.outbox.turn_receiver_off("one", "gone")
    given.train_job(app="other")
    name("one", "three")
    assert [r.id for r in store.outbox.list_receivers(None)] == ["one", "three"]
    assert len(store.outbox.list_live_receivers()) == 2
    name("one", "two")
    assert store.outbox.list_deliveries("two") == []
    assert len(store.outbox.list_deliveries("one")) == 1


def test_a_test_is_told_whatever_else_waits(store, given):
    user = given.user()
    hook = make(store, user, ["trial.best"])
    assert store.outbox.add_test(hook.id, "e").status is DeliveryStatus.WAITING
    with pytest.raises(InvalidWebhookError):
        store.outbox.add_test("nobody", "e")
    assert [(d.event_id, d.event.value) for d in store.outbox.list_due(hook.id, limit=9)] == [("e", "webhook.test")]


def test_a_user_has_a_bounded_number_of_receivers(store, given):
    user = given.user()
    hooks = [make(store, user) for _ in range(3)]
    with pytest.raises(InvalidWebhookError, match="the most"):
        make(store, user)
    store.outbox.remove_receiver(hooks[0].id)
    make(store, user)
    with pytest.raises(InvalidWebhookError, match="no webhook"):
        store.outbox.remove_receiver(hooks[0].id)
    with pytest.raises(InvalidUserError):
        store.outbox.create_receiver("nobody", "webhook", "https://x", ALL, most=3)


def test_a_banned_user_is_told_nothing(store, given):
    user, heir = given.user(), given.user()
    hook = make(store, user)
    store.users.ban_user(user.id, heir_id=heir.id)
    assert store.outbox.list_live_receivers() == []
    assert "banned" in store.outbox.get_receiver(hook.id).off_reason


def test_updates_of_deployments_are_told(store, given):
    user = given.user()
    hook = make(store, user, ["rollout.*", "inference_job.started"])
    first, second = given.stopped_train_job(user, "app"), given.train_job(user, "app")
    trial = given.completed_trial(store.train_jobs.list_sub_train_jobs(second.id)[0], 1, 0.5)
    primary = given.inference_job(first)
    made = store.rollouts.create_rollout(
        primary, second, kind=RolloutKind.CANARY, share=0.1, rules=RollbackRules(), is_rollback=False,
        budget=InferenceBudget(), trial_ids=[trial.id], weights=[1.0], ensemble=EnsembleSummary(), labels={},
        deployment=Deployment(),
    )  # fmt: skip
    store.rollouts.end_rollout(made.id, RolloutStatus.ROLLED_BACK, "too slow")
    told = ["inference_job.started", "inference_job.started", "rollout.started", "rollout.rolled_back"]
    assert events_of(store, hook) == told
    assert store.outbox.list_deliveries(hook.id)[0].data["reason"] == "too slow"
