"""What is to be done, from what was seen. Pure: :func:`decide` has no I/O and no clock.

The supervisor looks (:class:`Observed`), asks :func:`decide`, acts, and looks again; so an action that failed is
planned anew, and a restarted admin goes on from what it finds.
"""

from __future__ import annotations

from rafiki.admin.actions import (
    CUT_OFF,
    Action,
    FailSearch,
    LostMember,
    NoteEnded,
    NoteRunning,
    Plan,
    ReplaceMembers,
    RetireService,
    SetInferenceJobStatus,
    SetTrainJobStatus,
    StartService,
    StopService,
    Wait,
)
from rafiki.admin.gpus import share_gpus
from rafiki.admin.observed import (
    CheckState,
    Observed,
    ObservedInferenceJob,
    ObservedService,
    ObservedTrainJob,
    is_live,
)
from rafiki.admin.placement import Placement
from rafiki.admin.plan_inference import plan_inference_job
from rafiki.admin.plan_rollout import plan_rollout, plan_serving
from rafiki.admin.plan_train import plan_train_job
from rafiki.admin.slots import JobServices, services_behind, services_by_job
from rafiki.constants import ServiceStatus, ServiceType
from rafiki.entities import Service
from rafiki.messages import OLDEST_PROTOCOL, PROTOCOL
from rafiki.states import TRAIN_JOB_TRANSITIONS, is_final

__all__ = [
    "Action", "CheckState", "FailSearch", "LostMember", "NoteEnded", "NoteRunning", "Observed", "ObservedInferenceJob",
    "ObservedService", "ObservedTrainJob", "Plan", "ReplaceMembers", "RetireService", "SetInferenceJobStatus",
    "SetTrainJobStatus", "StartService", "StopService", "Wait", "decide", "is_live", "plan", "share_gpus",
]  # fmt: skip


def plan(observed: Observed) -> list[Action]:
    """The actions of :func:`decide`."""
    return decide(observed).actions


def decide(observed: Observed) -> Plan:
    """The actions that bring what is seen nearer to what is wanted, and what has to wait."""
    actions: list[Action] = []
    waits: list[Wait] = []
    lost: list[LostMember] = []
    wanted = _Wanted(observed)
    services = services_by_job(observed)
    placement = Placement(observed)
    advisors = {
        s.service.unit_id: s for s in observed.services
        if s.service.service_type is ServiceType.ADVISOR and s.exit is None and s.report is not None
    }  # fmt: skip
    for seen in observed.services:
        actions += _note(seen, observed, wanted, placement)
        if seen.exit is None and not wanted.has_job(seen.service):
            if not wanted.is_asked(seen.service):
                actions.append(StopService(service=seen.service))
        elif seen.exit is None:
            advisor = advisors.get(seen.service.unit_id)
            cut_off = _replace_cut_off(seen, observed)
            actions += cut_off or _replace(seen, observed, advisor) or _retire(seen, observed, advisor, placement)
    for train_job in observed.train_jobs:
        actions += plan_train_job(observed, train_job, services.get(train_job.job.id, JobServices()), placement, waits)
    unready = set[str]()
    for inference_job in observed.inference_jobs:
        of_job = services_behind(services, inference_job.job)
        actions += plan_inference_job(observed, inference_job, of_job, placement, waits, lost, unready)
    for rollout in observed.rollouts:
        actions += plan_rollout(rollout)
    serving = plan_serving(observed.inference_jobs, [r.rollout for r in observed.rollouts], unready)
    return Plan(actions=actions, waits=waits, lost=lost, serving=serving)


class _Wanted:
    """Which services are wanted still."""

    def __init__(self, observed: Observed) -> None:
        train = {o.job.id for o in observed.train_jobs}
        self._jobs = train | {o.job.id for o in observed.inference_jobs}
        self._units = {
            (o.job.id, sub.id) for o in observed.train_jobs for sub in o.subs
            if not is_final(TRAIN_JOB_TRANSITIONS, sub.status)
        }  # fmt: skip
        live = [s.service for s in observed.services if s.exit is None]
        self._serving = {o.job.id for o in observed.inference_jobs if o.job.datetime_stop_requested is None}
        self._addresses = {o.job.front for o in observed.inference_jobs}
        self._answering = {o.job.front for o in observed.inference_jobs if o.job.datetime_stop_requested is None}
        fronts = {s.job_id for s in [*live, *observed.stopping] if s.service_type is ServiceType.PREDICT}
        # Those that go on have been told already which jobs have left.
        self._ending_fronts = fronts - self._addresses
        self._front_of = observed.fronts

    def has_job(self, service: Service) -> bool:
        if service.service_type is ServiceType.PREDICT:
            return service.job_id in self._addresses
        return service.job_id in self._jobs

    def is_asked(self, service: Service) -> bool:
        """Whether the predictor of an ended job may still wait for its answers: it ends first."""
        front = self._front_of.get(service.job_id, service.job_id)
        return service.service_type is ServiceType.INFERENCE and front in self._ending_fronts

    def has(self, service: Service) -> bool:
        """Whether the service is to go on: its end is an error."""
        if service.service_type is ServiceType.PREDICT:
            return service.job_id in self._answering
        return (service.job_id, service.unit_id) in self._units or service.job_id in self._serving


