"""Whether models load: read at upload, again when somebody asks, and before a job of such a model is given up."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from datetime import datetime
from queue import SimpleQueue

from rafiki.admin.observed import CheckState
from rafiki.advisor.space import SearchSpace
from rafiki.constants import CAN_CHANGE, LoadFailure
from rafiki.entities import Model
from rafiki.environments.state import EnvironmentStatus
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import EnvironmentBusyError, InvalidModelError, ModelError, RafikiError
from rafiki.meta_store import MetaStore
from rafiki.model.knobs import from_knob_specs
from rafiki.model_check.knob_reader import KnobReading, read_knob_config
from rafiki.sandbox.sandbox import Sandbox
from rafiki.utils.logs import log_unexpected

_logger = logging.getLogger(__name__)
_MORE_TIME = 4
"""How many times as long as at its upload the import of a model may take when it is checked again."""


class ModelChecks:
    """Checks models; what a check finds is noted in the meta store. All methods may be called from any thread."""

    def __init__(
        self, store: MetaStore, environments: EnvironmentStore, load_timeout_s: float, sandbox: Sandbox | None = None
    ) -> None:
        self._store = store
        self._environments = environments
        self._timeout_s = load_timeout_s
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._pending: set[str] = set()
        self._is_shut_down = False
        self._waiting: SimpleQueue[Model | None] = SimpleQueue()
        # One at a time: several at once would make each of them slower, and to be slow is what they failed for. A
        # daemon: an admin that is told to stop waits for no import.
        self._thread = threading.Thread(target=self._run, name="model-check", daemon=True)
        self._thread.start()
        self._listeners: list[Callable[[], None]] = []

    @property
    def longer_timeout_s(self) -> float:
        """How long the import of a model may take that is checked again."""
        return _MORE_TIME * self._timeout_s

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called after each check that a job waited for."""
        self._listeners.append(listener)

    def read(
        self,
        file: bytes,
        model_class: str,
        dependencies: dict[str, str],
        file_name: str,
        *,
        timeout_s: float | None = None,
    ) -> KnobReading:
        """What a model file says of itself, read where its packages are; they are installed first when they are
        nowhere yet.

        Raises:
            InvalidModelError: when the dependencies are none.
            EnvironmentBusyError: when too many wait for installations already.
        """
        environment = self._environments.wait(dependencies)
        if environment.status is not EnvironmentStatus.READY:
            return KnobReading(error=environment.reason, failure=LoadFailure.PACKAGES)
        reading = read_knob_config(
            file,
            model_class,
            file_name,
            timeout_s=timeout_s or self._timeout_s,
            python=environment.python,
            sandbox=self._sandbox,
        )
        if reading.knob_config is not None and reading.constraints:
            try:
                SearchSpace(from_knob_specs(reading.knob_config), reading.constraints).draw(random.Random(0))
            except ModelError as e:
                return KnobReading(error=f"{file_name}: get_knob_constraints(): {e.message}", failure=LoadFailure.FILE)
        return reading

    def check(self, model: Model) -> Model:
        """Check a model again, with more time than at its upload; returns it with what was found.

        Raises:
            InvalidModelError: when it is gone.
            EnvironmentBusyError: when too many wait for installations already.
        """
        file = self._store.models.read_model_file(model.id)
        reading = self.read(
            file, model.model_class, model.dependencies, f"{model.name}.py", timeout_s=self.longer_timeout_s
        )
        _logger.info("model %s: checked again: %s", model.ref, reading.error or "loads")
        return self._store.models.set_check(
            model.id, knob_config=reading.knob_config, knob_constraints=reading.constraints,
            load_error=reading.error, load_failure=reading.failure,
        )  # fmt: skip

    def look(self, model: Model, since: datetime) -> CheckState | None:
        """The state of a model for a job that began at ``since``; None when it loads.

        One whose failure another check may not find again is checked again once for the job.
        """
        if model.load_error is None:
            return None
        is_new = model.datetime_checked is not None and model.datetime_checked >= since
        if is_new or model.load_failure not in CAN_CHANGE:
            return CheckState(reason=model.load_error, is_checking=False)
        with self._lock:
            if model.id not in self._pending and not self._is_shut_down:
                self._pending.add(model.id)
                self._waiting.put(model)
        return CheckState(reason=model.load_error, is_checking=True)

    def shut_down(self) -> None:
        """Begin no other check. One that runs ends by its own time limit, and its process with it."""
        with self._lock:
            self._is_shut_down = True
        self._waiting.put(None)

    def _run(self) -> None:
        while (model := self._waiting.get()) is not None and not self._is_shut_down:
            self._check_waiting(model)

    def _check_waiting(self, model: Model) -> None:
        try:
            self.check(model)
        except (EnvironmentBusyError, InvalidModelError) as e:
            self._note_failure(model, e.message)
        except RafikiError as e:
            # The store is away: the next look begins again.
            _logger.warning("model %s: cannot be checked: %s", model.ref, e.message)
        except Exception as e:  # noqa: BLE001 - nobody above this thread sees it
            log_unexpected(_logger, e)
            self._note_failure(model, "Rafiki failed unexpectedly; see the admin's log")
        with self._lock:
            self._pending.discard(model.id)
        for listener in self._listeners:
            try:
                listener()
            except Exception as e:  # noqa: BLE001 - those who wait are told at the next look
                log_unexpected(_logger, e)

    def _note_failure(self, model: Model, reason: str) -> None:
        try:
            self._store.models.set_check(
                model.id, knob_config=None, knob_constraints=[], load_error=reason, load_failure=model.load_failure
            )
        except RafikiError as e:
            _logger.warning("model %s: cannot be noted as checked: %s", model.ref, e.message)
