"""What is planned for updates: every step, whatever fails, and who serves meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.services.planner_world import INFERENCE, KILLED, LIVE, NOW, PREDICT, World, report_of, slots

from rafiki.admin.actions import Action, EndRollout, Plan, Serving, StartRollout
from rafiki.admin.observed import ObservedRollout
from rafiki.admin.plan_rollout import find_broken_rule
from rafiki.admin.planner import NoteEnded, Observed, ObservedInferenceJob, SetInferenceJobStatus, StopService, decide
from rafiki.admin.rollout_figures import RolloutFigures
from rafiki.constants import (
    InferenceJobStatus,
    RolloutKind,
    RolloutOrder,
    RolloutStatus,
    ServiceType,
    ServingRole,
)
from rafiki.deployment import Deployment
from rafiki.entities import InferenceJob, Rollout, Service
from rafiki.messages import PredictorReport, ServiceReport
from rafiki.rollouts import Comparison, RollbackRules, SideFigures


class UpdateWorld(World):
    """``old`` answers with the trial ``t0``; ``new`` is to take its place with ``t1``."""

    def __init__(self, kind: RolloutKind = RolloutKind.REPLACE, share: float = 0.0, **rollout: Any) -> None:
        super().__init__(n_subs=0)
        running = InferenceJobStatus.RUNNING
        old = msgspec.structs.replace(self.inference_job, id="old", status=running)
        new = msgspec.structs.replace(old, id="new", app_version=2, status=InferenceJobStatus.STARTED, front_id="old",
                                      role=ServingRole.CANDIDATE)  # fmt: skip
        self.jobs: dict[str, InferenceJob] = {"old": old, "new": new}
        self.members = {"old": ["t0"], "new": ["t1"]}
        self.said: dict[str, PredictorReport] = {}
        self.comparison = Comparison()
        self.scores: tuple[float | None, float | None] = (None, None)
        given: dict[str, Any] = {"rules": RollbackRules(), "status": RolloutStatus.STARTED, "ordered": None, **rollout}
        self.rollout = Rollout(
            id="r", user_id="u", app="app", front_id="old", from_job_id="old", to_job_id="new", kind=kind, share=share,
            is_rollback=False, reason=None, comparison=Comparison(), datetime_started=NOW, datetime_ready=None,
            datetime_stopped=None, **given,
        )  # fmt: skip
        self.service(PREDICT, "old", job_id="old")
        self.service(INFERENCE, "t0", job_id="old")

    def observe(self) -> Observed:
        seen = super().observe()
        live = (InferenceJobStatus.STARTED, InferenceJobStatus.RUNNING)
        ended = [s for s in self.services if s.status not in LIVE]
        jobs = [
            ObservedInferenceJob(
                job=job, trial_ids=self.members[job.id], report=self.said.get(job.id),
                ended=[s for s in ended if s.job_id == job.id or s.service_type is PREDICT],
            )
            for job in self.jobs.values() if job.status in live
        ]  # fmt: skip
        is_live = self.rollout.status in (RolloutStatus.STARTED, RolloutStatus.RUNNING)
        rollouts = [
            ObservedRollout(
                rollout=self.rollout, before=self.jobs["old"], after=self.jobs["new"], scores=self.scores,
                comparison=self.comparison,
            )
        ]  # fmt: skip
        fronts = {i: job.front for i, job in self.jobs.items() if job.status not in live}
        return msgspec.structs.replace(seen, inference_jobs=jobs, rollouts=rollouts if is_live else [], fronts=fronts)

    def decide(self) -> Plan:
        return decide(self.observe())

    def serving(self) -> list[tuple[str, float, bool, bool]]:
        """What the predictor is told: job, share, whether it is a shadow, whether it leaves."""
        found: list[Serving] = self.decide().serving
        return [(j.job_id, j.share, j.is_shadow, j.is_leaving) for s in found for j in s.jobs]

    def set_job(self, job_id: str, **fields: Any) -> None:
        self.jobs[job_id] = msgspec.structs.replace(self.jobs[job_id], **fields)

    def do(self, *actions: Action) -> None:
        """As the store does it."""
        for action in actions:
            match action:
                case SetInferenceJobStatus():
                    self.set_job(action.job.id, status=action.status, error=action.error)
                case StartRollout():
                    self.rollout = msgspec.structs.replace(self.rollout, status=RolloutStatus.RUNNING)
                case EndRollout():
                    self.rollout = msgspec.structs.replace(
                        self.rollout, status=action.status, reason=action.reason, comparison=action.comparison
                    )
                    goes, stays = ("old", "new") if action.status is RolloutStatus.PROMOTED else ("new", "old")
                    self.set_job(goes, role=ServingRole.LEAVING, datetime_stop_requested=self.now)
                    self.set_job(stays, role=ServingRole.PRIMARY)

    def ready(self) -> None:
        """The new one's worker runs, and the predictor sees it."""
        self.service(INFERENCE, "t1", job_id="new")
        self.said["new"] = report_of("t1")
        self.do(*self.plan())


