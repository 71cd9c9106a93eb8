"""Sees to it that every receiver is told what is due: each by a thread of its own while it has its turn."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from rafiki.admin.courier.rounds import Round, TrackerRound, WebhookRound, may_reach_private
from rafiki.admin.receivers import WEBHOOK, read_hooks, read_tracking
from rafiki.config import LoadedConfig
from rafiki.entities import Receiver
from rafiki.errors import ConfigError, RafikiError
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.trackers import TRACKERS, Tracker, TrackerRefusalError
from rafiki.utils.clock import Deadline
from rafiki.utils.process import Backoff, wait_until
from rafiki.webhook_signature import secret_bytes, secret_of

_logger = logging.getLogger(__name__)

_LOOK_S = 0.5
"""The longest time between two looks for what is due."""
_MOST_AT_ONCE = 16
"""Receivers that have their turn."""


class Courier:
    """Until it is told to stop.

    Args:
        load: reads the configuration anew.
        job_key: the stack's secret that those of users' webhooks follow from.
        admin_url: where links in webhooks lead.
    """

    def __init__(
        self, store: MetaStore, params: ParamStore, load: Callable[[], LoadedConfig], job_key: str, admin_url: str
    ) -> None:
        self._store, self._params, self._load = store, params, load
        self._job_key, self._admin_url = job_key, admin_url
        loaded = load()
        self._webhooks = loaded.config.webhooks
        self._hooks = {hook.id: hook for hook in read_hooks(loaded)}
        self._tells_params = loaded.config.tracking.artifacts
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._rests: dict[str, float] = {}
        """Receiver -> until when it is left alone, in monotonic time."""
        self._trackers: dict[str, TrackerRound] = {}

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        """Look for what is due, until :meth:`stop`; then let those who have their turn come to the end of an event."""
        backoff = Backoff(_LOOK_S, 30.0)
        wait_s = 0.0
        while not self._stopped.wait(wait_s):
            try:
                self.look()
                wait_s = _LOOK_S
                backoff.reset()
            except RafikiError as e:
                # The database is away, which the admin tells too.
                _logger.warning("events wait: %s", e.message)
                wait_s = backoff.next_s()
        wait_until(lambda: not self._busy, Deadline(3.0))

    def look(self) -> None:
        """Give everybody a turn for whom something is due."""
        waiting = self._store.outbox.list_waiting_receivers()
        if not waiting:
            return
        for receiver in self._store.outbox.list_live_receivers():
            if receiver.id in waiting and self._take_turn(receiver.id):
                threading.Thread(target=self._serve, args=(receiver,), name=receiver.id, daemon=True).start()

    def _take_turn(self, receiver_id: str) -> bool:
        with self._lock:
            is_resting = self._rests.get(receiver_id, 0.0) > time.monotonic()
            if is_resting or receiver_id in self._busy or len(self._busy) >= _MOST_AT_ONCE:
                return False
            self._busy.add(receiver_id)
            return True

    def _serve(self, receiver: Receiver) -> None:
        rest_s = 30.0
        try:
            rest_s = self._round_of(receiver).take(self._stopped.is_set)
        except RafikiError as e:
            _logger.warning("receiver %s waits: %s", receiver.id, e.message)
        finally:
            with self._lock:
                self._busy.discard(receiver.id)
                # Whoever has more for it than one round comes to the end of the line.
                self._rests.pop(receiver.id, None)
                self._rests[receiver.id] = time.monotonic() + rest_s

    def _round_of(self, receiver: Receiver) -> Round:
        if receiver.kind != WEBHOOK:
            return self._trackers.setdefault(
                receiver.id,
                TrackerRound(
                    self._store, receiver.id, self._open_tracker, self._params if self._tells_params else None
                ),
            )
        hook = self._hooks.get(receiver.id)
        settings = self._webhooks
        return WebhookRound(
            self._store, receiver, url=hook.url if hook else receiver.url,
            key=hook.key if hook else secret_bytes(secret_of(self._job_key, receiver.id)), admin_url=self._admin_url,
            timeout_s=settings.timeout_s, retry_for=timedelta(hours=settings.retry_hours),
            allow_private=may_reach_private(
                self._store, receiver, is_allowed_to_all=settings.allow_private_urls
            ),
        )  # fmt: skip

    def _open_tracker(self) -> Tracker:
        # Read anew: what a file holds may be another token than at the start.
        try:
            settings = read_tracking(self._load())
        except ConfigError as e:
            raise TrackerRefusalError(e.message) from e
        if settings is None:
            raise TrackerRefusalError("rafiki.yaml names no tracker any more. Start the stack anew: `rafiki up`.")
        return TRACKERS.get(settings.kind).open(settings)
