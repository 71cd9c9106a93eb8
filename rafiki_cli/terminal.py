"""Data goes to stdout, messages to stderr, and a failed command ends in one place."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TextIO

import typer

from rafiki.constants import ExitCode
from rafiki.errors import RafikiError
from rafiki.utils.paths import why

if TYPE_CHECKING:
    from rafiki_cli.click_types import Context


class UsageError(RafikiError):
    """The command or one of its options is wrong. See its --help."""

    exit_code = ExitCode.USAGE


class Manner(NamedTuple):
    """How the running command talks."""

    is_quiet: bool = False
    """Nothing but data and errors is wanted."""
    is_colorless: bool = False
    """Colours are refused by --no-color."""


def _manner() -> Manner:
    """That of the application which runs a command in this thread: the object of click's context."""
    context = find_context()
    found = getattr(context.find_root().obj, "manner", None) if context else None
    return found if isinstance(found, Manner) else Manner()


def find_context() -> Context | None:
    """Click's context of the command that this thread runs; None outside of one."""
    # Newer versions of Typer hold a copy of click, older ones use click itself.
    package = typer.Context.__bases__[0].__module__.rpartition(".")[0]
    found: Context | None = sys.modules[f"{package}.globals"].get_current_context(silent=True)
    return found


def get_context() -> Context:
    """Click's context of the command that this thread runs.

    Raises:
        RuntimeError: outside of a command.
    """
    if (found := find_context()) is None:
        raise RuntimeError("no command runs in this thread")
    return found


def tell_requests(is_wanted: bool) -> None:
    """Tell each request to a server on stderr, as the client logs it, or no longer."""
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(style(record.getMessage(), dim=True))

    logger = logging.getLogger("rafiki.client")
    logger.handlers, logger.propagate = [Lines()] if is_wanted else [], not is_wanted
    logger.setLevel(logging.DEBUG if is_wanted else logging.NOTSET)


def is_quiet() -> bool:
    """Whether nothing but data and errors is wanted."""
    return _manner().is_quiet


