"""Data goes to stdout, messages to stderr, and a failed command ends in one place."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from rafiki.constants import ExitCode
from rafiki.errors import RafikiError


class UsageError(RafikiError):
    """The command or one of its options is wrong. See its --help."""

    exit_code = ExitCode.USAGE


def say(message: str) -> None:
    """A message for people."""
    typer.echo(message, err=True)


def warn(message: str) -> None:
    """Something that people should look at, though the command goes on."""
    typer.echo(f"{typer.style('warning:', fg='yellow')} {message}", err=True)


def put(text: str) -> None:
    """Data, for people and programs."""
    typer.echo(text)


def report(message: str) -> None:
    """The message of an error."""
    typer.echo(f"{typer.style('error:', fg='red')} {message}", err=True)


def abort(message: str, code: int = ExitCode.FAILURE) -> NoReturn:
    """End the command with a message and an exit code."""
    report(message)
    raise typer.Exit(int(code))


def finish(code: int) -> NoReturn:
    """End the command with an exit code, after it said all it has to say."""
    raise typer.Exit(int(code))


def is_interactive() -> bool:
    """Whether a person looks at stdout."""
    return sys.stdout.isatty()
