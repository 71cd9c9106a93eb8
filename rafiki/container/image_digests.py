"""What a model's version records of its image: the digest in a registry, or the id of what nodes have loaded."""

from __future__ import annotations

from rafiki.utils.image_names import ImageName

_LOADED = "loaded:"
"""Before the id of an image that no registry tells of: a service cannot ask for it by its id."""


def loaded(image_id: str) -> str:
    return f"{_LOADED}{image_id}"


def is_pinned(digest: str) -> bool:
    """Whether a service can ask for just that image."""
    return not digest.startswith(_LOADED)


def pinned(image: str, digest: str | None) -> str:
    """What a service runs: the image that was recorded, where a registry has it under its digest."""
    return ImageName(image).at(digest) if digest is not None and is_pinned(digest) else image


def short(digest: str) -> str:
    return digest.rpartition(":")[2][:12]
