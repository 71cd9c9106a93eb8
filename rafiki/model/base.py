"""The class that every model template extends."""

from __future__ import annotations

from typing import Any, NoReturn, TypeAlias

from rafiki.errors import ModelError
from rafiki.model.knobs import KnobConfig

Params: TypeAlias = dict[str, Any]  # type: ignore[explicit-any]
"""A model's whole trained state: name -> None, str, bytes, int, float, bool, numpy array, or lists, tuples and dicts of
these, within each other too."""

REQUIRED_METHODS = ("get_knob_config", "train", "evaluate", "predict", "dump_parameters", "load_parameters")


def _missing(owner: str, method: str) -> NoReturn:
    raise ModelError(f"{owner} does not define {method}(); every model needs it.")


class BaseModel:
    """One model template: a class in a file of its own.

    The life of an instance in a trial: ``__init__`` with one value a knob, :meth:`train`, :meth:`evaluate`,
    :meth:`dump_parameters`, :meth:`destroy`. When it is served: ``__init__`` with the same knobs,
    :meth:`load_parameters`, then :meth:`predict` again and again. So whatever :meth:`predict` needs must be in the
    parameters or follow from the knobs.
    """

    def __init__(self, **knobs: object) -> None:
        """Takes one value for each knob. A subclass keeps what it needs and does nothing slow here; calling this one
        is optional."""

    @staticmethod
    def get_knob_config() -> KnobConfig:
        """The search space: knob name -> knob.

        Called without an instance, at upload and again and again: it must be cheap, and always return the same.
        """
        _missing("The model class", "get_knob_config")

    @staticmethod
    def get_knob_constraints() -> list[str]:
        """Optional: expressions that the knobs of every trial satisfy, such as ``"min_leaf <= max_leaf"``."""
        return []

    def train(  # type: ignore[explicit-any]  # models override it with arguments of their own
        self, dataset_path: str, shared_params: Params | None = None, **train_args: Any
    ) -> None:
        """Trains on the dataset at ``dataset_path``, a path on the local file system.

        Args:
            dataset_path: in the dataset format of the model's task.
            shared_params: another trial's parameters to start from, when the search shares them.
            **train_args: as the train job gives them.
        """
        _missing(type(self).__name__, "train")

    def evaluate(self, dataset_path: str) -> float:
        """The score on the dataset at ``dataset_path``: a finite number, higher is better.

        For an error, return its negative.
        """
        _missing(type(self).__name__, "evaluate")

    def predict(self, queries: list[Any]) -> list[Any]:  # type: ignore[explicit-any]  # as train()
        """One prediction for each query, in the same order, in the formats of the model's task.

        Gets 1 to ``predictor.batch_size`` queries at once.
        """
        _missing(type(self).__name__, "predict")

    def dump_parameters(self) -> Params:
        """The whole trained state: a dict of text keys to None, str, bytes, int, float, bool, numpy arrays, and lists,
        tuples and dicts of these. :meth:`load_parameters` gets equal values of the same types."""
        _missing(type(self).__name__, "dump_parameters")

    def load_parameters(self, params: Params) -> None:
        """Takes over what :meth:`dump_parameters` of a model with the same knobs returned."""
        _missing(type(self).__name__, "load_parameters")

    def destroy(self) -> None:
        """Optional: frees what this instance holds. Called once, after its last use, also when its trial failed."""

    @staticmethod
    def teardown() -> None:
        """Optional: frees what the class holds. Called once, before the process ends."""
