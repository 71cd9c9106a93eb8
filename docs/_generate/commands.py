"""The reference of the commands, from the tree that the command line itself runs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from docs._generate.markdown import anchor, code, directive, fence, full_stop, plain, table
from docs._generate.notes import notes

ARGUMENTS = {"app": "Name of the app.", "email": "Email address of the user."}
"""Arguments that mean the same in every command, where the command says nothing of its own."""

_KINDS = {"str": "TEXT", "int": "NUMBER", "float": "NUMBER", "Path": "PATH", "datetime": "DATE"}


@dataclass(frozen=True)
class Command:
    """A command or a group as it is typed, without ``rafiki``."""

    path: tuple[str, ...]
    command: Any

    @property
    def name(self) -> str:
        return " ".join(("rafiki", *self.path))

    @property
    def label(self) -> str:
        return "-".join(("cmd", *self.path))

    @property
    def is_group(self) -> bool:
        return hasattr(self.command, "commands") or hasattr(self.command, "list_commands")

    @property
    def help(self) -> str:
        return inspect.cleandoc(self.command.help or "").partition("\f")[0].replace("\b\n", "").strip()

    @property
    def params(self) -> list[Any]:
        return [p for p in self.command.params if not getattr(p, "hidden", False) and "--help" not in p.opts]

    @property
    def arguments(self) -> list[Any]:
        return [p for p in self.params if p.param_type_name == "argument"]

    @property
    def options(self) -> list[Any]:
        return [p for p in self.params if p.param_type_name == "option"]

    def subcommands(self) -> list[Command]:
        if not self.is_group:
            return []
        context = _Anything()
        names = self.command.list_commands(context)
        found = [Command((*self.path, n), self.command.get_command(context, n)) for n in names]
        return [c for c in found if c.command is not None and not c.command.hidden]


class _Anything:
    """What stands in for a click context where nothing is parsed."""

    resilient_parsing = True


def root() -> Command:
    import typer.main

    from rafiki_cli import main

    return Command((), typer.main.get_command(main._app))


def walk(start: Command | None = None) -> Iterator[Command]:
    """Every command and group below ``start`` (the root)."""
    for command in (start or root()).subcommands():
        yield command
        yield from walk(command)


# ---- one parameter


def help_of(param: Any) -> str:
    """What the parameter means; empty where nobody said it."""
    text = getattr(param, "help", None) or ""
    if not text and param.param_type_name == "argument":
        text = ARGUMENTS.get(param.name, "")
    return str(text)


def _annotation(param: Any) -> Any:
    descriptor = getattr(param, "type_descriptor", None)
    return getattr(descriptor, "annotation", None)


def choices(param: Any) -> list[str]:
    kind = _annotation(param)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return [str(c) for c in getattr(getattr(param, "type", None), "choices", [])]


def metavar(param: Any) -> str:
    """``FILE``: what stands for the value; empty for a flag."""
    if getattr(param, "is_flag", False) or getattr(param, "count", False):
        return ""
    if param.metavar:
        return str(param.metavar)
    if param.param_type_name == "argument":
        return str(param.name.upper())
    if options := choices(param):
        return "|".join(options) if len(options) < 5 else "NAME"
    kind = _annotation(param)
    [kind] = getattr(kind, "__args__", None) or [kind]
    return _KINDS.get(getattr(kind, "__name__", ""), "TEXT")


def default_of(param: Any) -> str:
    value = param.default
    is_absent = value is None or value is False or value in ([], ())
    if is_absent or callable(value) or getattr(param, "required", False):
        return ""
    value = value.value if isinstance(value, Enum) else value
    return "on" if value is True else str(value)


def _meaning(param: Any) -> str:
    text, _, said = help_of(param).partition("[default:")
    parts = [full_stop(plain(text))]
    if default := said.partition("]")[0].strip() or default_of(param):
        parts.append(f"Default: {plain(default) if said else code(default)}.")
    options = choices(param)
    if len(options) >= 5:
        parts.append(f"One of {', '.join(map(code, options))}.")
    if getattr(param, "required", False) and param.param_type_name == "option":
        parts.append("Must be given.")
    if (variable := getattr(param, "envvar", None)) and isinstance(variable, str):
        parts.append(f"Also from the variable `{variable}`.")
    return " ".join(p for p in parts if p)


def _option(param: Any) -> str:
    value = metavar(param)
    names = [*sorted(param.opts, key=lambda o: o.startswith("--")), *param.secondary_opts]
    return directive("option", ", ".join(f"{name} {value}".strip() for name in names), _meaning(param))


def _argument(param: Any) -> str:
    name = metavar(param) + ("..." if param.nargs == -1 else "")
    optional = "" if param.required else " Optional."
    return f"`{name}`\n: {_meaning(param)}{optional}\n"


def usage(command: Command) -> str:
    parts = ["[OPTIONS]"] if command.options else []
    for param in command.arguments:
        name = metavar(param) + ("..." if param.nargs == -1 else "")
        parts.append(name if param.required else f"[{name}]")
    parts += ["COMMAND"] if command.is_group else []
    return " ".join([command.name, *parts])


# ---- examples


def examples(command: Command) -> list[str]:
    """The lines of the epilog that are commands: the indented ones. What follows a wide gap is a comment."""
    lines = (command.command.epilog or "").splitlines()
    shown = [line.strip().removeprefix("$ ") for line in lines if line.startswith(" ") and line.strip()]
    return [re.sub(r"\s{3,}(?=\w)", "    # ", line) for line in shown]


# ---- pages


def entry(command: Command, level: int) -> str:
    """The section of one command."""
    parts = [anchor(command.label), f"{'#' * level} `{command.name}`", "", _prose(command.help), ""]
    if not command.is_group:
        parts += [fence("text", usage(command))]
    if note := notes("commands").get(command.name):
        parts += [note, ""]
    if shown := examples(command):
        parts += [fence("sh", "\n".join(shown))]
    if command.arguments:
        parts += ["\n".join(map(_argument, command.arguments))]
    if command.options:
        parts += [directive("program", command.name), *map(_option, command.options)]
    return "\n".join(parts)


def _prose(text: str) -> str:
    return "\n\n".join(plain(paragraph) for paragraph in re.split(r"\n\s*\n", text))


def group_page(group: Command) -> str:
    """The page of a group: what it is for, and all its commands."""
    parts = [entry(group, 1), ""]
    parts += [_table_of(list(walk(group)))]
    parts += [entry(command, 2) for command in walk(group)]
    return "\n".join(parts)


def _first_sentence(text: str) -> str:
    first, dot, _ = " ".join(text.split()).partition(". ")
    return first + dot.strip()


def overview() -> str:
    """All commands in a table, as they are grouped in ``rafiki --help`` where they are."""
    left = {command.path[0]: command for command in root().subcommands()}
    sections = getattr(root().command, "sections", {})
    parts = []
    for heading, names in sections.items():
        if group := [left.pop(name) for name in names if name in left]:
            parts += [f"**{heading}**", "", _table_of(group)]
    if left:
        parts += [*(["**Other**", ""] if parts else []), _table_of(list(left.values()))]
    return "\n".join(parts)


def _table_of(group: list[Command]) -> str:
    rows = [(f"[`{c.name}`](#{c.label})", plain(_first_sentence(c.help))) for c in group]
    return table(["command", ""], rows)


def global_options() -> dict[str, str]:
    """The options of every command, and what they mean."""
    from rafiki_cli.target import options

    found: dict[str, str] = getattr(options, "GLOBAL_OPTIONS", {})
    if not found:
        text = " ".join(options.GLOBAL_OPTIONS_HELP.split())
        found = {m[1]: m[2] for m in re.finditer(r"(--[\w-]+(?: [A-Z:]+)?) \(([^)]*)\)", text)}
    return {**found, "-h, --help": "Help of any command or group."}


def globals_table() -> str:
    meanings = {code(name): full_stop(plain(text[:1].upper() + text[1:])) for name, text in global_options().items()}
    return table(["option", "meaning"], meanings.items())


def root_commands() -> str:
    """The sections of the commands that belong to no group."""
    return "\n".join(entry(command, 2) for command in root().subcommands() if not command.is_group)


def groups() -> list[Command]:
    return [command for command in root().subcommands() if command.is_group]


def groups_toctree() -> str:
    pages = "\n".join(group.path[0] for group in groups())
    return directive("toctree", "", pages, maxdepth="1", hidden="")
