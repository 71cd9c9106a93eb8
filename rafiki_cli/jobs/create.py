"""Makes the train job of a spec: uploads what is not on the server yet, then creates it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from rafiki.constants import CAN_CHANGE, ExistingName, LoadFailure, ModelAccessRight
from rafiki.contract.datasets import DatasetView
from rafiki.contract.models import ModelView
from rafiki.contract.train_jobs import CreateTrainJobRequest, TrainJobView
from rafiki.errors import InvalidModelError, InvalidTrainJobError, RafikiError
from rafiki_cli.jobs.load import LoadedJob
from rafiki_cli.jobs.observe import Observed, WantedDataset, WantedModel
from rafiki_cli.jobs.plan import PARTS_LABEL, SPEC_LABEL, advisor_of, budget_of, train_hash, train_parts
from rafiki_cli.jobs.timing import Timing
from rafiki_cli.render import progress

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient


class Provided(msgspec.Struct, frozen=True, kw_only=True):
    """What a train job needs: all of it is on the server."""

    observed: Observed
    """With what was uploaded in place of what was wanted."""
    train_id: str
    val_id: str
    model_ids: list[str]
    was_fetched: bool
    """Whether a dataset came from an address, so that its contents are known only now."""


class JobCreator:
    """Makes the train job of one spec. What it uploads is found again by its contents the next time."""

    def __init__(
        self,
        client: AdminClient,
        job: LoadedJob,
        *,
        say: Callable[[str], None],
        timing: Timing | None = None,
        labels: dict[str, str] | None = None,
    ) -> None:
        """
        Args:
            say: takes a line for people.
            labels: notes on the job, besides those that tell what it was made from.
        """
        self._client = client
        self._job = job
        self._say = say
        self._timing = timing or Timing()
        self._labels = labels or {}

    def provide(self, observed: Observed) -> Provided:
        """Upload what is not there.

        Raises:
            RafikiError: when the admin refuses something, with its place in the file.
        """
        datasets: list[tuple[WantedDataset, DatasetView]] = []
        was_fetched = False
        for d in observed.datasets:
            found = d.found or next((record for other, record in datasets if other.is_same_as(d)), None)
            if found is None:
                found = self._create_dataset(d, observed.task)
                was_fetched = was_fetched or d.file is None
            datasets.append((msgspec.structs.replace(d, found=found, sha256=found.sha256), found))
        models = [(m, self._provide_model(i, m, observed.task)) for i, m in enumerate(observed.models)]
        (_, train), (_, val) = datasets
        return Provided(
            observed=msgspec.structs.replace(
                observed,
                datasets=[d for d, _ in datasets],
                models=[msgspec.structs.replace(m, found=found) for m, found in models],
            ),
            train_id=train.id,
            val_id=val.id,
            model_ids=[found.id for _, found in models],
            was_fetched=was_fetched,
        )

    def create(self, provided: Provided, *, may_adopt: bool) -> TrainJobView:
        """Create the train job.

        Args:
            may_adopt: take one that somebody else made of the same spec at this moment.

        Raises:
            RafikiError: when the admin refuses it.
        """
        spec, observed = self._job.spec, provided.observed
        label = train_hash(self._job, observed) or ""
        try:
            created = self._client.create_train_job(CreateTrainJobRequest(
                app=spec.app, task=observed.task, train_dataset_id=provided.train_id, val_dataset_id=provided.val_id,
                budget=budget_of(spec), model_ids=provided.model_ids, train_args=spec.train_args or None,
                advisor=advisor_of(spec),
                labels={**self._labels, SPEC_LABEL: label, PARTS_LABEL: train_parts(self._job, observed)},
            ))  # fmt: skip
        except InvalidTrainJobError:
            latest = next(iter(self._client.get_train_jobs_of_app(spec.app)), None) if may_adopt else None
            if latest is None or latest.labels.get(SPEC_LABEL) != label:
                raise
            return latest
        for note in created.notes:
            self._say(note)
        return self._client.get_train_job(spec.app, created.app_version)

    def _create_dataset(self, d: WantedDataset, task: str) -> DatasetView:
        with self._timing.part("datasets"):
            self._say(f"{'fetching' if d.file is None else 'uploading'} the dataset {d.upload_name}")
            try:
                with progress.transfer(f"Uploading {d.upload_name}", after="The admin checks it") as show:
                    made = self._client.create_dataset(d.upload_name, task, d.file, d.source.url, progress=show)
            except RafikiError as e:
                raise self._job.placed(("datasets", d.part), e) from e
        for warning in made.warnings:
            self._say(f"warning: {d.upload_name}: {warning}")
        return made

    def _provide_model(self, i: int, m: WantedModel, task: str) -> ModelView:
        found = m.found
        if found is None:
            with self._timing.part("models"):
                version = f" as version {m.newest.version + 1}" if m.newest and m.changes else ""
                self._say(f"uploading the model {m.upload_name}{version}")
                try:
                    found = self._upload(m, task)
                except RafikiError as e:
                    raise self._job.placed(("models", i), e) from e
        # What another check may not find again, the job itself has checked again.
        if found.load_error and found.load_failure not in CAN_CHANGE:
            raise self._job.placed(("models", i), _does_not_load(found.ref, found.load_error))
        return found

    def _upload(self, m: WantedModel, task: str) -> ModelView:
        source = m.source
        assert m.file is not None, "what has no file is on the server"
        packages = source.dependencies or {}
        with progress.installing(self._client, packages):
            created = self._client.create_model(
                m.upload_name, task, m.file, source.class_ or "", packages,
                ModelAccessRight(source.access.upper()), source.docker_image, existing_name=ExistingName.VERSION,
            )  # fmt: skip
        for note in created.notes:
            self._say(note)
        found = self._client.get_model(created.id)
        if found.load_failure is LoadFailure.MACHINE:
            self._say(f"{found.ref} does not load: {found.load_error} Checking it again, with more time")
            found = self._client.check_model(created.id)
        if found.load_error:
            if created.is_new:
                # Nothing refers to it yet: the next run is to find the version free.
                with contextlib.suppress(RafikiError):
                    self._client.delete_model(created.id)
            raise _does_not_load(found.ref, found.load_error)
        return found


def _does_not_load(ref: str, reason: str) -> InvalidModelError:
    return InvalidModelError(f"{ref!r} does not load: {reason}")
