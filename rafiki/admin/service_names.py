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
    try:
        job, name = _job_and_name(store, service)
        if not store.train_jobs.is_app_of_others(job.app, job.user_id):
            return name
        return f"{name} of {store.users.get_user(job.user_id).email}"
    except RafikiError:
        return f"{service.service_type.lower()} {short_id(service.id)}"


def _job_and_name(store: MetaStore, service: Service) -> tuple[TrainJob | InferenceJob, str]:
    kind, unit_id, slot = service.service_type, service.unit_id, service.slot
    if kind in (ServiceType.TRAIN, ServiceType.ADVISOR):
        job = store.train_jobs.get_train_job(service.job_id)
        sub = store.train_jobs.get_sub_train_job(unit_id)
        model = model_label(sub.model_name, sub.model_version)
        return job, service_name(kind, job.app, job.app_version, model=model, slot=slot)
    served = store.inference_jobs.get_inference_job(service.job_id)
    if kind is ServiceType.PREDICT:
        return served, service_name(kind, served.app, served.app_version)
    trial = store.trials.get_trial(unit_id)
    model = model_label(trial.model_name, trial.model_version)
    return served, service_name(kind, served.app, served.app_version, model=model, trial_no=trial.no, slot=slot)
