"""The typed client: answers are the records of the contract."""

from rafiki.client.contract_caller import Away
from rafiki.client.records.client import AdminClient

__all__ = ["AdminClient", "Away"]
