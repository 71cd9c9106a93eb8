"""Images that models name: whether they are there, what they are at this moment, and whether workers run in them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import msgspec

from rafiki.container.base import CheckedImage
from rafiki.container.image_digests import is_pinned, loaded, short
from rafiki.container.swarm_engine import AnswerError, Engine
from rafiki.container.swarm_once import SwarmOneShots
from rafiki.distribution import LOCAL_REGISTRY
from rafiki.errors import InvalidImageError
from rafiki.messages import OLDEST_PROTOCOL, PROTOCOL
from rafiki.utils.image_names import ImageName
from rafiki.version import __version__

_PULL_TIMEOUT_S = 600.0
_TRY_TIMEOUT_S = 60.0
_ANSWER = "rafiki-image: "
_PROGRAM = f"""
import json, rafiki.worker.train, rafiki.worker.inference
from rafiki.messages import PROTOCOL
from rafiki.version import __version__
print({_ANSWER!r} + json.dumps({{"version": __version__, "protocol": PROTOCOL}}))
"""
"""Also read by images of other versions."""


class _Inside(msgspec.Struct):
    version: str
    protocol: int


class SwarmImages:
    """The images of models. Safe to use from several threads.

    Args:
        own_node_id: of the engine's own node, on which images are tried.
    """

    def __init__(self, engine: Engine, one_shots: SwarmOneShots, own_node_id: Callable[[], str]) -> None:
        self._engine = engine
        self._one_shots = one_shots
        self._own_node_id = own_node_id
        self._fit: set[str] = set()
        """Images that were tried and found fit, by their ids."""

    def check(self, image: str) -> CheckedImage:
        """
        Raises:
            InvalidImageError: nodes could not get it, or no worker could run in it.
            ContainerError: the engine does not answer.
        """
        name = ImageName(image)
        is_local = image.startswith(LOCAL_REGISTRY)
        here = self._one_shots.find_image_id(image)
        digest, problem = (None, None) if is_local else self._engine.find_digest(image)
        if digest is not None and here is None:
            self._pull(image)
            here = self._one_shots.find_image_id(image)
        if here is None:
            why = problem or "no registry has it"
            raise InvalidImageError(
                f"The image {image} is not on the node of {self._engine.place}, and cannot be pulled: {why}. "
                + (
                    "Load it there and on the other nodes (`rafiki image spread`)."
                    if is_local
                    else "Push it to its registry, and log in there on this machine (`docker login`)."
                )
            )
        self._try(name.at(digest) if digest is not None else image, here)
        note = None
        if problem is not None:
            note = f"its registry could not be asked ({problem}): the image that is on the nodes is used"
        return CheckedImage(digest=digest or loaded(here), note=note)

    def find_problem(self, image: str, digest: str) -> str | None:
        """Why workers of a model cannot run in what the image's name means now; None when they can."""
        if not is_pinned(digest):
            now, _ = self._one_shots.identify_image(image)
            if now == image:
                return f"Its docker_image {image} is not on the node of {self._engine.place} any more"
            if loaded(now) != digest:
                return (
                    f"Its docker_image {image} is another one by now ({short(digest)} when the model was uploaded, "
                    f"{short(now)} today). Upload the model again: that makes a version with the image of today"
                )
        return None

    def find_change(self, image: str, digest: str) -> str | None:
        """What is to be said when a registry's tag means another image by now; the recorded one is run all the same."""
        if not is_pinned(digest) or ImageName(image).digest is not None:
            return None
        now, _ = self._engine.find_digest(image)
        if now is None or now == digest:
            return None
        return (
            f"the tag of {image} means another image by now ({short(now)}); the model's version runs in the one that "
            f"was checked at its upload ({short(digest)})"
        )

    def _pull(self, image: str) -> None:
        try:
            self._engine.pull(image, timeout_s=_PULL_TIMEOUT_S)
        except AnswerError as e:
            raise InvalidImageError(f"The image {image} cannot be pulled: {e.told}.") from e

    def _try(self, image: str, image_id: str) -> None:
        if image_id in self._fit:
            return
        said = bytearray()
        problem = self._one_shots.run_once(
            self._own_node_id(), image, ("-c", _PROGRAM), b"{}", log=said.extend, timeout_s=_TRY_TIMEOUT_S,
            stop=threading.Event(), has_volume=False,
        )  # fmt: skip
        lines = bytes(said).decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else ""
        if problem is not None:
            raise InvalidImageError(f"No worker runs in the image {image}: {_explain(problem, last)}")
        try:
            inside = msgspec.convert(json.loads(last.removeprefix(_ANSWER)), _Inside)
        except (ValueError, msgspec.ValidationError) as e:
            raise InvalidImageError(f"No worker runs in the image {image}: it answered {last[:200]!r}") from e
        if not OLDEST_PROTOCOL <= inside.protocol <= PROTOCOL:
            raise InvalidImageError(
                f"The image {image} has Rafiki {inside.version}, whose workers do not understand this one "
                f"({__version__}). Build it again, FROM the image of `rafiki image build`."
            )
        self._fit.add(image_id)


def _explain(problem: str, last_line: str) -> str:
    if "executable file not found" in problem or "has no program" in problem:
        return "it has no program `python`. Build it FROM the image of `rafiki image build`."
    if "No module named" in last_line and "rafiki" in last_line:
        return "it has no Rafiki. Build it FROM the image of `rafiki image build`."
    return f"{problem.rstrip('.')}{f'; last it wrote: {last_line[:200]}' if last_line else ''}."
