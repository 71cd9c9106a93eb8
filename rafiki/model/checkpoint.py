"""``utils.checkpoint``: how model code saves its state within a trial, and goes on from it when its worker is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rafiki.errors import ModelError
from rafiki.model.base import Params


class CheckpointKeeper(Protocol):
    """Keeps the checkpoints of the running trial: the train worker's part."""

    def is_due(self) -> bool: ...
    def save(self, params: Params, step: int) -> bool: ...
    def load(self) -> tuple[Params, int] | None: ...


class ModelCheckpoint:
    """Hands checkpoints to the keeper of the running trial. Outside of a trial it keeps nothing, and finds nothing."""

    def __init__(self) -> None:
        self._keeper: CheckpointKeeper | None = None

    def set_keeper(self, keeper: CheckpointKeeper | None) -> None:
        """Sends checkpoints to ``keeper`` from now on; None = nowhere. Called by the train worker."""
        self._keeper = keeper

    def save(self, params: Params | Callable[[], Params], step: int) -> bool:
        """Keeps the state of the training, in the place of what was kept before. Call it at the end of each epoch, or
        every so many steps: it is cheap when no checkpoint is due.

        The setting ``train.checkpoint_s`` says how much time passes between two checkpoints at the least. After the
        first one, they take no more than a tenth of the trial's time in all. The state is written in the background,
        so training goes on at once. What fails on the way costs the trial nothing but this checkpoint; its log says
        why.

        Args:
            params: what the training needs to go on: a dict as ``dump_parameters()`` returns it, with the state of
                the optimizer, of random generators and so on. Or a function without arguments that returns it, which
                is called only when a checkpoint is due.
            step: how far the training is: a whole number that grows with each call, of the same meaning as the
                step of ``logger.report_score()``.

        Returns:
            Whether it is being kept. It is not when none is due, and outside of a trial.

        Raises:
            ModelError: when one of the arguments is something else.
        """
        at = _whole(step)
        if not (callable(params) or isinstance(params, dict)):
            raise _no_params(params)
        if self._keeper is None or not self._keeper.is_due():
            return False
        state = params() if callable(params) else params
        if not isinstance(state, dict):
            raise _no_params(state)
        return self._keeper.save(state, at)

    def load(self) -> tuple[Params, int] | None:
        """The trial's last checkpoint, when a worker was lost in it before: what was saved, and its step. None at the
        first attempt, and outside of a trial. Call it in ``train()`` before the first epoch.
        """
        return None if self._keeper is None else self._keeper.load()


def _whole(step: object) -> int:
    try:
        number: int = int(step)  # type: ignore[call-overload]
        if number == step and abs(number) < 1 << 53:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise ModelError(f"checkpoint.save(): the step must be a whole number, not {str(step)[:60]!r}.")


def _no_params(params: object) -> ModelError:
    return ModelError(
        f"checkpoint.save(): pass a dict, or a function that returns one, as the parameters; not a "
        f"{type(params).__name__}."
    )


checkpoint = ModelCheckpoint()
"""The one that model code uses."""
