"""``rafiki help``: of a command as ``--help`` shows it, or a page of the reference that comes with the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.utils.nearest import did_you_mean
from rafiki_cli import terminal
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app

if TYPE_CHECKING:
    from rafiki_cli.click_types import Context

app = new_app("Help.")
TOPICS = {"tasks": "Datasets, queries and predictions of each task.", "search": "Search schemes and stopping rules."}
"""Page -> what it is about."""
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]+\)")


@app.command(epilog=examples("rafiki help", "rafiki help train create", "rafiki help tasks"))
def help(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND]...", help="A command, or a page: tasks, search.", autocompletion=completers.help_words
        ),
    ] = None,
) -> None:
    """Show the help of a command, or a page of the reference: what a dataset of a task looks like, what a search scheme
    does."""
    root = terminal.get_context().find_root()
    if words and len(words) == 1 and words[0] in TOPICS:
        terminal.put(page(words[0]))
        return
    terminal.put(_help_of(root, words or []))
    if not words:
        terminal.put("\nPages (rafiki help PAGE):")
        for name, about in TOPICS.items():
            terminal.put(f"  {name:<11}  {about}")


def page(topic: str) -> str:
    """A page of the reference as text for a terminal: its links lead to other pages of the documentation."""
    from rafiki_cli.scaffold.assets import find_asset

    return _LINK.sub(r"\1", find_asset("pages", f"{topic}.md").read_text("utf-8")).rstrip()


def _help_of(context: Context, words: list[str]) -> str:
    command = context.command
    for i, word in enumerate(words):
        names = list(command.list_commands(context)) if hasattr(command, "list_commands") else []
        if word not in names:
            above = " ".join(["rafiki", *words[:i]])
            known = [*names, *TOPICS] if i == 0 else names
            hint = did_you_mean(word, known, f"There are: {', '.join(known)}." if known else f"See `{above} --help`.")
            raise terminal.UsageError(f"There is no command `{above} {word}`. {hint}")
        found = command.get_command(context, word)  # type: ignore[attr-defined]
        command, context = found, typer.Context(found, info_name=word, parent=context, **found.context_settings)
    return str(command.get_help(context))
