"""The client: one method for each call of the contract, under the same name. The methods stand with their nouns."""

from __future__ import annotations

from rafiki.client.assets import AssetCalls
from rafiki.client.inference_jobs import InferenceJobCalls
from rafiki.client.stack import StackCalls
from rafiki.client.train_jobs import TrainJobCalls
from rafiki.client.users import UserCalls
from rafiki.client.watching import Watching


class Client(StackCalls, UserCalls, AssetCalls, TrainJobCalls, InferenceJobCalls, Watching):
    """Calls the admin of a stack. Answers are plain dicts and lists; datetimes in them are ISO 8601 texts.

    Every method raises the error that the admin raised (see :mod:`rafiki.errors`), ``UnreachableError`` when
    no admin answers in time, and ``UnauthorizedError`` when it needs a login and there is none. Safe to share
    between threads.

    Args:
        admin_host: name or address of the machine on which the admin runs; ``https://`` before it where a proxy in
            front of the admin speaks TLS.
        admin_port: port of the admin.
    """
