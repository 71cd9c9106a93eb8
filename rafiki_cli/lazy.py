"""Command groups that load when they are used, so that help costs no import of what commands need.

Also how help looks: commands in groups, options in two columns, examples line by line.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from rafiki.utils.nearest import did_you_mean
from rafiki_cli import terminal
from rafiki_cli.quick_values import spare_pydantic
from rafiki_cli.target import options

if TYPE_CHECKING:
    from rafiki_cli.click_types import Command, Context, HelpFormatter

# Without its default at hand, Typer loads pydantic (100 ms) to learn that --help was not given to a group.
CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "default_map": {"help": False}}
Function = TypeVar("Function", bound=Callable[..., object])

# The class that Typer raises for wrong use is that of click, which newer versions of Typer hold a copy of.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_MEANT = {
    "start": "up", "stop": "down", "kill": "down", "shutdown": "down", "restart": "up", "ps": "status", "top": "status",
    "new": "init", "create": "init", "serve": "infer create", "deploy": "infer create", "jobs": "train list",
    "list": "train list", "upload": "model upload", "test": "model test", "tune": "train create", "log": "logs",
    "query": "predict", "clean": "gc", "check": "doctor", "settings": "config show",
}  # fmt: skip
"""What other programs call a command -> its name here. The nearest name in letters would be another: of ``stop``,
``stop-all``."""
_LEFT_COLUMN = 30
"""The widest option that its help stands beside; that of a wider one stands below it."""


class App(typer.Typer):
    """A Typer app whose commands show their help as this module does, and are made when they are asked for: to make
    those of a group costs more than most of them take.
    """

    def __init__(self, help: str, group: type[TyperGroup] | None = None) -> None:
        # Rich help costs about 50 ms at every --help.
        super().__init__(
            cls=group or PlainGroup,
            help=help,
            rich_markup_mode=None,
            no_args_is_help=True,
            add_completion=False,
            context_settings=CONTEXT_SETTINGS,
        )
        self.commands = Commands()

    def command(  # type: ignore[override]  # What this command line uses of Typer's.
        self, name: str | None = None, *, help: str | None = None, epilog: str | None = None
    ) -> Callable[[Function], Function]:
        def register(function: Function) -> Function:
            command_name = name or typer.main.get_command_name(function.__name__)
            self.commands.add(command_name, lambda: _make_command(command_name, function, help, epilog))
            return function

        return register

    def command_of(self, name: str, module: str) -> None:
        """Take the command ``name`` of the app of another module, which is loaded when the command is asked for."""
        self.commands.add(name, lambda: importlib.import_module(module).app.commands[name])

    def group(self) -> TyperGroup:
        """The group of the commands."""
        group = typer.main.get_group(self)
        group.commands = self.commands  # type: ignore[assignment]  # Nobody changes them.
        return group


class Commands(Mapping[str, TyperCommand]):
    """The commands of an app by name, in the order in which they were added. Each is made once."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], TyperCommand]] = {}
        self._made: dict[str, TyperCommand] = {}

    def add(self, name: str, make: Callable[[], TyperCommand]) -> None:
        self._makers[name] = make

    def __getitem__(self, name: str) -> TyperCommand:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _make_command(name: str, function: Callable[..., object], help: str | None, epilog: str | None) -> TyperCommand:
    alone = typer.Typer(rich_markup_mode=None, add_completion=False, context_settings=CONTEXT_SETTINGS)
    alone.command(name, cls=PlainCommand, help=help, epilog=epilog)(_given_application(function))
    return cast(TyperCommand, typer.main.get_command(alone))


def _given_application(function: Callable[..., object]) -> Callable[..., object]:
    """A command whose parameter ``cli``, when it has one, is the application that runs it."""
    if "cli" not in inspect.signature(function).parameters:
        return function
    signature = inspect.signature(function, eval_str=True)

    @functools.wraps(function)
    def command(*arguments: object, **options: object) -> object:
        return function(*arguments, cli=terminal.get_context().find_root().obj, **options)

    parameters = [p for name, p in signature.parameters.items() if name != "cli"]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def examples(*commands: str) -> str:
    """The epilog of a command: what people may type, one command a line."""
    return "\n\n".join(["Examples:", *(f"  {command}" for command in commands)])


def new_app(help: str, group: type[TyperGroup] | None = None) -> App:
    """A Typer app of this command line: plain help, no arguments mean help, unless ``group`` says otherwise."""
    return App(help, group)


