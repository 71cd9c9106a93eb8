"""The client's methods for what the admin pushes: one for each stream of the contract, under the same name."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from rafiki.client.connection import AdminConnection
from rafiki.client.http_server import WATCH_PATIENCE_S
from rafiki.client.plain_answers import Json
from rafiki.contract import environments, inference_jobs, stack, train_jobs
from rafiki.contract.endpoint import AnyEndpoint


class Watching(AdminConnection):
    """Streams of events, each a plain dict with its kind as ``type``. A broken stream is opened again, and begins anew
    with a snapshot; meanwhile events of the type ``away`` tell why and for how long it is still tried.

    Every method raises what the other methods of the client raise; ``UnreachableError`` also when the admin is away for
    longer than ``patience_s``.
    """

    def _watch(
        self, endpoint: AnyEndpoint, *, patience_s: float, stop: threading.Event | None, **fields: object
    ) -> Iterator[Json]:
        return self._caller.watch_plain(endpoint, fields, patience_s=patience_s, stop=stop)

    def watch_train_job(
        self,
        app: str,
        app_version: int = -1,
        *,
        patience_s: float = WATCH_PATIENCE_S,
        stop: threading.Event | None = None,
    ) -> Iterator[Json]:
        """The state of one of your train jobs, then each change as it happens, until the job has ended.

        Args:
            patience_s: how long the admin may be away, as when it is restarted.
            stop: ends the waits for an admin that is away, when another thread sets it.

        Yields:
            Events by their ``type``: ``snapshot`` with ``job`` and ``trials``; ``job`` with ``job``, ``trial`` with
            ``trial``: what has changed; ``end`` with ``job``; ``away`` with ``reason`` and ``left_s`` while the admin
            does not answer, after which a new ``snapshot`` follows.
        """
        return self._watch(
            train_jobs.WATCH_TRAIN_JOB, app=app, app_version=app_version, patience_s=patience_s, stop=stop
        )

    def watch_trial_logs(
        self, trial_id: str, *, patience_s: float = WATCH_PATIENCE_S, stop: threading.Event | None = None
    ) -> Iterator[Json]:
        """What the model has logged in a trial, then what it logs, until the trial has ended.

        Yields:
            Events by their ``type``: ``snapshot`` with ``trial``, ``messages``, ``metrics`` and ``plots`` (again when
            the trial was given to another worker), ``lines`` with those that are new, ``end`` with ``trial``; ``away``
            as in :meth:`watch_train_job`.
        """
        return self._watch(train_jobs.WATCH_TRIAL_LOGS, trial_id=trial_id, patience_s=patience_s, stop=stop)

    def watch_inference_job(
        self,
        app: str,
        app_version: int = -1,
        *,
        patience_s: float = WATCH_PATIENCE_S,
        stop: threading.Event | None = None,
    ) -> Iterator[Json]:
        """The state of your running inference job of an app's version, and every second how much it serves.

        Yields:
            Events by their ``type``: ``snapshot`` and ``job`` with ``job`` and ``members``; ``figures`` with
            ``requests_per_s``, ``errors_per_s``, ``p50_ms``, ``p95_ms``, ``waiting`` and more; ``end`` with ``job``;
            ``away`` as in :meth:`watch_train_job`.
        """
        return self._watch(
            inference_jobs.WATCH_INFERENCE_JOB, app=app, app_version=app_version, patience_s=patience_s, stop=stop
        )

    def watch_environment(
        self, key: str, *, patience_s: float = WATCH_PATIENCE_S, stop: threading.Event | None = None
    ) -> Iterator[Json]:
        """What the build of an environment says, until it has ended.

        Yields:
            Events by their ``type``: ``snapshot`` with ``key``, ``status``, ``requirements`` and ``lines``, ``lines``
            with those that are new, ``end`` with ``status`` and ``reason``; ``away`` as in :meth:`watch_train_job`.
        """
        return self._watch(environments.WATCH_ENVIRONMENT, key=key, patience_s=patience_s, stop=stop)

    def watch_services(
        self, *, patience_s: float = WATCH_PATIENCE_S, stop: threading.Event | None = None
    ) -> Iterator[Json]:
        """The live services of all jobs, again at each change; without an end. For admins.

        Yields:
            Events of the type ``services`` with ``services``; ``away`` as in :meth:`watch_train_job`.
        """
        return self._watch(stack.WATCH_SERVICES, patience_s=patience_s, stop=stop)
