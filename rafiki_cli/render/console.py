"""The console of tables and live views. Import it where something is drawn: Rich takes long to load."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal acts upon, but for new lines and tabs."""


class HarmlessConsole(Console):
    """Draws names, logs and errors of strangers without what a terminal would act upon. What is left out has no width,
    so that nothing moves; colours and cursor are Rich's own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or not _COMMANDS.search(segment.text):
                yield segment
            else:
                yield Segment(_COMMANDS.sub("", segment.text), segment.style)