def test_the_new_version_gets_its_workers_and_the_old_one_serves_meanwhile() -> None:
    world = UpdateWorld()
    assert slots(world.plan()) == [("INFERENCE", "t1", 0)]
    assert world.serving() == [("old", 0.0, False, False), ("new", 0.0, False, False)]


def test_a_new_version_is_ready_once_the_predictor_sees_a_worker_of_each_member() -> None:
    world = UpdateWorld()
    world.service(INFERENCE, "t1", job_id="new")
    assert world.plan() == []
    world.said["new"] = report_of("t1", workers=0)
    assert world.plan() == []
    world.said["new"] = report_of("t1")
    assert world.plan() == [SetInferenceJobStatus(job=world.jobs["new"], status=InferenceJobStatus.RUNNING)]


def test_an_update_switches_drains_and_ends_the_version_before_behind_the_same_predictor() -> None:
    world = UpdateWorld()
    world.ready()
    [switch] = world.plan()
    assert isinstance(switch, EndRollout)
    assert (switch.status, switch.reason) == (RolloutStatus.PROMOTED, None)
    world.do(switch)
    assert world.serving() == [("new", 0.0, False, False), ("old", 0.0, False, True)]
    # The predictor has not heard of it, then has requests of the old one in hand.
    assert world.plan() == []
    world.said["old"] = report_of("t0", is_leaving=True, in_hand=3)
    assert world.plan() == []
    world.said["old"] = report_of("t0", is_leaving=True)
    [stopped] = world.plan()
    assert stopped == SetInferenceJobStatus(job=world.jobs["old"], status=InferenceJobStatus.STOPPED)
    world.do(stopped)
    # Its workers end; the predictor, which began with it, goes on.
    assert [a.service.unit_id for a in world.plan() if isinstance(a, StopService)] == ["t0"]
    assert world.serving() == [("new", 0.0, False, False)]


def test_a_predictor_that_died_is_started_again_for_whatever_answers_at_its_address() -> None:
    world = UpdateWorld()
    world.ready()
    world.do(*world.plan())
    world.set_job("old", status=InferenceJobStatus.STOPPED)
    [predictor] = [s for s in world.services if s.service_type is PREDICT]
    world.change(predictor, status="ERRORED", error="killed", datetime_stopped=NOW)
    world.services = [s for s in world.services if s.unit_id != "t0"]
    starts = [a for a in world.plan() if not isinstance(a, StopService)]
    assert [(a.job_id, a.unit_id, a.attempt) for a in starts] == [("old", "old", 2)]  # type: ignore[union-attr]


def test_an_old_version_that_cannot_drain_ends_at_its_deadline() -> None:
    world = UpdateWorld()
    world.ready()
    world.do(*world.plan())
    world.said["old"] = report_of("t0", is_leaving=True, in_hand=1)
    world.now = NOW + timedelta(seconds=14)
    assert world.plan() == []
    world.now = NOW + timedelta(seconds=16)
    assert [type(a) for a in world.plan()] == [SetInferenceJobStatus]


def test_a_canary_gets_its_share_once_ready_and_all_once_promoted() -> None:
    world = UpdateWorld(RolloutKind.CANARY, share=0.1)
    world.ready()
    assert world.serving() == [("old", 0.0, False, False), ("new", 0.0, False, False)]
    world.do(*world.plan())
    assert world.rollout.status is RolloutStatus.RUNNING
    assert world.serving() == [("old", 0.0, False, False), ("new", 0.1, False, False)]
    assert world.plan() == []
    world.rollout = msgspec.structs.replace(world.rollout, ordered=RolloutOrder.PROMOTE)
    world.do(*world.plan())
    assert world.rollout.status is RolloutStatus.PROMOTED
    assert world.serving() == [("new", 0.0, False, False), ("old", 0.0, False, True)]


