"""The environments of workers in images of their own: where a registry is configured, one image a set of packages.

The registry stands for all nodes: a set is built once, on top of the image that its workers would run in, and every
node pulls it by its digest.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from rafiki.environments.build_lines import BuildLines
from rafiki.environments.nodes import PROGRAM, TIMEOUT_MARGIN_S, NodeEnvironments, PackagesOnNodes
from rafiki.environments.on_node import IMAGE_FOLDER, NodeAnswer, NodeRequest
from rafiki.errors import RafikiError

_logger = logging.getLogger(__name__)

_REGISTRY = "registry"
"""What stands in the place of a node's id."""


class BuiltImage(Protocol):
    @property
    def image(self) -> str:
        """By its digest."""

    @property
    def size_bytes(self) -> int:
        """What it takes beyond the image that it was built on."""


class PackageImages(Protocol):
    """Builds images, and keeps them in a registry."""

    @property
    def registry(self) -> str: ...

    def identify_image(self, image: str | None) -> tuple[str, Mapping[str, str]]:
        """As :meth:`rafiki.environments.nodes.NodeRunner.identify_image`."""

    def find(self, tag: str) -> str | None:
        """The image of that tag, by its digest; None when the registry has none."""

    def build(
        self, tag: str, image: str | None, program: Sequence[str], request: bytes, *, log: Callable[[bytes], None],
        is_wanted: Callable[[], bool], timeout_s: float, stop: threading.Event,
    ) -> BuiltImage | None:  # fmt: skip
        """Run a program in an image, and keep what it leaves behind as an image if that is wanted then."""

    def remove(self, tag: str) -> None:
        """Take it off this machine."""


class _Registry:
    """One node, which is every node."""

    def __init__(self, images: PackageImages) -> None:
        self._images = images

    def list_nodes(self) -> Mapping[str, str]:
        return {_REGISTRY: self._images.registry}

    def identify_image(self, image: str | None) -> tuple[str, Mapping[str, str]]:
        return self._images.identify_image(image)

    def run_once(
        self, node_id: str, image: str | None, program: Sequence[str], request: bytes, *, log: Callable[[bytes], None],
        timeout_s: float, stop: threading.Event,
    ) -> str | None:  # fmt: skip
        raise NotImplementedError("images are built by ImageEnvironments")


class ImageEnvironments(NodeEnvironments):
    """The environments of one stack that are images in a registry."""

    PLACE = "into an image"

    def __init__(
        self, images: PackageImages, file: Path, log_file: Callable[[str], Path], *, timeout_s: float,
        only_wheels: bool, variables: Mapping[str, str], changed: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__(
            _Registry(images), file, log_file, timeout_s=timeout_s, only_wheels=only_wheels, variables=variables,
            max_bytes=None, changed=changed,
        )  # fmt: skip
        self._images = images

    def _where(self, folder: str, built: Mapping[str, str | None]) -> PackagesOnNodes:
        return PackagesOnNodes(folder=f"{IMAGE_FOLDER}/{folder}", nodes=[], image=built.get(_REGISTRY))

    def remove(self, key: str) -> None:
        with self._lock:
            folders = [folder for folder, kept in self._kept.items() if kept.key == key]
        super().remove(key)
        for folder in folders:
            # Who removes an environment wants its record gone; the engine may be away, or use the image for a moment.
            try:
                self._images.remove(folder)
            except RafikiError as e:
                _logger.warning("environment %s: its image stays on the engine's node: %s", key, e.message)

    def _carry_out(
        self, folder: str, image: str | None, node_id: str, request: NodeRequest, lines: BuildLines
    ) -> NodeAnswer:
        # Another stack, or this one before, may have made it.
        if (found := self._images.find(folder)) is not None:
            lines.say(f"found {found}")
            return NodeAnswer(image=found)
        request = msgspec.structs.replace(request, volume=IMAGE_FOLDER)

        def is_wanted() -> bool:
            lines.close()
            return lines.answer is not None and lines.answer.reason is None and not lines.answer.is_base

        try:
            built = self._images.build(
                folder, image, PROGRAM, msgspec.json.encode(request), log=lines.add, is_wanted=is_wanted,
                timeout_s=self._timeout_s + TIMEOUT_MARGIN_S, stop=self._stop,
            )  # fmt: skip
        except RafikiError as e:
            return NodeAnswer(reason=e.message)
        if built is None:
            return lines.answer or NodeAnswer(reason="the program that was to install them said nothing")
        return NodeAnswer(size_bytes=built.size_bytes, image=built.image)
