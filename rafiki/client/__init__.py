"""The Python client of a stack's admin and of its predictors."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rafiki.client.client import Client
    from rafiki.client.prediction import PredictorClient, predict

__all__ = ["Client", "PredictorClient", "predict"]


def __getattr__(name: str) -> object:
    # Each loads when it is asked for: the command line needs neither for most of its calls.
    if name == "Client":
        from rafiki.client.client import Client

        return Client
    if name in __all__:
        from rafiki.client import prediction

        found: object = getattr(prediction, name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
