"""Captured terminal screens: ``docs/screens/NAME.txt``, shown by the directive ``{screen} NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def directive(folder: Path) -> Any:
    """The Sphinx directive that shows a captured screen as a terminal would."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class Screen(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[nodes.Node]:
            file = folder / f"{self.arguments[0]}.txt"
            self.env.note_dependency(str(file))
            if not file.is_file():
                raise self.error(f"There is no screen {file.name}: run `make screens`.")
            text = file.read_text("utf-8").rstrip()
            box = nodes.container(classes=["screen"])
            box += nodes.literal_block(text, text, language="text")
            return [box]

    return Screen


def names() -> list[str]:
    return []
