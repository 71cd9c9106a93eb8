"""A Docker engine on paper, for what a real one is seldom: too old, no manager, without an image, with GPUs."""

from __future__ import annotations

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.http.threaded_server import ThreadedServer

from rafiki.container.inventory import Inventory
from rafiki.utils.values import JsonObject


class FakeEngine:
    """Answers what a back end asks when it is opened, and what it asks of nodes."""

    def __init__(self) -> None:
        self.api_version = "1.41"
        self.swarm: JsonObject = {"NodeID": "n1", "LocalNodeState": "active", "ControlAvailable": True}
        self.nodes = ["h1"]
        self.labels: dict[str, dict[str, str]] = {}
        """Of nodes, by their hosts; ``rafiki.gpus`` where nothing is told."""
        self.states: dict[str, str] = {}
        """Of nodes, by their hosts; ready where nothing is told."""
        self.inventories: dict[str, Inventory | str] = {}
        """What a service that looks finds on a host, or why it cannot be started there."""
        self.manager_address = "10.0.0.1:2377"
        self.images: set[str] = set()
        self.asked: list[str] = []
        self.created: list[JsonObject] = []
        self.services: set[str] = set()
        routes = [Route("/{path:path}", self._answer, methods=["GET", "POST", "DELETE"])]
        self._server = ThreadedServer(Starlette(routes=routes))
        self.url = self._server.url.replace("http://", "tcp://")

    async def _answer(self, request: Request) -> Response:
        path = request.path_params["path"].partition("/")[2] or request.path_params["path"]
        self.asked.append(f"{request.method} /{path}")
        match path.split("/"):
            case ["version"]:
                return JSONResponse({"ApiVersion": self.api_version, "MinAPIVersion": "1.12"})
            case ["info"]:
                return JSONResponse({"Name": "h1", "Swarm": self.swarm})
            case ["nodes"]:
                return JSONResponse([self._node(i, host) for i, host in enumerate(self.nodes, 1)])
            case ["swarm", "init"]:
                self.swarm = {"NodeID": "n1", "LocalNodeState": "active", "ControlAvailable": True}
                return JSONResponse("n1")
            case ["tasks"]:
                return JSONResponse(
                    [self._task(i, host) for i, host in enumerate(self.nodes, 1)] if self.services else []
                )
            case ["tasks", task_id, "logs"]:
                return Response(self._log(task_id))
            case ["services"]:
                return JSONResponse([{"ID": service_id} for service_id in self.services])
            case ["services", "create"]:
                self.created.append(await request.json())
                self.services.add("looks")
                return JSONResponse({"ID": "looks"}, 201)
            case ["services", service_id] if request.method == "DELETE":
                self.services.discard(service_id)
                return JSONResponse({})
        image = path.removeprefix("images/").removesuffix("/json")
        if image in self.images:
            return JSONResponse({"Id": "sha256:1"})
        return JSONResponse({"message": f"No such thing: {path}"}, 404)

    def _node(self, i: int, host: str) -> JsonObject:
        return {
            "ID": f"n{i}",
            "Spec": {
                "Labels": {**self.labels.get(host, {"rafiki.gpus": f"{i}, GPU-7"})},
                "Availability": "active", "Role": "manager" if i == 1 else "worker",
            },
            "Status": {"State": self.states.get(host, "ready"), "Addr": f"10.0.0.{i}"},
            "ManagerStatus": {"Addr": self.manager_address} if i == 1 else None,
            "Description": {"Hostname": host, "Resources": {"NanoCPUs": 4_000_000_000, "MemoryBytes": 8 << 30}},
        }  # fmt: skip

    def _task(self, i: int, host: str) -> JsonObject:
        found = self.inventories.get(host, Inventory())
        state = "rejected" if isinstance(found, str) else "complete"
        return {
            "ID": f"task-{i}", "ServiceID": "looks", "CreatedAt": "2026-11-30T10:00:00Z", "NodeID": f"n{i}",
            "DesiredState": "complete",
            "Status": {"State": state, "Err": found if isinstance(found, str) else ""},
        }  # fmt: skip

    def _log(self, task_id: str) -> bytes:
        host = self.nodes[int(task_id.removeprefix("task-")) - 1]
        line = msgspec.json.encode(self.inventories.get(host, Inventory())) + b"\n"
        return b"\x01\0\0\0" + len(line).to_bytes(4, "big") + line

    def close(self) -> None:
        self._server.close()
