"""Where services that run elsewhere come in: their specs, the stores of their jobs, and nothing else."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rafiki.admin.service_rights import ServiceRights, WrittenParams
from rafiki.admin.service_tokens import ServiceTokens
from rafiki.admin.spec_shelf import SpecShelf
from rafiki.contract.refusal import refusal_body, refusal_headers
from rafiki.contract.service_calls import SERVICE_CALLS
from rafiki.data_store.base import DataStore
from rafiki.errors import RafikiError
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.sandbox.sandbox import ADMIN_DOOR, BOX_FOLDER, DOORS
from rafiki.store_location import StoreLocation
from rafiki.stores.remote.connection import socket_url
from rafiki.stores.remote.protocol import PATH as STORES_PATH
from rafiki.stores.remote.server import StoreServer

SPEC_PATH = SERVICE_CALLS["get_own_spec"].path
_BOXED_SOCKET = f"{BOX_FOLDER}/{DOORS}/{ADMIN_DOOR}"


class AdminServiceDoor:
    """The door of one stack (see :class:`rafiki.container.base.ServiceDoor`).

    Args:
        url: how other hosts reach it: ``https://10.0.0.1:3001``.
        authorities: who may have signed its certificate, in PEM; None = it speaks no TLS.
        is_direct: whether services may be sent to where the stores are, with signed requests.
    """

    def __init__(
        self,
        *,
        url: str,
        tokens: ServiceTokens,
        shelf: SpecShelf,
        store: MetaStore,
        datasets: DataStore,
        params: ParamStore,
        authorities: str | None = None,
        is_direct: bool = True,
    ) -> None:
        self._url = url
        self._authorities = authorities
        self._tokens = tokens
        self._shelf = shelf
        self._store = store
        self._written = WrittenParams()
        self._stores = StoreServer(datasets, params, self._rights_of, is_direct=is_direct)

    @property
    def spec_url(self) -> str:
        return self._url + SPEC_PATH

    def admit(self, service_id: str, spec: bytes) -> str:
        self._shelf.put(service_id, spec)
        token = self._tokens.issue(service_id)
        # A service has to know whom to trust before it asks for anything.
        return token if self._authorities is None else f"{token}\n{self._authorities}"

    def dismiss(self, service_id: str) -> None:
        self._shelf.remove(service_id)

    def stores_of(self, service_id: str) -> StoreLocation:
        """Both stores, as a service reaches them."""
        return StoreLocation(
            url=self._url + STORES_PATH, credential=self._tokens.issue(service_id), authorities=self._authorities
        )

    def stores_of_boxed(self, service_id: str) -> StoreLocation:
        """Both stores, as a service in a box of this machine reaches them."""
        return StoreLocation(url=socket_url(_BOXED_SOCKET, STORES_PATH), credential=self._tokens.issue(service_id))

    def routes(self) -> list[BaseRoute]:
        """Of the admin's application."""
        return [Route(SPEC_PATH, self._get_spec, methods=["GET"]), *self._stores.routes()]

    def _rights_of(self, token: str) -> ServiceRights:
        return ServiceRights(self._tokens.service_of(token), self._store, self._written)

    async def _get_spec(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").partition(" ")[2].strip()
        try:
            service = await run_in_threadpool(self._tokens.service_of, token)
            spec = await run_in_threadpool(self._shelf.get, service.id)
        except RafikiError as e:
            return Response(refusal_body(e), e.http_status, refusal_headers(e))
        return Response(spec, media_type="application/octet-stream")
