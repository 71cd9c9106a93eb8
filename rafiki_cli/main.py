"""Where ``rafiki`` starts: the table of commands, and the last word on errors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
import typer.main

from rafiki import __version__
from rafiki.constants import ExitCode
from rafiki.errors import RafikiError, UnauthorizedError
from rafiki.utils.paths import why
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import shell as shell_completion
from rafiki_cli.lazy import CONTEXT_SETTINGS, LazyGroup, examples
from rafiki_cli.target.options import GlobalOptions, take_global_options
from rafiki_cli.terminal import UsageError

_EXAMPLES = f"""\
{examples("rafiki quickstart", "rafiki up", "rafiki train create --help")}

Every command tells its options and examples with --help."""
_ABOUT = "Train model templates under a budget, search their knobs, serve the best trials as an ensemble."


class RafikiGroup(LazyGroup):
    """All commands."""

    sections = {
        "Getting started": {
            "init": ("rafiki_cli.commands.init", "Start a project: a model, sample data, a job, tests and CI."),
            "template": ("rafiki_cli.commands.template", "The model templates that come with Rafiki."),
            "quickstart": ("rafiki_cli.commands.quickstart", "See everything work: train, deploy, predict."),
            "up": ("rafiki_cli.commands.stack", "Start the stack."),
            "down": ("rafiki_cli.commands.stack", "Stop the stack; jobs go on at the next `rafiki up`."),
            "run": ("rafiki_cli.commands.run", "Make what a job file asks for: train, check, deploy."),
            "doctor": ("rafiki_cli.commands.doctor", "Check everything that Rafiki needs, and say how to mend it."),
        },
        "Data and models": {
            "dataset": ("rafiki_cli.commands.dataset", "Check, upload and list datasets."),
            "model": ("rafiki_cli.commands.model", "Write, test, upload and list model templates."),
            "environment": ("rafiki_cli.commands.environment", "The installed packages that models depend on."),
            "schema": ("rafiki_cli.commands.schema", "JSON Schemas of the files you write, for editors."),
        },
        "Train": {
            "train": ("rafiki_cli.commands.train", "Create, watch and stop train jobs."),
            "trial": ("rafiki_cli.commands.trial", "Look into single trials."),
        },
        "Serve": {
            "infer": ("rafiki_cli.commands.infer", "Deploy the best trials of a train job."),
            "predict": ("rafiki_cli.commands.predict", "Ask a deployed app for predictions."),
            "key": ("rafiki_cli.commands.key", "Make, list and revoke keys for predictors that ask for one."),
            "export": ("rafiki_cli.commands.export", "Write an app's ensemble as a folder that works without Rafiki."),
        },
        "Look": {
            "status": ("rafiki_cli.commands.stack", "What of the stack runs."),
            "logs": ("rafiki_cli.commands.logs", "Show the log of the admin or of a service."),
            "version": ("rafiki_cli.commands.version", "The version of Rafiki."),
            "help": ("rafiki_cli.commands.help", "The help of a command, and pages of the reference."),
        },
        "Access": {
            "login": ("rafiki_cli.commands.login", "Log in at the admin."),
            "logout": ("rafiki_cli.commands.login", "Forget the login."),
            "whoami": ("rafiki_cli.commands.login", "The user who is logged in."),
            "token": ("rafiki_cli.commands.token", "Make, list and revoke API tokens, for CI and programs."),
            "webhook": ("rafiki_cli.commands.webhook", "Have events of your jobs sent to an address."),
            "context": ("rafiki_cli.commands.context", "Name the admins you work with, and choose among them."),
        },
        "Administer": {
            "config": ("rafiki_cli.commands.config", "Show, check and change the configuration."),
            "user": ("rafiki_cli.commands.user", "Create, list and ban users; change passwords."),
            "audit": ("rafiki_cli.commands.audit", "Who did what, from where, and with which result."),
            "gc": ("rafiki_cli.commands.gc", "Free parameters, environments and logs that are not needed any more."),
            "backup": ("rafiki_cli.commands.backup", "Save the stack in one file, while jobs run; check such a file."),
            "restore": ("rafiki_cli.commands.restore", "Make a stack of a backup."),
            "image": ("rafiki_cli.commands.image", "The container image that workers run in, on several machines."),
            "node": ("rafiki_cli.commands.node", "The machines that services run on: list, add, drain, remove."),
            "stop-all": ("rafiki_cli.commands.admin", "Stop every job of everyone."),
            "completion": ("rafiki_cli.commands.completion", "Complete commands and names in your shell."),
        },
    }


_app = typer.Typer(
    cls=RafikiGroup,
    name="rafiki",
    help=_ABOUT,
    epilog=_EXAMPLES,
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


@contextlib.contextmanager
def _manners(options: GlobalOptions) -> Iterator[None]:
    """What is no part of this process's own state learns how the command talks: the client's log of --verbose, and Rich
    and the programs that a command starts of --no-color, by the variable that they look at.
    """
    if options.is_verbose:
        terminal.tell_requests(True)
    try:
        with _colors(options):
            yield
    finally:
        if options.is_verbose:
            terminal.tell_requests(False)


@contextlib.contextmanager
def _colors(options: GlobalOptions) -> Iterator[None]:
    if not options.is_colorless:
        yield
        return
    before = os.environ.get("NO_COLOR")
    os.environ["NO_COLOR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["NO_COLOR"]
        else:
            os.environ["NO_COLOR"] = before


def _close_quietly() -> None:
    # A reader that hung up (`rafiki ... | head`) must not end in a traceback at the interpreter's own flush.
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(cli: Application, arguments: list[str]) -> int:
    command = typer.main.get_command(_app)
    if shell := os.environ.get(shell_completion.VARIABLE):
        # A question of the shell, not a setting: it travels as a variable because all arguments are the command line's.
        terminal.put(shell_completion.answer_shell(command, shell, arguments))
        return ExitCode.OK
    try:
        cli.options, arguments = take_global_options(arguments)
    except UsageError as e:
        terminal.report(e.message)
        return e.exit_code
    with _manners(cli.options):
        try:
            command.main(args=arguments, prog_name="rafiki", obj=cli, color=None if terminal.has_color() else False)
        except SystemExit as e:
            return e.code if isinstance(e.code, int) else ExitCode.OK if e.code is None else ExitCode.FAILURE
        except RafikiError as e:
            if cli.options.is_debug:
                raise
            terminal.report(_explain(cli, e))
            return e.exit_code
    return ExitCode.OK


def _explain(cli: Application, error: RafikiError) -> str:
    """The message, and for a refused token where it came from."""
    if isinstance(error, UnauthorizedError) and cli.is_token_from_environment:
        return f"{error.message} (The token came from RAFIKI_TOKEN in the environment, which goes before a login.)"
    return error.message


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its :class:`~rafiki.constants.ExitCode`."""
    cli = Application()
    try:
        code = _run(cli, sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except OSError as e:
        if cli.options.is_debug:
            raise
        # A disk that is full, a folder that may not be written: the machine's state, no fault of the program.
        place = f"{os.fsdecode(e.filename)}: " if isinstance(e.filename, (str, bytes)) else ""
        reason = why(e)
        terminal.report(f"{place}{reason[:1].upper() if not place else reason[:1]}{reason[1:]}.")
        code = ExitCode.FAILURE
    except Exception as e:
        if cli.options.is_debug:
            raise
        terminal.report(
            f"Something unexpected happened: {type(e).__name__}: {e}. Run it again with --debug to see where."
        )
        code = ExitCode.FAILURE
    _close_quietly()
    return int(code)
