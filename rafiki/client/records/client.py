"""The typed client: one method for each call of the contract, under the same name. The methods stand with their
nouns, and what their arguments mean stands with the published client and with the contract's requests.
"""

from __future__ import annotations

from rafiki.client.http_server import CRASH_PATIENCE_S
from rafiki.client.records.assets import AssetCalls
from rafiki.client.records.inference_jobs import InferenceJobCalls
from rafiki.client.records.stack import StackCalls
from rafiki.client.records.train_jobs import TrainJobCalls
from rafiki.client.records.users import UserCalls
from rafiki.client.records.webhooks import WebhookCalls


class AdminClient(StackCalls, UserCalls, AssetCalls, TrainJobCalls, InferenceJobCalls, WebhookCalls):
    """Calls the admin of a stack, as :class:`~rafiki.client.Client` does, but answers with the contract's records:
    ``get_train_job`` returns a :class:`~rafiki.contract.train_jobs.TrainJobView`, and ``watch_train_job`` yields its
    events. Fields that a newer admin adds are left out.

    Every method raises the error that the admin raised (see :mod:`rafiki.errors`), ``UnreachableError`` when no admin
    answers in time or one of another version does, and ``UnauthorizedError`` when it needs a login and there is none.
    Safe to share between threads. A stream waits a minute for an admin that is restarted, four seconds for one that
    went without a word, and not at all for one that was stopped with its stack.

    Args:
        admin_host: name or address of the machine on which the admin runs; ``https://`` before it where it, or
            a proxy in front of it, speaks TLS.
        admin_port: port of the admin.
    """

    _is_light = True
    _crash_patience_s = CRASH_PATIENCE_S
    _down_patience_s = 0.0
