"""One line that tells how something goes, and changes: in a notebook in its place, in a terminal over itself, elsewhere
as a new line now and then.

IPython is no dependency: it is used where it runs already.
"""

from __future__ import annotations

import html
import importlib
import sys
from typing import IO, Protocol

from rafiki.utils.clock import Deadline

_TEXT_INTERVAL_S = 5.0
"""Between two lines of a file or a pipe."""


class State:
    """What is shown: a text, and how far it is where that is known."""

    def __init__(self, text: str, done: float | None = None) -> None:
        """
        Args:
            done: from 0 to 1.
        """
        self.text, self.done = text, done

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        value = "" if self.done is None else f' value="{min(max(self.done, 0.0), 1.0):.3f}"'
        return f"<progress max=1{value}></progress> <code>{html.escape(self.text)}</code>"


class _Handle(Protocol):
    def update(self, state: State) -> None: ...


class LiveLine:
    """Shows one state after another.

    Args:
        is_quiet: show nothing.
        stream: where it is shown outside of notebooks; None = stderr.
    """

    def __init__(self, *, is_quiet: bool = False, stream: IO[str] | None = None) -> None:
        self._is_quiet = is_quiet
        self._stream = stream
        self._handle: _Handle | None = None
        self._last = ""
        self._width = 0
        self._pause: Deadline | None = None

    def show(self, state: State, *, is_last: bool = False) -> None:
        """Show a state in the place of the one before."""
        if self._is_quiet or (state.text == self._last and not is_last):
            return
        if is_in_notebook():
            self._show_in_notebook(state)
        else:
            self._show_as_text(state.text, is_last)
        self._last = state.text

    def _show_in_notebook(self, state: State) -> None:
        if self._handle is not None:
            self._handle.update(state)
            return
        self._handle = importlib.import_module("IPython.display").display(state, display_id=True)

    def _show_as_text(self, text: str, is_last: bool) -> None:
        stream = self._stream or sys.stderr
        if stream.isatty():
            stream.write("\r" + text.ljust(self._width) + ("\n" if is_last else ""))
            self._width = len(text)
        elif is_last or self._pause is None or self._pause.is_over():
            self._pause = Deadline(_TEXT_INTERVAL_S)
            stream.write(text + "\n")
        stream.flush()


def is_in_notebook() -> bool:
    """Whether this program is the kernel of a notebook, whose outputs can change."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None
