"""Tokens of services that run elsewhere: each names one service, and holds while that service is live."""

from __future__ import annotations

import hmac

from rafiki.constants import ServiceStatus
from rafiki.entities import Service
from rafiki.errors import InvalidServiceError, UnauthorizedError
from rafiki.meta_store.base import ServiceStore
from rafiki.utils.ids import derive_secret

_PREFIX = "rfs_"
"""By which people and scanners of leaked secrets know the token of a service."""
_LIVE = frozenset({ServiceStatus.STARTED, ServiceStatus.DEPLOYING, ServiceStatus.RUNNING})


class ServiceTokens:
    """Derived from the stack's job key, so that nothing has to be stored, and a restarted admin knows them all."""

    def __init__(self, job_key: str, services: ServiceStore) -> None:
        self._job_key = job_key
        self._services = services

    def issue(self, service_id: str) -> str:
        """The token of a service."""
        return f"{_PREFIX}{service_id}.{derive_secret(self._job_key, f'service:{service_id}')}"

    def service_of(self, token: str) -> Service:
        """The live service that a token names.

        Raises:
            UnauthorizedError: when it is forged, or its service has ended: what a host that was cut off says later
                changes nothing.
        """
        service_id = token.removeprefix(_PREFIX).partition(".")[0]
        if not token.startswith(_PREFIX) or not hmac.compare_digest(token.encode(), self.issue(service_id).encode()):
            raise UnauthorizedError("This is no token of a service of this stack.")
        try:
            service = self._services.get_service(service_id)
        except InvalidServiceError as e:
            raise UnauthorizedError("This token's service is not known to this stack.") from e
        if service.status not in _LIVE:
            raise UnauthorizedError("This token's service has ended; another may have taken its place.")
        return service
