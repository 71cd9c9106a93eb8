"""Hand-written prose that belongs to a generated entry: ``docs/_notes/NAME.md``, one heading for each entry."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "_notes"


@cache
def notes(name: str) -> dict[str, str]:
    """Heading (without backticks) -> the Markdown below it."""
    text = (FOLDER / f"{name}.md").read_text("utf-8")
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    return {
        heading.replace("`", "").strip(): body.strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }
