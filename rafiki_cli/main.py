"""Where ``rafiki`` starts: the table of commands, and the last word on errors."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
import typer.main

from rafiki import __version__
from rafiki.constants import ExitCode
from rafiki.errors import RafikiError
from rafiki_cli import options, terminal
from rafiki_cli.lazy import CONTEXT_SETTINGS, LazyGroup

_ABOUT = "Train model templates under a budget, search their knobs, serve the best trials as an ensemble."


class RafikiGroup(LazyGroup):
    """All commands."""

    table = {
        "quickstart": ("rafiki_cli.commands.quickstart", "See everything work: train, deploy, predict."),
        "up": ("rafiki_cli.commands.stack", "Start the stack."),
        "down": ("rafiki_cli.commands.stack", "Stop the stack; jobs go on at the next `rafiki up`."),
        "status": ("rafiki_cli.commands.stack", "What of the stack runs."),
        "doctor": ("rafiki_cli.commands.doctor", "Check everything that Rafiki needs, and tell cures."),
        "logs": ("rafiki_cli.commands.logs", "Show the log of the admin or of a service."),
        "login": ("rafiki_cli.commands.login", "Log in at the admin."),
        "logout": ("rafiki_cli.commands.login", "Forget the login."),
        "whoami": ("rafiki_cli.commands.login", "The user who is logged in."),
        "dataset": ("rafiki_cli.commands.dataset", "Check, upload and list datasets."),
        "model": ("rafiki_cli.commands.model", "Upload, list and delete model templates."),
        "environment": ("rafiki_cli.commands.environment", "The installed packages that models depend on."),
        "train": ("rafiki_cli.commands.train", "Create, watch and stop train jobs."),
        "trial": ("rafiki_cli.commands.trial", "Look into single trials."),
        "infer": ("rafiki_cli.commands.infer", "Deploy the best trials of a train job."),
        "predict": ("rafiki_cli.commands.predict", "Ask a deployed app for predictions."),
        "export": ("rafiki_cli.commands.export", "Write an app's ensemble as a folder that works without Rafiki."),
        "gc": ("rafiki_cli.commands.gc", "Free parameters, environments and logs that are not needed any more."),
        "user": ("rafiki_cli.commands.user", "Create, list and ban users."),
        "config": ("rafiki_cli.commands.config", "Show and check the configuration."),
        "version": ("rafiki_cli.commands.version", "The version of Rafiki."),
    }


_app = typer.Typer(
    cls=RafikiGroup,
    name="rafiki",
    help=_ABOUT,
    epilog=options.GLOBAL_OPTIONS_HELP,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    context_settings=CONTEXT_SETTINGS,
)


def _put_version(is_wanted: bool) -> None:
    if is_wanted:
        terminal.put(__version__)
        terminal.finish(ExitCode.OK)


@_app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_put_version)
    ] = False,
) -> None:
    pass


def _close_quietly() -> None:
    # A reader that hung up (`rafiki ... | head`) must not end in a traceback at the interpreter's own flush.
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(_app)
    try:
        command.main(args=options.take_global_options(arguments), prog_name="rafiki")
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else ExitCode.OK if e.code is None else ExitCode.FAILURE
    except RafikiError as e:
        if options.current.is_debug:
            raise
        terminal.report(e.message)
        return e.exit_code
    return ExitCode.OK


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its :class:`~rafiki.constants.ExitCode`."""
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Exception as e:
        if options.current.is_debug:
            raise
        terminal.report(
            f"Something unexpected happened: {type(e).__name__}: {e}. Run it again with --debug to see where."
        )
        code = ExitCode.FAILURE
    _close_quietly()
    return int(code)
