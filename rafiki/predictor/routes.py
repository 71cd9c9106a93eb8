"""Which pages a server of predictions has, which methods they take, and what a GET is answered. The same in a predictor
and in the server of an export."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

import rafiki
from rafiki.contract.refusal import refusal_body
from rafiki.errors import MethodNotAllowedError, NoPredictionError, NotFoundError, RafikiError
from rafiki.predictor import try_page
from rafiki.predictor.bodies import BodyForm
from rafiki.predictor.open_inference import InferenceModel
from rafiki.predictor.openapi import ServedApp, describe
from rafiki.tasks.base import TaskSpec, TensorForm

_V2 = "/v2"


class Content(NamedTuple):
    """What a GET is answered."""

    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Routes:
    """Those of one server."""

    def __init__(self, server: str) -> None:
        """
        Args:
            server: who is asked, for people: ``"predictor"``.
        """
        self._server = server
        self._gets: dict[str, Callable[[], Content]] = {}
        self._keyed: set[str] = set()
        self._posts = {"/predict": BodyForm()}
        self._model_name, self._version = "", _no_version

    def add(self, path: str, write: Callable[[], Content], *, needs_key: bool = False) -> None:
        """A page that is read with GET.

        Args:
            needs_key: where queries do.
        """
        self._gets[path] = write
        if needs_key:
            self._keyed.add(path)

    def paths(self) -> set[str]:
        """All that there are."""
        return {*self._gets, *self._posts}

    def asks_for_key(self, path: str) -> bool:
        """Whether a page tells what only those may know who may ask."""
        return path in self._keyed

    def describe_app(self, app: Callable[[], ServedApp]) -> None:
        """The pages that describe the app: for programs, and for people to try it."""
        self.add("/openapi.json", lambda: _json(describe(app())), needs_key=True)
        for path, body, kind in (
            ("/try", try_page.HTML, b"text/html; charset=utf-8"),
            ("/try.css", try_page.CSS, b"text/css; charset=utf-8"),
            ("/try.js", try_page.JS, b"text/javascript; charset=utf-8"),
        ):
            content = Content(body, kind, try_page.HEADERS)
            self.add(path, lambda content=content: content)  # type: ignore[misc]

    def serve_model(
        self, name: str, version: Callable[[], str], task: TaskSpec, why_not_ready: Callable[[], str | None]
    ) -> None:
        """The pages of the Open Inference Protocol, version 2.

        Args:
            version: that serves now.
            why_not_ready: what keeps it from answering queries; None = nothing.
        """
        self._model_name, self._version = name, version
        model = InferenceModel(name, task.query_tensor, task.prediction_tensor)

        def check_ready() -> None:
            if reason := why_not_ready():
                raise NoPredictionError(f"{name} is not ready: {reason}.")

        def server_ready() -> Content:
            check_ready()
            return _json({"ready": True})

        def model_ready() -> Content:
            check_ready()
            return _json({"name": name, "ready": True})

        def metadata() -> Content:
            inputs = [] if model.query is None else [_told(model.query)]
            return _json(
                {
                    "name": name, "versions": [version()], "platform": "rafiki", "inputs": inputs,
                    "outputs": [_told(model.prediction)],
                }
            )  # fmt: skip

        self.add(_V2, lambda: _json(_SERVER))
        self.add(f"{_V2}/health/live", lambda: _json({"live": True}))
        self.add(f"{_V2}/health/ready", server_ready)
        path = f"{_V2}/models/{name}"
        self.add(path, metadata)
        self.add(f"{path}/ready", model_ready)
        self._posts[f"{path}/infer"] = BodyForm(model=model)

    def find(self, method: str, path: str) -> BodyForm | Callable[[], Content]:
        """The form of the body of a request for predictions, or what writes the page that is asked for.

        Raises:
            NotFoundError, MethodNotAllowedError: when there is no such page, or it takes another method.
        """
        if method == "POST" and (form := self._posts.get(path)) is not None:
            return form
        path = self._without_version(path)
        if method == "POST" and (form := self._posts.get(path)) is not None:
            return form
        page = self._gets.get(path)
        if page is None and path not in self._posts:
            if path.startswith(f"{_V2}/models/"):
                raise NotFoundError(
                    f"There is no {path[:120]}. The model of this {self._server} is {self._model_name}, version "
                    f"{self._version()}."
                )
            raise NotFoundError(f"There is no {path}. This {self._server} answers GET / and POST /predict.")
        if page is None or method not in ("GET", "HEAD"):
            raise MethodNotAllowedError(f"{path} takes {'GET' if page else 'POST'}.")
        return page

    def _without_version(self, path: str) -> str:
        """The Open Inference Protocol lets a path name the version, too."""
        if "/versions/" not in path or not (version := self._version()):
            return path
        return path.replace(f"/versions/{version}", "", 1)

    def is_for_predictions(self, path: str) -> bool:
        return path in self._posts or self._without_version(path) in self._posts

    def allowed_methods(self, path: str) -> str | None:
        """The methods that a page takes, for the header ``allow``; None when there is no such page."""
        path = self._without_version(path)
        if path in self._posts:
            return "POST, OPTIONS"
        return "GET, HEAD, OPTIONS" if path in self._gets else None


def _no_version() -> str:
    return ""


_SERVER = {"name": "rafiki", "version": rafiki.__version__, "extensions": ["binary_tensor_data"]}


def _json(value: object) -> Content:
    return Content(msgspec.json.encode(value))


def _told(form: TensorForm) -> dict[str, object]:
    return {"name": form.name, "datatype": form.datatype, "shape": form.shape}


def refusal_of(path: str, error: RafikiError) -> bytes:
    """The body that tells of ``error`` where ``path`` was asked for: in the Open Inference Protocol it is one text."""
    if path != _V2 and not path.startswith(f"{_V2}/"):
        return refusal_body(error)
    found = msgspec.json.decode(refusal_body(error))
    return msgspec.json.encode({"error": f"{found['error']}: {found['message']}"})