def has_color() -> bool:
    """Whether colours are not refused; that a terminal is there is another question.

    Two conventions of terminals, which Rich keeps by itself: NO_COLOR (https://no-color.org) and TERM=dumb.
    """
    return not (_manner().is_colorless or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")


def style(text: str, *, fg: str | None = None, bold: bool | None = None, dim: bool | None = None) -> str:
    """``text`` as ``typer.style`` shows it; what is no terminal gets it as it is."""
    return typer.style(text, fg=fg, bold=bold, dim=dim) if has_color() else text


def fitted(text: str, *, stream: TextIO | None = None, indent: str = "") -> str:
    """``text`` with its lines broken between words where a terminal would break them within; as it is elsewhere.

    Args:
        stream: where it goes; None = stderr.
        indent: before each line that is added, besides that of the line itself. What stands between backticks, and
            addresses, stay in one piece.
    """
    if not (stream or sys.stderr).isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(_fold(line, width, indent) if len(line) > width else line for line in text.split("\n"))


_HELD = "\x00"


def _fold(line: str, width: int, indent: str) -> str:
    own = line[: len(line) - len(line.lstrip())]
    held = re.sub(r"`[^`]+`", lambda m: m[0].replace(" ", _HELD), line)
    lines = textwrap.wrap(
        held, width, subsequent_indent=own + indent, break_long_words=False, break_on_hyphens=False,
        drop_whitespace=True, replace_whitespace=False,
    )  # fmt: skip
    return "\n".join(lines).replace(_HELD, " ")


_COMMANDS = re.compile(r"(\x1b\[[0-9;]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal acts upon, but for new lines and tabs. Colours, which are our own, are told apart."""


def harmless(text: str) -> str:
    """``text`` without what a terminal would act upon but for colours: names, logs and errors come from strangers."""
    return _COMMANDS.sub(lambda found: found[1] or "\ufffd", text.replace("\r\n", "\n"))


def say(message: str) -> None:
    """A message for people."""
    if not is_quiet():
        typer.echo(harmless(fitted(message)), err=True)


def hint(message: str) -> None:
    """What could be done next: for people who look, not for logs."""
    if sys.stderr.isatty() and not is_quiet():
        typer.echo(style(harmless(fitted(message)), dim=True), err=True)


def warn(message: str) -> None:
    """Something that people should look at, though the command goes on."""
    if not is_quiet():
        _say_marked("warning:", "yellow", message)


def _say_marked(mark: str, color: str, message: str) -> None:
    text = harmless(fitted(f"{mark} {message}"))
    typer.echo(style(mark, fg=color) + text.removeprefix(mark), err=True)


def put(text: str) -> None:
    """Data, for people and programs; programs get it as it is."""
    typer.echo(harmless(text) if is_interactive() else text)


def report(message: str) -> None:
    """The message of an error."""
    _say_marked("error:", "red", message)


def abort(message: str, code: int = ExitCode.FAILURE) -> NoReturn:
    """End the command with a message and an exit code."""
    report(message)
    raise typer.Exit(int(code))


def finish(code: int) -> NoReturn:
    """End the command with an exit code, after it said all it has to say."""
    raise typer.Exit(int(code))


def can_ask() -> bool:
    """Whether a person is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_password(question: str, *, confirm: bool = False) -> str:
    """A password from the terminal.

    Raises:
        KeyboardInterrupt: at Ctrl-C.
        UsageError: at the end of the input, and where there is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to ask for the password. Use --password-stdin or --password-file.")
    try:
        password: str = typer.prompt(question, hide_input=True, confirmation_prompt=confirm, err=True)
    except typer.Abort as e:
        raise _ended(e) from e
    return password


def read_password(
    question: str, file: Path | None, from_stdin: bool, *, option: str = "--password", confirm: bool = False
) -> str:
    """A password from the file or from stdin that options named, else from the terminal.

    Args:
        option: what the two options begin with.

    Raises:
        UsageError: when both are given, the file cannot be read, or nobody is there to ask.
    """
    if file is not None and from_stdin:
        raise UsageError(f"Give {option}-file or {option}-stdin, not both.")
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if file is not None:
        return read_text(file, "the password").strip()
    return ask_password(question, confirm=confirm)


def ask(question: str, *, otherwise: str = "--yes") -> bool:
    """A yes or no from the terminal; raises as :func:`ask_password` does.

    Args:
        otherwise: the option that answers yes where there is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"There is no terminal to ask: {question} Confirm it with {otherwise}.")
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as e:
        raise _ended(e) from e


def _ended(abort: typer.Abort) -> BaseException:
    # Typer makes one exception of both, and keeps which it was as the context.
    if isinstance(abort.__context__, EOFError):
        return UsageError("The input ended before the question was answered.")
    return KeyboardInterrupt()


def check_file(file: Path, *, folder_hint: str = "a file is needed here") -> None:
    """Check that a file named by an option or argument can be read.

    Raises:
        UsageError: when it cannot, with the reason.
    """
    try:
        is_there, is_folder = file.exists(), file.is_dir()
    except OSError as e:
        raise UsageError(f"{file}: cannot be read: {why(e)}.") from e
    if not is_there:
        raise UsageError(f"{file}: there is no such file.")
    if is_folder:
        raise UsageError(f"{file}: this is a folder; {folder_hint}.")
    if not os.access(file, os.R_OK):
        raise UsageError(f"{file}: no permission to read this file.")


def check_target(file: Path) -> None:
    """Check that a file named by an option can be written, before what is to be in it is asked for.

    Raises:
        UsageError: when it cannot, with the reason.
    """
    reason = None
    if file.is_dir():
        reason = "it is a folder"
    elif not file.parent.is_dir():
        reason = f"there is no folder {file.parent}"
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        reason = "no permission"
    if reason:
        raise UsageError(f"{file}: cannot be written: {reason}.")


def check_number(option: str, value: float | None) -> None:
    """Check the value of an option that takes a number above 0.

    Raises:
        UsageError: when it is none (``nan`` and ``inf`` parse as numbers too).
    """
    if value is not None and not 0 < value < math.inf:
        raise UsageError(f"{option} {value:g}: write a number above 0.")


def read_text(file: Path, what: str) -> str:
    """The text of a file named by an option or argument.

    Args:
        what: names it in the message: ``"this job file"``.

    Raises:
        UsageError: when it cannot be read, with the reason.
    """
    check_file(file)
    try:
        data = file.read_bytes()
        # Windows writes a mark before texts, and PowerShell UTF-16.
        is_wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        return data.decode("utf-16" if is_wide else "utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        raise UsageError(f"{file}: {what} cannot be read: it is not UTF-8 text.") from e
    except OSError as e:
        raise UsageError(f"{file}: {what} cannot be read: {why(e)}.") from e


def is_interactive() -> bool:
    """Whether a person looks at stdout."""
    return sys.stdout.isatty()


def can_show(signs: str) -> bool:
    """Whether stdout's encoding has these signs."""
    # The first stdout: a live view puts something else in the place of sys.stdout.
    try:
        signs.encode(getattr(sys.__stdout__, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
