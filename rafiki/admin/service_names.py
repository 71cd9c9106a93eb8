"""The names of services, from what the meta store knows of their jobs."""

from __future__ import annotations

from rafiki.constants import ServiceType
from rafiki.entities import InferenceJob, Service, TrainJob
from rafiki.errors import RafikiError
from rafiki.meta_store import MetaStore
from rafiki.service_names import service_name
from rafiki.utils.ids import model_label, short_id


def name_of(store: MetaStore, service: Service) -> str:
    """``train demo/1 SkDt#2``; ``train demo/1 SkDt#2 of ada@example.org`` where another user has an app of that name,
    too. Of a service whose job is gone its type and id."""
    kind = service.service_type
    name = _find_name(store, kind, service.job_id, service.unit_id, service.slot)
    return name or f"{kind.lower()} {short_id(service.id)}"


def name_of_slot(store: MetaStore, kind: ServiceType, job_id: str, unit_id: str, slot: int) -> str:
    """What the service in a slot is called, or would be; of a job that is gone the type and the job's id."""
    return _find_name(store, kind, job_id, unit_id, slot) or f"{kind.lower()} of {short_id(job_id)}"


def _find_name(store: MetaStore, kind: ServiceType, job_id: str, unit_id: str, slot: int) -> str | None:
    try:
        job, name = _job_and_name(store, kind, job_id, unit_id, slot)
        if not store.train_jobs.is_app_of_others(job.app, job.user_id):
            return name
        return f"{name} of {store.users.get_user(job.user_id).email}"
    except RafikiError:
        return None


def _job_and_name(
    store: MetaStore, kind: ServiceType, job_id: str, unit_id: str, slot: int
) -> tuple[TrainJob | InferenceJob, str]:
    if kind in (ServiceType.TRAIN, ServiceType.ADVISOR):
        job = store.train_jobs.get_train_job(job_id)
        sub = store.train_jobs.get_sub_train_job(unit_id)
        model = model_label(sub.model_name, sub.model_version)
        return job, service_name(kind, job.app, job.app_version, model=model, slot=slot)
    served = store.inference_jobs.get_inference_job(job_id)
    if kind is ServiceType.PREDICT:
        return served, service_name(kind, served.app, served.app_version)
    trial = store.trials.get_trial(unit_id)
    model = model_label(trial.model_name, trial.model_version)
    return served, service_name(kind, served.app, served.app_version, model=model, trial_no=trial.no, slot=slot)
