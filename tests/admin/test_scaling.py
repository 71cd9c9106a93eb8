"""The autoscalers of deployments, fed with what a look sees."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from support.services.planner_world import INFERENCE, NOW, PREDICT, World, scaled_inference

from rafiki.admin.planner import ObservedInferenceJob, decide
from rafiki.admin.scaling import Scaling
from rafiki.constants import InferenceJobStatus, ServiceStatus, ServingRole
from rafiki.container.hosts import Host
from rafiki.deployment import Replicas
from rafiki.entities import InferenceJob
from rafiki.messages import MemberReport, PredictorReport
from rafiki.utils.timing import Timing


class Clock(Timing):
    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self):
        return NOW + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        return 1000.0 + self.passed_s


class Deployment:
    """A deployment of one or more members, whose predictor counts what the test says."""

    def __init__(self, replicas: Replicas, n_trials: int = 1) -> None:
        self.world: World = scaled_inference(n_trials, replicas)
        self.clock = Clock()
        self.noted: list[str] = []
        self.scaling = Scaling(deadline_s=0.2, note_job=self.noted.append, timing=self.clock)
        self.asked = 0
        self.report: PredictorReport | None = None

    def pass_seconds(self, n: int, rate: int) -> None:
        """Looks, one a second, while so many queries a second are counted."""
        for _ in range(n):
            self.clock.passed_s += 1
            self.world.now = self.clock.now()
            self.asked += rate
            members = [MemberReport(t, 1, 0, 0, self.asked, 0, 0.02, 0.005) for t in self.world.trial_ids]
            self.report = PredictorReport(
                no=1, requests_per_s=rate, errors_per_s=0, requests=self.asked, errors=0, latencies={}, members=members,
                uptime_s=self.clock.passed_s,
            )  # fmt: skip
            self.look()

    def look(self) -> dict[str, int]:
        """What is wanted of each member, planned and done."""
        observed = self.world.observe()
        jobs = [msgspec.structs.replace(o, report=self.report) for o in observed.inference_jobs]
        seen: list[ObservedInferenceJob] = self.scaling.look(jobs, observed.services)
        self.world.wanted = dict(seen[0].wanted) if seen else {}
        self.scaling.note_plan(decide(self.world.observe()))
        return self.world.wanted

    def change(self, **fields: object) -> None:
        self.world.inference_job = msgspec.structs.replace(self.world.inference_job, **fields)

    @property
    def job(self) -> InferenceJob:
        return self.world.inference_job

    @property
    def told(self) -> list[tuple[int, int, str]]:
        found = self.scaling.find(self.job.id)
        return [(c.change.before, c.change.after, c.change.reason) for c in found.changes] if found else []


def test_a_load_asks_for_workers_and_the_job_is_noted_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    deployment = Deployment(Replicas(min=1, max=4))
    deployment.pass_seconds(5, rate=20)
    assert (deployment.look(), deployment.told, deployment.noted) == ({"t0": 1}, [], [])
    deployment.pass_seconds(4, rate=300)
    assert deployment.look()["t0"] >= 2
    assert deployment.told[0][:2] == (1, 2) and "queries/s, of which one worker answers" in deployment.told[0][2]
    assert set(deployment.noted) == {"ijob"}
    assert "replicas of t0: 1 -> 2: " in caplog.text
    found = deployment.scaling.find("ijob")
    assert found is not None
    assert [(m.trial_id, m.wanted, m.start_s) for m in found.members] == [("t0", deployment.look()["t0"], None)]
    deployment.world.run_everything()
    [second, *_] = [s for s in deployment.world.services if s.service_type is INFERENCE and s.slot == 1]
    assert second.status is ServiceStatus.RUNNING


def test_how_long_a_start_takes_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    deployment = Deployment(Replicas(min=1, max=4))
    second = deployment.world.service(INFERENCE, "t0", 1, status=ServiceStatus.STARTED, datetime_started=NOW)
    deployment.pass_seconds(3, rate=100)
    deployment.world.reports[second.id] = deployment.world.reports[deployment.world.services[0].id]
    deployment.pass_seconds(1, rate=100)
    found = deployment.scaling.find("ijob")
    assert found is not None and found.members[0].start_s == 4.0


def test_all_members_sleep_together_and_wake_together() -> None:
    deployment = Deployment(Replicas(min=0, max=4, idle_s=10), n_trials=2)
    deployment.pass_seconds(5, rate=10)
    deployment.pass_seconds(8, rate=0)
    assert deployment.look() == {"t0": 1, "t1": 1}
    deployment.pass_seconds(5, rate=0)
    assert deployment.look() == {"t0": 0, "t1": 0}
    deployment.pass_seconds(1, rate=1)
    assert deployment.look() == {"t0": 1, "t1": 1}
    assert [(before, after) for before, after, _ in deployment.told] == [(1, 0), (1, 0), (0, 1), (0, 1)]


def test_what_cannot_be_placed_is_told_and_not_asked_for_at_the_next_look() -> None:
    deployment = Deployment(Replicas(min=1, max=4))
    world = deployment.world
    world.hosts = [Host(name="local", cores=1.0)]
    world.service_hosts = {s.id: "local" for s in world.services}
    deployment.pass_seconds(10, rate=300)
    assert deployment.look() == {"t0": 1}
    before, after, reason = deployment.told[-1]
    assert after == 1 < before and "cannot be had: node local has a worker for each of its 1 cores" in reason
    assert len(deployment.told) == 2
    deployment.pass_seconds(30, rate=300)
    assert len(deployment.told) == 2


def test_an_admin_that_was_restarted_goes_on_from_the_workers_that_it_finds() -> None:
    deployment = Deployment(Replicas(min=0, max=4))
    for slot in (1, 2):
        deployment.world.service(INFERENCE, "t0", slot)
    assert deployment.look() == {"t0": 3}
    asleep = Deployment(Replicas(min=0, max=4))
    for service in list(asleep.world.services):
        if service.service_type is INFERENCE:
            asleep.world.change(service, status=ServiceStatus.STOPPED, datetime_stopped=NOW)
    assert asleep.look() == {"t0": 0}
    new = Deployment(Replicas(min=0, max=4))
    new.change(status=InferenceJobStatus.STARTED)
    assert new.look() == {"t0": 1}


def test_without_a_report_of_the_predictor_nothing_changes() -> None:
    deployment = Deployment(Replicas(min=0, max=4, idle_s=5))
    deployment.pass_seconds(2, rate=10)
    deployment.report = None
    for _ in range(100):
        deployment.clock.passed_s += 1
        assert deployment.look() == {"t0": 1}


def test_a_version_that_is_only_tried_does_not_sleep_and_one_that_goes_stays_as_it_is() -> None:
    deployment = Deployment(Replicas(min=0, max=4, idle_s=5))
    deployment.change(role=ServingRole.CANDIDATE)
    deployment.pass_seconds(60, rate=0)
    assert deployment.look() == {"t0": 1}
    deployment.change(role=ServingRole.LEAVING)
    deployment.pass_seconds(60, rate=0)
    assert deployment.look() == {"t0": 1}


def test_other_limits_hold_at_the_next_look_and_what_is_gone_is_forgotten() -> None:
    deployment = Deployment(Replicas(min=1, max=4))
    assert deployment.look() == {"t0": 1}
    deployment.change(deployment=msgspec.structs.replace(deployment.job.deployment, replicas=Replicas(min=3, max=4)))
    assert deployment.look() == {"t0": 3}
    assert deployment.told == [(1, 3, "set to 3 to 4")]
    deployment.change(deployment=msgspec.structs.replace(deployment.job.deployment, replicas=None))
    deployment.look()
    assert deployment.scaling.find("ijob") is None
    assert [s.service_type for s in deployment.world.services if s.service_type is PREDICT] == [PREDICT]
