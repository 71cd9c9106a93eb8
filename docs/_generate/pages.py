"""What the generated parts of the pages are called, and who makes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from docs._generate import commands, errors, exit_codes, job_spec, metrics, rest, sdk, services, settings

FRAGMENTS: dict[str, Callable[[], str]] = {
    "commands-globals": commands.globals_table,
    "commands-overview": commands.overview,
    "commands-root": commands.root_commands,
    "commands-toctree": commands.groups_toctree,
    "errors": errors.page,
    "exit-codes": exit_codes.page,
    "job-spec": job_spec.page,
    "metrics-admin": metrics.admin_table,
    "metrics-predictor": metrics.predictor_table,
    "metrics-process": metrics.process_table,
    "python-client": sdk.client_page,
    "rest": rest.page,
    "sdk": sdk.model_page,
    "service-calls": services.page,
    "settings": settings.page,
}

COMMANDS = Path("reference") / "commands"
"""Where the pages of the groups of commands lie; the folder's index.md is hand-written."""

_MARK = re.compile(r"^<!-- from the code: ([\w-]+) -->$", re.MULTILINE)


def fill(text: str) -> str:
    """A page with its generated parts in place.

    Raises:
        KeyError: when it asks for a part that there is not.
    """
    return _MARK.sub(lambda m: FRAGMENTS[m[1]](), text)


def command_pages() -> dict[str, str]:
    """File name in :data:`COMMANDS` -> the page of a group of commands."""
    return {f"{group.path[0]}.md": commands.group_page(group) for group in commands.groups()}


def write_command_pages(docs: Path) -> None:
    """Write the pages of the groups below ``docs``, and remove those of groups that are gone."""
    folder = docs / COMMANDS
    wanted = command_pages()
    for path in folder.glob("*.md"):
        if path.name not in wanted and path.name != "index.md":
            path.unlink()
    for name, text in wanted.items():
        path = folder / name
        # Unchanged pages keep their time, so that Sphinx does not read them again.
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
