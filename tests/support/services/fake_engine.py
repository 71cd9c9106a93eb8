"""A Docker engine on paper, for what a real one is seldom: too old, a worker of its Swarm, without an image."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.http.threaded_server import ThreadedServer

from rafiki.utils.values import JsonObject


class FakeEngine:
    """Answers what a back end asks when it is opened."""

    def __init__(self) -> None:
        self.api_version = "1.41"
        self.swarm: JsonObject = {"NodeID": "n1", "LocalNodeState": "active", "ControlAvailable": True}
        self.nodes = ["h1"]
        self.images: set[str] = set()
        self.asked: list[str] = []
        self._server = ThreadedServer(Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])]))
        self.url = self._server.url.replace("http://", "tcp://")

    async def _answer(self, request: Request) -> Response:
        path = request.path_params["path"].partition("/")[2] or request.path_params["path"]
        self.asked.append(f"{request.method} /{path}")
        match path:
            case "version":
                return JSONResponse({"ApiVersion": self.api_version, "MinAPIVersion": "1.12"})
            case "info":
                return JSONResponse({"Name": "h1", "Swarm": self.swarm})
            case "nodes":
                nodes = [
                    {
                        "ID": f"n{i}", "Spec": {"Labels": {"rafiki.gpus": f"{i}, GPU-7"}, "Availability": "active"},
                        "Status": {"State": "ready"},
                        "Description": {"Hostname": host, "Resources": {"NanoCPUs": 4_000_000_000}},
                    }
                    for i, host in enumerate(self.nodes, 1)
                ]  # fmt: skip
                return JSONResponse(nodes)
            case "swarm/init":
                self.swarm = {"NodeID": "n1", "LocalNodeState": "active", "ControlAvailable": True}
                return JSONResponse("n1")
        image = path.removeprefix("images/").removesuffix("/json")
        if image in self.images:
            return JSONResponse({"Id": "sha256:1"})
        return JSONResponse({"message": f"No such thing: {path}"}, 404)

    def close(self) -> None:
        self._server.close()
