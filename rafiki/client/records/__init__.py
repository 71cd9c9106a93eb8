"""The typed client: answers are the records of the contract."""

from rafiki.client.records.client import AdminClient
from rafiki.client.transport import Away

__all__ = ["AdminClient", "Away"]