def _note(seen: ObservedService, observed: Observed, wanted: _Wanted, placement: Placement) -> list[Action]:
    service = seen.service
    if seen.exit is not None:
        return [_note_end(seen, observed, wanted, placement)]
    if service.status is not ServiceStatus.RUNNING:
        if seen.report is not None and seen.report.state == "running":
            return [NoteRunning(service_id=service.id)]
        if seen.starting_s > observed.start_timeout_s:
            reason = f"it did not report that it runs within {observed.start_timeout_s:g} s"
            return [StopService(service=service, error=reason)]
    elif seen.silent_s > observed.silence_limit_s:
        reason = f"it gave no sign of life for {observed.silence_limit_s:g} s"
        return [StopService(service=service, error=reason)]
    return []


def _note_end(seen: ObservedService, observed: Observed, wanted: _Wanted, placement: Placement) -> NoteEnded:
    service, report = seen.service, seen.report
    if not wanted.has(service):
        return NoteEnded(service=service, error=None)
    if service.id in observed.retiring or (seen.exit is not None and not seen.exit.has_run):
        return NoteEnded(service=service, error=None)
    if report is not None and report.state == "failed":
        return NoteEnded(service=service, error=report.reason, is_permanent=report.is_permanent)
    # An admin that has restarted does not know whom the one before it has told to retire.
    is_clean = seen.exit is not None and seen.exit.code == 0
    if is_clean and service.service_type is ServiceType.TRAIN and placement.is_draining(service):
        return NoteEnded(service=service, error=None)
    refused_by = seen.exit.refused_by if seen.exit else None
    return NoteEnded(service=service, error=seen.exit.reason if seen.exit else None, refused_by=refused_by)


def _replace_cut_off(seen: ObservedService, observed: Observed) -> list[Action]:
    """A service in a box whose way to the stack was deleted: its work is given to another at once."""
    service, renewed = seen.service, observed.doors_renewed
    if renewed is None or service.service_type not in (ServiceType.TRAIN, ServiceType.INFERENCE):
        return []
    if service.datetime_started >= renewed:
        return []
    return [StopService(service=service, is_replaced=True, why_replaced=CUT_OFF)]


def _replace(seen: ObservedService, observed: Observed, advisor: ObservedService | None) -> list[Action]:
    """What is to be done about a service of another version, which an admin of that one started.

    What such a service can still say and be told goes on: predictors and inference workers until their job ends, train
    workers until their trial does. Advisors are replaced at once: they write to the database, which has this version's
    tables, and their successors go on from what it holds.
    """
    service, report = seen.service, seen.report
    if report is None or report.state != "running" or report.version == observed.version:
        return []
    is_understood = OLDEST_PROTOCOL <= report.protocol <= PROTOCOL
    if service.service_type is ServiceType.ADVISOR or not is_understood:
        return [StopService(service=service, is_replaced=True)]
    if service.service_type is not ServiceType.TRAIN or advisor is None or advisor.report is None:
        return []
    if advisor.report.version != observed.version or observed.retiring.get(service.id) == advisor.service.id:
        return []
    return [RetireService(service=service, advisor_id=advisor.service.id)]


def _retire(
    seen: ObservedService, observed: Observed, advisor: ObservedService | None, placement: Placement
) -> list[Action]:
    """A train worker on a draining host ends after its trial; another starts elsewhere."""
    service = seen.service
    if service.service_type is not ServiceType.TRAIN or advisor is None or not placement.is_draining(service):
        return []
    if observed.retiring.get(service.id) == advisor.service.id:
        return []
    why = f"is on node {observed.service_hosts[service.id]}, which is draining"
    return [RetireService(service=service, advisor_id=advisor.service.id, why=why)]
