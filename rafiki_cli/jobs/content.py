"""What a model is: what a new version of it differs in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rafiki.contract.models import ModelView


class ModelContent(msgspec.Struct, frozen=True, kw_only=True):
    """All that makes one version of a model another than the one before."""

    file_sha256: str
    model_class: str
    task: str
    dependencies: Mapping[str, str]
    access: str
    """``PUBLIC`` or ``PRIVATE``."""
    image: str | None

    @classmethod
    def of_row(cls, m: ModelView) -> ModelContent:
        """That of a model on the server."""
        return cls(
            file_sha256=m.model_file_sha256, model_class=m.model_class, task=m.task, dependencies=m.dependencies,
            access=m.access_right, image=m.docker_image,
        )  # fmt: skip

    @property
    def train_hash(self) -> str:
        """A hash of all of it that bears on how it trains."""
        told = msgspec.json.encode(
            [self.file_sha256, self.model_class, sorted(self.dependencies.items()), self.image]
        )  # fmt: skip
        return hashlib.sha256(told).hexdigest()

    def changes_since(self, older: ModelContent) -> list[str]:
        """What differs, in words: ``["file", "dependencies"]``."""
        words = {
            "file_sha256": "file", "model_class": "class", "task": "task", "dependencies": "dependencies",
            "access": "access", "image": "image",
        }  # fmt: skip
        return [word for field, word in words.items() if getattr(self, field) != getattr(older, field)]


def changed_text(changes: list[str]) -> str:
    """``its file and dependencies changed``."""
    listed = " and ".join([", ".join(changes[:-1]), changes[-1]] if len(changes) > 1 else changes)
    return f"its {listed} changed"


def hash_file(file: Path) -> str:
    """SHA-256 of a file's contents, in hex."""
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
