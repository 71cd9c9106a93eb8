"""The Python client of a stack's admin and of its predictors."""

from rafiki.client.client import Client
from rafiki.client.prediction import PredictorClient, predict

__all__ = ["Client", "PredictorClient", "predict"]
