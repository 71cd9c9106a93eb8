import pytest

from rafiki.budget import InferenceBudget
from rafiki.constants import InferenceJobStatus, ServiceStatus, ServiceType
from rafiki.deployment import Deployment, Replicas
from rafiki.entities import Gpu, ServedTrial
from rafiki.errors import (
    IllegalTransitionError,
    InvalidInferenceJobError,
    InvalidRunningInferenceJobError,
    InvalidServiceError,
    InvalidTrainJobError,
    InvalidTrialError,
    RunningInferenceJobExistsError,
)
from rafiki.states import SERVICE_TRANSITIONS, is_final


def served(store, given, count=2):
    sub = given.sub_train_job()
    trials = [given.completed_trial(sub, no, no / 10) for no in range(1, count + 1)]
    return store.train_jobs.get_train_job(sub.train_job_id), [trial.id for trial in trials]


def test_an_inference_job_comes_back_with_its_trials_in_order(store, given):
    train_job, trial_ids = served(store, given, 3)
    job = given.inference_job(train_job, trial_ids[::-1])
    assert store.inference_jobs.get_inference_job(job.id) == job
    assert (job.status, job.app, job.app_version) == (InferenceJobStatus.STARTED, "app", 1)
    assert (job.predictor_host, job.error, job.datetime_stopped) == (None, None, None)
    assert store.inference_jobs.list_served_trials(job.id) == [
        ServedTrial(inference_job_id=job.id, trial_id=trial_id) for trial_id in trial_ids[::-1]
    ]


def test_one_inference_job_of_a_train_job_is_live(store, given):
    train_job = given.train_job()
    job = given.inference_job(train_job)
    assert store.inference_jobs.find_live_inference_job(train_job.id) == job
    with pytest.raises(RunningInferenceJobExistsError, match="already running"):
        given.inference_job(train_job)
    running = store.inference_jobs.set_inference_job_status(job.id, InferenceJobStatus.RUNNING)
    assert store.inference_jobs.find_live_inference_job(train_job.id) == running
    store.inference_jobs.set_inference_job_status(job.id, InferenceJobStatus.STOPPED)
    assert store.inference_jobs.find_live_inference_job(train_job.id) is None
    assert given.inference_job(train_job).id != job.id


def test_an_inference_job_of_something_unknown_is_refused(store, given):
    train_job, trial_ids = served(store, given)
    with pytest.raises(InvalidTrialError, match="nothing"):
        given.inference_job(train_job, [trial_ids[0], "nothing"])
    with pytest.raises(InvalidInferenceJobError, match="twice"):
        given.inference_job(train_job, [trial_ids[0], trial_ids[0]])
    with pytest.raises(InvalidTrainJobError, match="nothing"):
        store.inference_jobs.create_inference_job(
            user_id=train_job.user_id,
            train_job_id="nothing",
            app="a",
            app_version=1,
            budget=InferenceBudget(),
            trial_ids=[],
        )
    assert store.inference_jobs.list_inference_jobs(train_job.user_id) == []


def test_inference_jobs_are_listed_latest_first_and_live_ones_oldest_first(store, given):
    user = given.user()
    jobs = [given.inference_job(given.train_job(user, app)) for app in "abc"]
    other = given.inference_job(given.train_job())
    stopped = store.inference_jobs.set_inference_job_status(jobs[1].id, InferenceJobStatus.STOPPED)
    again = given.inference_job(store.train_jobs.get_train_job(stopped.train_job_id))
    assert store.inference_jobs.list_inference_jobs(user.id) == [again, jobs[2], stopped, jobs[0]]
    assert store.inference_jobs.list_inference_jobs(user.id, offset=1, limit=1) == [jobs[2]]
    assert store.inference_jobs.list_inference_jobs_of_app(user.id, "b") == [again, stopped]
    assert store.inference_jobs.list_live_inference_jobs() == [jobs[0], jobs[2], other, again]


def test_an_inference_job_is_asked_to_stop_once_and_stops(store, given):
    job = given.inference_job(given.train_job())
    requested = store.inference_jobs.request_inference_job_stop(job.id)
    assert requested.datetime_stop_requested is not None
    assert store.inference_jobs.request_inference_job_stop(job.id) == requested
    ended = store.inference_jobs.set_inference_job_status(job.id, InferenceJobStatus.ERRORED, "no worker")
    assert (ended.error, ended.datetime_stopped is None) == ("no worker", False)
    assert store.inference_jobs.request_inference_job_stop(job.id) == ended
    with pytest.raises(IllegalTransitionError, match=r"ERRORED.*RUNNING"):
        store.inference_jobs.set_inference_job_status(job.id, InferenceJobStatus.RUNNING)
    assert store.inference_jobs.get_inference_job(job.id) == ended


def test_a_predictor_host_is_set(store, given):
    job = given.inference_job(given.train_job())
    assert store.inference_jobs.set_predictor_host(job.id, "h:1").predictor_host == "h:1"
    assert store.inference_jobs.get_inference_job(job.id).predictor_host == "h:1"


def test_the_limits_of_replicas_change_while_a_job_lives_and_nothing_else_of_how_it_serves(store, given):
    train_job = given.train_job()
    job = store.inference_jobs.create_inference_job(
        user_id=train_job.user_id, train_job_id=train_job.id, app="app", app_version=1, budget=InferenceBudget(),
        trial_ids=[], deployment=Deployment(latency_budget_ms=50, require_key=True),
    )  # fmt: skip
    limits = Replicas(min=0, max=4, idle_s=60)
    changed = store.inference_jobs.set_replicas(job.id, limits)
    assert changed.deployment == Deployment(latency_budget_ms=50, require_key=True, replicas=limits)
    assert store.inference_jobs.get_inference_job(job.id) == changed
    store.inference_jobs.request_inference_job_stop(job.id)
    with pytest.raises(InvalidRunningInferenceJobError, match="does not run any more"):
        store.inference_jobs.set_replicas(job.id, limits)


