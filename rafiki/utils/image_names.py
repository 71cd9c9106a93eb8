"""Names of container images, as engines and registries read them."""

from __future__ import annotations

import re

_DOMAIN = r"(?:localhost|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+|[A-Za-z0-9-]+(?=:\d)|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"  # noqa: E501
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:(?P<registry>{_DOMAIN})/)?(?P<path>{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_LONGEST = 400


class ImageName:
    """One name: ``registry.example.org:5000/team/model:1.2``.

    Raises:
        ValueError: it is none; says what a name looks like.
    """

    def __init__(self, text: str) -> None:
        found = _NAME.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None:
            raise ValueError(
                f"{text[:80]!r} is no name of an image. Write it as 'registry.example.org/team/model:1.2': small "
                "letters, with a tag behind a colon or a digest behind '@sha256:'."
            )
        self.text = text
        self.registry: str | None = found["registry"]
        """None = the engine's own."""
        self.path: str = found["path"]
        self.tag: str | None = found["tag"]
        self.digest: str | None = found["digest"]

    def at(self, digest: str) -> str:
        """The image of that digest, whatever the tag means by now."""
        return f"{f'{self.registry}/' if self.registry else ''}{self.path}@{digest}"