def test_a_canary_that_is_rolled_back_drains_and_the_old_version_goes_on() -> None:
    world = UpdateWorld(RolloutKind.CANARY, share=0.1)
    world.ready()
    world.do(*world.plan())
    world.rollout = msgspec.structs.replace(world.rollout, ordered=RolloutOrder.ROLL_BACK)
    world.do(*world.plan())
    assert (world.rollout.status, world.rollout.reason) == (RolloutStatus.ROLLED_BACK, "Rolled back as ordered.")
    assert world.serving() == [("old", 0.0, False, False), ("new", 0.0, False, True)]
    world.said["new"] = report_of("t1", is_leaving=True)
    world.do(*world.plan())
    assert world.jobs["new"].status is InferenceJobStatus.STOPPED
    assert [a.service.unit_id for a in world.plan() if isinstance(a, StopService)] == ["t1"]


def test_a_shadow_is_asked_with_copies_alone() -> None:
    world = UpdateWorld(RolloutKind.SHADOW)
    world.ready()
    world.do(*world.plan())
    assert world.serving() == [("old", 0.0, False, False), ("new", 0.0, True, False)]


def test_a_promotion_that_comes_early_waits_for_the_workers() -> None:
    world = UpdateWorld(RolloutKind.CANARY, share=0.1, ordered=RolloutOrder.PROMOTE)
    assert slots(world.plan()) == [("INFERENCE", "t1", 0)]
    world.ready()
    [promoted] = world.plan()
    assert isinstance(promoted, EndRollout)
    assert promoted.status is RolloutStatus.PROMOTED


def test_a_new_version_whose_worker_cannot_run_ends_the_update_with_its_reason() -> None:
    world = UpdateWorld()
    world.members["new"] = ["t1", "t2"]
    failed = world.failure(INFERENCE, "t1", error="its parameters are damaged", is_permanent=True)
    world.change(failed, job_id="new")
    [errored] = [a for a in world.plan() if isinstance(a, SetInferenceJobStatus)]
    assert errored.status is InferenceJobStatus.ERRORED
    world.do(errored)
    [ended] = [a for a in world.plan() if isinstance(a, EndRollout)]
    assert (ended.status, "its parameters are damaged" in (ended.reason or "")) == (RolloutStatus.ERRORED, True)
    world.do(ended)
    assert world.serving() == [("old", 0.0, False, False)]


def test_stopping_the_app_ends_an_update_and_both_versions() -> None:
    world = UpdateWorld(RolloutKind.CANARY, share=0.5)
    world.ready()
    world.do(*world.plan())
    world.set_job("old", datetime_stop_requested=NOW)
    actions = world.plan()
    assert [a.reason for a in actions if isinstance(a, EndRollout)] == ["The app was stopped."]
    world.do(*actions)
    world.do(*world.plan())
    assert {job.status for job in world.jobs.values()} == {InferenceJobStatus.STOPPED}
    assert [a.service.service_type for a in world.plan() if isinstance(a, StopService)] == [PREDICT]


def test_stopping_the_new_version_takes_the_update_back() -> None:
    world = UpdateWorld(RolloutKind.CANARY, share=0.5)
    world.ready()
    world.do(*world.plan())
    world.set_job("new", datetime_stop_requested=NOW)
    world.do(*world.plan())
    assert (world.rollout.status, world.rollout.reason) == (RolloutStatus.ROLLED_BACK, "The new version was stopped.")
    assert world.jobs["old"].status is InferenceJobStatus.RUNNING


def test_an_old_version_that_fails_makes_way_for_a_new_one_that_runs() -> None:
    world = UpdateWorld(RolloutKind.CANARY, share=0.1)
    world.ready()
    world.do(*world.plan())
    world.set_job("old", status=InferenceJobStatus.ERRORED, error="No inference worker can run: killed")
    [promoted] = [a for a in world.plan() if isinstance(a, EndRollout)]
    assert promoted.status is RolloutStatus.PROMOTED
    assert "killed" in (promoted.reason or "")
    # The predictor is kept for it meanwhile.
    assert [a for a in world.plan() if isinstance(a, StopService) and a.service.service_type is PREDICT] == []


@pytest.mark.parametrize(
    ("scores", "ends"), [((0.9, 0.85), False), ((0.9, 0.79), True), ((0.9, None), True), ((None, 0.5), False)]
)
def test_a_gate_on_the_score_ends_an_update_before_it_begins(
    scores: tuple[float | None, float | None], ends: bool
) -> None:
    world = UpdateWorld(RolloutKind.CANARY, rules=RollbackRules(score=0.1))
    world.scores = scores
    ended = [a for a in world.plan() if isinstance(a, EndRollout)]
    assert [a.status for a in ended] == ([RolloutStatus.ROLLED_BACK] if ends else [])


def side(requests: int = 1000, errors: int = 0, p99_ms: float | None = 10.0) -> SideFigures:
    return SideFigures(requests=requests, errors=errors, p50_ms=p99_ms, p99_ms=p99_ms)