def test_unknown_inference_jobs_are_refused(store):
    jobs = store.inference_jobs
    for call in (
        lambda: jobs.get_inference_job("nothing"),
        lambda: jobs.request_inference_job_stop("nothing"),
        lambda: jobs.set_inference_job_status("nothing", InferenceJobStatus.RUNNING),
        lambda: jobs.set_predictor_host("nothing", "h:1"),
        lambda: jobs.set_replicas("nothing", Replicas(max=2)),
    ):
        with pytest.raises(InvalidRunningInferenceJobError, match="nothing"):
            call()
    assert jobs.list_served_trials("nothing") == []


def test_stopped_services_of_a_unit_are_forgotten_but_for_the_last_ones_of_each_slot(store, given):
    def ended(status, **fields):
        service = given.service(job_id="j", unit_id="t", service_type=ServiceType.INFERENCE, **fields)
        return store.services.set_service_status(
            service.id, status, "broke" if status == ServiceStatus.ERRORED else None
        )

    first, second, third = (ended(ServiceStatus.STOPPED, slot=0, attempt=n) for n in (1, 2, 3))
    broken = ended(ServiceStatus.ERRORED, slot=0, attempt=4)
    of_slot_1 = ended(ServiceStatus.STOPPED, slot=1)
    live = given.service(job_id="j", unit_id="t", service_type=ServiceType.INFERENCE, slot=0, attempt=5)
    others = [given.service(job_id="j", unit_id="other"), given.service(job_id="k", unit_id="t")]
    for other in others:
        store.services.set_service_status(other.id, ServiceStatus.STOPPED)
    store.services.forget_stopped_services("j", "t", keep=2)
    kept = {s.id for s in [*store.services.list_services("j"), *store.services.list_services("k")]}
    assert kept == {s.id for s in (second, third, broken, of_slot_1, live, *others)}
    store.services.forget_stopped_services("j", "t", keep=0)
    assert {s.id for s in store.services.list_services("j")} == {broken.id, live.id, others[0].id}
    assert first.id not in kept


def test_a_service_comes_back_as_it_was_created(store, given):
    gpus = [Gpu("local", "0"), Gpu("node 2", "GPU-7a/1")]
    service = given.service(service_type=ServiceType.PREDICT, slot=3, attempt=2, gpus=gpus, port=30001)
    assert store.services.get_service(service.id) == service
    assert (service.status, service.port) == (ServiceStatus.STARTED, 30001)
    assert service.gpus == gpus
    assert (service.slot, service.attempt, service.handle) == (3, 2, None)
    with pytest.raises(InvalidServiceError, match="already"):
        given.service(service_id=service.id)


def test_a_handle_and_port_are_set_and_survive_status_changes(store, given):
    service = given.service(port=1)
    handle = '{"pid":42, "create_time":1700000000.123456}'
    assert store.services.set_service_handle(service.id, handle).port == 1
    store.services.set_service_handle(service.id, handle, port=2)
    changed = store.services.set_service_status(service.id, ServiceStatus.RUNNING)
    assert (changed.handle, changed.port, changed.status) == (handle, 2, ServiceStatus.RUNNING)


@pytest.mark.parametrize("target", ServiceStatus)
@pytest.mark.parametrize("source", ServiceStatus)
def test_a_service_status_changes_as_the_table_allows(store, given, source, target):
    service = given.service()
    if source is not ServiceStatus.STARTED:
        service = store.services.set_service_status(service.id, source)
    if target in SERVICE_TRANSITIONS[source]:
        changed = store.services.set_service_status(service.id, target, "why")
        assert (changed.status, changed.error) == (target, "why")
        assert (changed.datetime_stopped is not None) == is_final(SERVICE_TRANSITIONS, target)
    else:
        with pytest.raises(IllegalTransitionError, match=f"{source.value}.*{target.value}"):
            store.services.set_service_status(service.id, target, "why")
        assert store.services.get_service(service.id) == service


def test_a_permanent_failure_is_kept_as_one(store, given):
    accident, permanent = given.service(), given.service(slot=1)
    assert not store.services.set_service_status(accident.id, ServiceStatus.ERRORED, "why").is_permanent
    assert store.services.set_service_status(permanent.id, ServiceStatus.ERRORED, "why", is_permanent=True).is_permanent
    assert [s.is_permanent for s in store.services.list_services("job")] == [False, True]


def test_services_are_listed_by_job_and_while_live(store, given):
    mine = [given.service(slot=slot) for slot in range(3)]
    other = given.service(job_id="other")
    stopped = store.services.set_service_status(mine[1].id, ServiceStatus.STOPPED)
    deploying = store.services.set_service_status(other.id, ServiceStatus.DEPLOYING)
    assert store.services.list_services("job") == [mine[0], stopped, mine[2]]
    assert store.services.list_services("job", offset=2) == [mine[2]]
    assert store.services.list_live_services() == [mine[0], mine[2], deploying]
    assert store.services.list_services("nothing") == []


def test_unknown_services_are_refused(store):
    for call in (
        lambda: store.services.get_service("nothing"),
        lambda: store.services.set_service_handle("nothing", ""),
        lambda: store.services.set_service_status("nothing", ServiceStatus.RUNNING),
    ):
        with pytest.raises(InvalidServiceError, match="nothing"):
            call()
