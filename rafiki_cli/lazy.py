"""Command groups that load when they are used, so that help costs no import of what commands need."""

from __future__ import annotations

import difflib
import importlib
from typing import Any, ClassVar

import typer
import typer.main
from typer.core import TyperGroup

# Without its default at hand, Typer loads pydantic (100 ms) to learn that --help was not given to a group.
CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "default_map": {"help": False}}


def new_app(help: str) -> typer.Typer:
    """A Typer app of this command line: plain help, no arguments mean help."""
    # Rich help costs about 50 ms at every --help.
    return typer.Typer(
        cls=PlainGroup,
        help=help,
        rich_markup_mode=None,
        no_args_is_help=True,
        add_completion=False,
        context_settings=CONTEXT_SETTINGS,
    )


class PlainGroup(TyperGroup):
    """A group whose help tells the first sentence of each command in full."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_sentence(c.help or "")) for name, c in commands if c and not c.hidden])


def _first_sentence(text: str) -> str:
    sentence, dot, _ = " ".join(text.split()).partition(". ")
    return sentence + dot.strip()


class LazyGroup(TyperGroup):
    """The root group: names, modules and help texts stand in :attr:`table`."""

    table: ClassVar[dict[str, tuple[str, str]]] = {}
    """Command -> (module that holds ``app``, one line of help)."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.table:
            if ctx.resilient_parsing:
                return None
            close = difflib.get_close_matches(cmd_name, self.table, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {cmd_name!r}.{hint}")
        module = importlib.import_module(self.table[cmd_name][0])
        loaded = typer.main.get_command(module.app)
        # A module may hold several commands of the root (up, down, status) or one group of its own (train).
        return getattr(loaded, "commands", {}).get(cmd_name, loaded)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in self.table.items()])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as e:
            raise typer.Exit(130) from e