@pytest.mark.parametrize(
    ("rules", "before", "after", "named"),
    [
        (RollbackRules(errors=0.01), side(), side(errors=11), "rollback.errors"),
        (RollbackRules(errors=0.01), side(), side(errors=10), None),
        # What fails with both is no fault of the new one.
        (RollbackRules(errors=0.01), side(errors=500), side(errors=505), None),
        (RollbackRules(errors=0.01), side(), side(requests=49, errors=49), None),
        (RollbackRules(latency_ms=5), side(), side(p99_ms=15.5), "rollback.latency_ms"),
        (RollbackRules(latency_ms=5), side(), side(p99_ms=15.0), None),
        (RollbackRules(latency_ms=5), side(p99_ms=None), side(p99_ms=15.5), None),
        (RollbackRules(), side(), side(errors=1000, p99_ms=1e6), None),
    ],
)
def test_rules_judge_the_new_version_by_the_one_before(
    rules: RollbackRules, before: SideFigures, after: SideFigures, named: str | None
) -> None:
    found = find_broken_rule(rules, Comparison(before=before, after=after))
    assert (found is None) if named is None else (found is not None and named in found)


def test_a_shadow_that_says_something_else_too_often_is_taken_back() -> None:
    rules = RollbackRules(disagreement=0.05)
    assert find_broken_rule(rules, Comparison(compared=100, agreed=95)) is None
    assert "rollback.disagreement" in (find_broken_rule(rules, Comparison(compared=100, agreed=94)) or "")
    assert find_broken_rule(rules, Comparison(compared=49, agreed=0)) is None


def test_a_broken_rule_takes_a_canary_back_with_what_was_found() -> None:
    world = UpdateWorld(RolloutKind.CANARY, share=0.1, rules=RollbackRules(errors=0.01))
    world.ready()
    world.do(*world.plan())
    world.comparison = Comparison(before=side(), after=side(errors=500))
    [ended] = world.plan()
    assert isinstance(ended, EndRollout)
    assert (ended.status, ended.comparison) == (RolloutStatus.ROLLED_BACK, world.comparison)
    assert ended.reason == "50.0% of its 1000 requests failed, of the version before 0.0% (rollback.errors 1.0%)."


def test_a_predictor_of_an_earlier_rafiki_is_replaced_before_it_is_told_of_versions() -> None:
    world = UpdateWorld()
    [predictor] = [s for s in world.services if s.service_type is PREDICT]
    world.reports[predictor.id] = ServiceReport(state="running", version="0.9")
    stops = [a for a in world.plan() if isinstance(a, StopService)]
    assert [(a.service.id, a.is_replaced) for a in stops] == [(predictor.id, True)]


def test_figures_count_from_the_first_reports_and_anew_after_a_restart() -> None:
    figures = RolloutFigures()
    before, after = report_of("t0", requests=100, errors=5), report_of("t1", requests=0)
    assert figures.note("r", None, after) == Comparison()
    assert figures.note("r", before, after) == Comparison()
    found = figures.note(
        "r", report_of("t0", requests=190, errors=6, all_latencies={50: 90}),
        report_of("t1", requests=10, errors=1, all_latencies={60: 9}, compared=4, agreed=3),
    )  # fmt: skip
    assert (found.before.requests, found.before.errors, found.after.requests, found.after.errors) == (90, 1, 10, 1)
    assert (found.compared, found.agreed) == (4, 3)
    assert (found.before.p99_ms or 0) < (found.after.p99_ms or 0)
    assert figures.find("r") == found
    anew = figures.note("r", report_of("t0", requests=3), report_of("t1", requests=1))
    assert (anew.before.requests, anew.after.requests) == (0, 0)
    figures.forget_all_but([])
    assert figures.find("r") is None


@pytest.mark.parametrize("kind", [PREDICT, INFERENCE])
def test_services_of_both_versions_that_end_are_errors(kind: ServiceType) -> None:
    world = UpdateWorld(RolloutKind.CANARY, share=0.1)
    world.ready()
    world.do(*world.plan())
    service: Service = next(s for s in world.services if s.service_type is kind)
    world.exits[service.id] = KILLED
    [noted] = [a for a in world.plan() if isinstance(a, NoteEnded)]
    assert noted.error == KILLED.reason


def test_a_deadline_of_the_deployment_is_how_long_it_may_drain() -> None:
    world = UpdateWorld()
    world.set_job("old", deployment=Deployment(latency_budget_ms=100))
    world.ready()
    world.do(*world.plan())
    world.now = NOW + timedelta(seconds=6)
    assert [type(a) for a in world.plan()] == [SetInferenceJobStatus]