class PlainCommand(TyperCommand):
    """A command whose help keeps the lines of its examples, and that names the nearest of a mistyped option."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        spare_pydantic(self.get_params(ctx))
        with _naming_nearest_option(self, ctx):
            return super().parse_args(ctx, args)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        _format_options(self, ctx, formatter)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        _format_examples(self.epilog, formatter)


class PlainGroup(TyperGroup):
    """A group whose help tells the first sentence of each command in full."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        with _naming_nearest_option(self, ctx):
            return super().parse_args(ctx, args)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        _format_options(self, ctx, formatter)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        _write_section(
            formatter, "Commands", [(name, _first_sentence(c.help or "")) for name, c in commands if c and not c.hidden]
        )

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        _format_examples(self.epilog, formatter)


class GroupWithDefault(PlainGroup):
    """A group whose first command may go without its name: ``rafiki backup FILE``."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in self.commands and first not in ctx.help_option_names:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


class GroupWithFile(PlainGroup):
    """A group whose command ``file`` may go without its name: ``rafiki train titanic.csv``."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in self.commands and not first.startswith("-") and (Path(first).suffix or Path(first).exists()):
            args = ["file", *args]
        return super().parse_args(ctx, args)


class LazyGroup(PlainGroup):
    """The root group: names, modules and help texts stand in :attr:`sections`."""

    sections: ClassVar[dict[str, dict[str, tuple[str, str]]]] = {}
    """Heading -> command -> (module that holds ``app``, one line of help)."""

    @classmethod
    def modules(cls) -> dict[str, str]:
        """Command -> module, of all sections."""
        return {name: module for section in cls.sections.values() for name, (module, _) in section.items()}

    @classmethod
    def help_texts(cls) -> dict[str, str]:
        """Command -> its line of help, of all sections; no command is loaded."""
        return {name: help for section in cls.sections.values() for name, (_, help) in section.items()}

    def list_commands(self, ctx: Context) -> list[str]:
        return list(self.modules())

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        modules = self.modules()
        if cmd_name not in modules:
            if ctx.resilient_parsing:
                return None
            meant = _MEANT.get(cmd_name.lower())
            hint = f"Did you mean {meant!r}?" if meant else did_you_mean(cmd_name, modules)
            ctx.fail(f"No such command {cmd_name!r}. {hint}".rstrip())
        app: App = importlib.import_module(modules[cmd_name]).app
        # A module may hold several commands of the root (up, down, status) or one group of its own (train).
        return app.commands[cmd_name] if cmd_name in app.commands else app.group()

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        width = max(map(len, self.modules()))  # One column for all sections.
        for heading, section in self.sections.items():
            _write_section(formatter, heading, [(name.ljust(width), help) for name, (_, help) in section.items()])

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        rows = [r for p in self.get_params(ctx) if (r := p.get_help_record(ctx))]
        _write_section(formatter, "Options of every command", [*options.GLOBAL_OPTIONS.items(), *rows])

    def invoke(self, ctx: Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as e:
            raise typer.Exit(130) from e


@contextlib.contextmanager
def _naming_nearest_option(command: Command, ctx: Context) -> Iterator[None]:
    """Names the option that was meant where there is none of that name."""
    try:
        yield
    except UsageError as e:
        # NoSuchOption, known by what it holds, because its class lies in a private module of Typer.
        if hasattr(e, "possibilities"):
            known = [o for p in command.get_params(ctx) for o in (*p.opts, *p.secondary_opts)]
            known += [*options.VALUE_OPTIONS, *options.FLAGS]
            wanted = str(getattr(e, "option_name", ""))
            hint = did_you_mean(wanted, [o for o in known if o.startswith("--")])
            vars(e).update(possibilities=None, message=f"No such option {wanted!r}. {hint}".rstrip())
        raise


def _first_sentence(text: str) -> str:
    sentence, dot, _ = " ".join(text.split()).partition(". ")
    return sentence + dot.strip()


def _format_options(command: Command, ctx: Context, formatter: HelpFormatter) -> None:
    arguments: list[tuple[str, str]] = []
    flags: list[tuple[str, str]] = []
    for param in command.get_params(ctx):
        if record := param.get_help_record(ctx):
            # An option that can be repeated says so in its help, and a range stands at the end of that.
            name = re.sub(r"<list\[(.+)\]>", r"<\1>", record[0]).replace(" range>", ">")
            (arguments if param.param_type_name == "argument" else flags).append((name, record[1]))
    _write_section(formatter, "Arguments", arguments)
    _write_section(formatter, "Options", flags)


def _write_section(formatter: HelpFormatter, heading: str, rows: Sequence[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows, col_max=_LEFT_COLUMN)


def _format_examples(epilog: str | None, formatter: HelpFormatter) -> None:
    """The epilog line by line: what is indented is a command to type, and stays as it is."""
    if not epilog:
        return
    for line in filter(str.strip, epilog.splitlines()):
        if line.startswith(" "):
            formatter.write(f"  {line.strip()}\n")
        else:
            formatter.write("\n")
            formatter.write_text(line)
