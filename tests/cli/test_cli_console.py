"""What strangers write is drawn as text: a terminal acts upon none of it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

import rafiki_cli
from rafiki_cli.render.console import HarmlessConsole

HOSTILE = ["\x1b]0;owned\x07", "\x1b[2J\x1b[H", "\x9b2J", "\x1b[31mred", "a\rb", "\x1bc", "\x00\x08\x7f"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_live_view_draws_names_without_what_a_terminal_acts_upon(text: str) -> None:
    drawn = io.StringIO()
    console = HarmlessConsole(file=drawn, force_terminal=True, width=40, color_system="standard")
    table = Table("model", "status")
    table.add_row(Text(f"<{text}>", style="bold"), text)
    with Live(console=console, auto_refresh=False) as live:
        live.update(table, refresh=True)
    found = drawn.getvalue()
    assert text not in found
    # All that is left are Rich's own styles, and its steps of the cursor.
    left = re.sub(r"\x1b\[[0-9;]*m|\x1b\[(?:\?25[lh]|[0-9]*[AK]|2K)|[\r\n]", "", found)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", left)
    assert "\x1b[1m<" in found, "what it is styled with stays"


def test_nothing_else_draws_what_strangers_write() -> None:
    root = Path(rafiki_cli.__file__).parent
    # The second prints files that are Rafiki's own.
    own = {"render/console.py", "commands/template.py"}
    direct = {str(f.relative_to(root)) for f in root.rglob("*.py") if re.search(r"\bConsole\(", f.read_text("utf-8"))}
    assert direct - own == set()
