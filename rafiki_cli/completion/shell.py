"""Answers the shells that ask what a word of a command line may become. See ``rafiki completion``.

The scripts in ``rafiki_cli/completion/scripts`` run the command itself with :data:`VARIABLE` set, and with the words up
to the cursor as its arguments (bash: as ``COMP_LINE``). The first line of the answer says what the words are,
``values`` or ``files``; then comes one value a line, with a tab and a word about it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import typer
from typer.core import TyperGroup, TyperOption

from rafiki_cli.application import Application
from rafiki_cli.lazy import LazyGroup
from rafiki_cli.target import options
from rafiki_cli.terminal import UsageError

if TYPE_CHECKING:
    from rafiki_cli.click_types import Command, Context, Parameter

VARIABLE = "_RAFIKI_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


_CURSOR = "\0"
"""Marks where the cursor stands in a line: no line holds it."""


class Answer(NamedTuple):
    """What the last word may become."""

    values: list[tuple[str, str]]
    """Each with a word about it, which may be empty."""
    is_file: bool = False
    """The shell completes the names of files by itself."""


def complete(root: Command, words: Sequence[str], incomplete: str) -> Answer:
    """What ``incomplete`` may become after ``words``, the words before it (without ``rafiki``)."""
    option, equals, value = incomplete.partition("=")
    if words and words[-1] in options.VALUE_OPTIONS:
        return _global_value(words[-1], incomplete)
    if equals and option in options.VALUE_OPTIONS:
        return _joined(option, _global_value(option, value))
    # The options also count for what completes a word: which admin to ask.
    cli, left = _without_global_options(words)
    command, ctx = root, _context(root, "rafiki", None, cli)
    while isinstance(command, TyperGroup) and left:
        name = left.pop(0)
        if name.startswith("-"):
            continue
        found = command.get_command(ctx, name)
        if found is None:
            return Answer([])
        command, ctx = found, _context(found, name, ctx, cli)
    if not isinstance(command, TyperGroup):
        return _of_command(command, ctx, left, incomplete)
    if incomplete.startswith("-"):
        return _options(command, ctx, incomplete)
    found_names = [n for n in command.list_commands(ctx) if n.startswith(incomplete)]
    return Answer([(n, help) for n in found_names if (help := _help(command, ctx, n))])


def _context(command: Command, name: str, parent: Context | None, cli: Application) -> Context:
    # Made by hand: parsing the words would load pydantic (100 ms), and stop at what is not whole yet.
    return typer.Context(
        command, info_name=name, parent=parent, obj=cli, resilient_parsing=True, **command.context_settings
    )


def _of_command(command: Command, ctx: Context, words: Sequence[str], incomplete: str) -> Answer:
    takes_value = {o: p for p in command.params if _is_value_option(p) for o in p.opts}
    positional: list[str] = []
    is_text = False
    pending: Parameter | None = None
    for word in words:
        option, equals, value = word.partition("=")
        if pending is not None:
            ctx.params[pending.name], pending = word, None
        elif is_text or not word.startswith("-") or word == "-":
            positional.append(word)
        elif word == "--":
            is_text = True
        elif option in takes_value and equals:
            ctx.params[takes_value[option].name] = value
        else:
            pending = takes_value.get(word)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    ctx.params |= dict(zip((p.name for p in arguments), positional, strict=False))
    if arguments and arguments[-1].nargs == -1:
        ctx.params[arguments[-1].name] = tuple(positional[len(arguments) - 1 :])
    if pending is not None:
        return _of_parameter(pending, ctx, incomplete)
    if incomplete.startswith("-") and not is_text:
        option, equals, value = incomplete.partition("=")
        if equals and option in takes_value:
            return _joined(option, _of_parameter(takes_value[option], ctx, value))
        return _options(command, ctx, incomplete)
    for i, param in enumerate(arguments):
        if i >= len(positional) or param.nargs == -1:
            return _of_parameter(param, ctx, incomplete)
    return Answer([])


def _is_value_option(param: Parameter) -> bool:
    return isinstance(param, TyperOption) and not param.is_flag and not param.count


def _of_parameter(param: Parameter, ctx: Context, incomplete: str) -> Answer:
    from rafiki_cli.completion import completers

    values: list[tuple[str, str]] = []
    with contextlib.suppress(Exception):  # A prompt is no place for errors: the command itself will tell them.
        items = param.shell_complete(ctx, incomplete)
        values = [(str(i.value), " ".join((i.help or "").split())) for i in items if i.type == "plain"]
        if not values and not _is_path(param) and (find := completers.BY_NAME.get(param.name or "")):
            values = [value for value in find(cast(typer.Context, ctx)) if value[0].startswith(incomplete)]
    # A path without a completer of its own is completed by the shell, which knows of ~ and CDPATH.
    return Answer(values, is_file=not values and _is_path(param))


def _is_path(param: Parameter) -> bool:
    kind = getattr(param, "type_descriptor", None)
    if kind is None:  # Typer before 0.29
        return getattr(getattr(param, "type", None), "name", "") in ("path", "file", "directory")
    return bool(kind.is_path or kind.is_file)


def _help(group: TyperGroup, ctx: Context, name: str) -> str:
    if isinstance(group, LazyGroup):
        return group.help_texts()[name]
    command = group.get_command(ctx, name)
    return "" if command is None or command.hidden else " ".join((command.help or name).split()).partition(". ")[0]


def _options(command: Command, ctx: Context, incomplete: str) -> Answer:
    found = [
        (o, " ".join((p.help or "").split()))
        for p in command.get_params(ctx)
        if isinstance(p, TyperOption) and not p.hidden
        for o in (*p.opts, *p.secondary_opts)
    ]
    for names, help in options.GLOBAL_OPTIONS.items():
        found += [(name.split()[0], help) for name in names.split(", ")]
    return Answer([(o, help) for o, help in found if o.startswith(incomplete) and o.startswith("--")])


def _joined(option: str, answer: Answer) -> Answer:
    return answer._replace(values=[(f"{option}={value}", help) for value, help in answer.values])


def _global_value(option: str, incomplete: str) -> Answer:
    from rafiki_cli.completion import completers

    if option == "--context":
        return Answer([v for v in completers.contexts() if v[0].startswith(incomplete)])
    return Answer([], is_file=option in ("--config", "--ca"))


def _without_global_options(words: Sequence[str]) -> tuple[Application, list[str]]:
    """The application of the global options, and the words of the command itself."""
    try:
        found, rest = options.take_global_options(list(words))
    except UsageError:
        return Application(), list(words)
    return Application(found), rest


# ---- what the shells send and read ---------------------------------------------------------------------------------


def answer_shell(root: Command, shell: str, arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """The answer to a script of :data:`SHELLS`."""
    environ = os.environ if environ is None else environ
    if shell == "bash":
        return _answer_bash(root, environ)
    answer = complete(root, arguments[:-1], arguments[-1] if arguments else "")
    if answer.is_file:
        return "files"
    return "\n".join(["values", *(f"{value}\t{help}" for value, help in answer.values)])


def _answer_bash(root: Command, environ: Mapping[str, str]) -> str:
    line = environ.get("COMP_LINE", "")[: int(environ.get("COMP_POINT") or 0)]
    words, incomplete, is_quoted = split_line(line)
    answer = complete(root, words[1:], incomplete)
    if answer.is_file:
        return "files"
    # bash takes a word apart at these, and puts a value in the place of the last part; an @ belongs to that part.
    breaks = environ.get("COMP_WORDBREAKS", "")
    cut = max((incomplete.rfind(c) + (c != "@") for c in "=:@" if c in breaks and c in incomplete), default=0)
    ends = [value[cut:] for value, _ in answer.values]
    return "\n".join(["values", *(ends if is_quoted else map(_escaped, ends))])


def _escaped(value: str) -> str:
    return re.sub(r"([^\w@%+=:,./#-])", r"\\\1", value)


def split_line(line: str) -> tuple[list[str], str, bool]:
    """The whole words of a command line, the one at whose end the cursor stands, and whether that is in quotes."""
    import shlex

    lexer = shlex.shlex(line + _CURSOR, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    is_quoted = False
    try:
        words.extend(lexer)
    except ValueError:  # A quote is not closed yet: what stands after it is the word.
        words.append(lexer.token)
        is_quoted = True
    return words[:-1], words[-1].removesuffix(_CURSOR), is_quoted
