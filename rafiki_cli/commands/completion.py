"""``rafiki completion``."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rafiki.utils.paths import why
from rafiki_cli import terminal
from rafiki_cli.lazy import examples, new_app

app = new_app("Completion of shells.")


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


_START_FILES = {Shell.BASH: ".bashrc", Shell.ZSH: ".zshrc"}
_MARK = "# Completion of rafiki"


@app.command(
    epilog=examples(
        "rafiki completion bash --install",
        "source <(rafiki completion zsh)",
        "rafiki completion fish > ~/.config/fish/completions/rafiki.fish",
    )
)
def completion(
    shell: Annotated[Shell | None, typer.Argument(help="Yours, by SHELL in the environment, if left out.")] = None,
    install: Annotated[bool, typer.Option("--install", help="Put the script in its place.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Print a shell's completion script, or put it in its place.

    With it, the Tab key completes commands, options, and the names of apps, models and datasets that the server knows.
    """
    shell = shell or _own_shell()
    script = script_of(shell)
    if not install:
        terminal.put(script.rstrip("\n"))
        if terminal.is_interactive():  # Not where a shell reads it at its start.
            terminal.hint(f"Next: rafiki completion {shell} --install")
        return
    if shell is Shell.FISH:
        _install(_fish_file(), script, None, yes)
        return
    from rafiki.user_environment import user_data_folder

    _install(user_data_folder() / "rafiki" / f"completion.{shell}", script, Path.home() / _START_FILES[shell], yes)


def _own_shell() -> Shell:
    from rafiki.user_environment import shell_from_environment

    name = shell_from_environment()
    if name not in list(Shell):
        raise terminal.UsageError("Which shell? Write `rafiki completion bash`, `zsh` or `fish`.")
    return Shell(name)


def script_of(shell: Shell) -> str:
    """The script that teaches a shell to complete rafiki's commands."""
    return (Path(__file__).parent.parent / "completion" / "scripts" / f"rafiki.{shell}").read_text("utf-8")


def _fish_file() -> Path:
    from rafiki.user_environment import user_config_folder

    return user_config_folder().parent / "fish" / "completions" / "rafiki.fish"


def _install(file: Path, script: str, start_file: Path | None, yes: bool) -> None:
    """Write the script, and have the shell's start file read it.

    Raises:
        UsageError: when a file cannot be written.
    """
    from rafiki.utils.files import read_text, write_atomic

    name = shlex.quote(str(file))
    line = f"[ -r {name} ] && . {name}"
    try:
        start = (read_text(start_file) or "") if start_file else ""
        is_read = start_file is None or line in start.splitlines()
        if not is_read and terminal.can_ask() and not yes:
            terminal.say(f"This writes {file}, and adds this line to {start_file}:\n  {line}")
            if not terminal.ask("Go on?"):
                terminal.abort("Nothing was changed.")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, script.encode())
        terminal.say(f"Wrote {file}.")
        if start_file is not None and not is_read:
            gap = "" if start.endswith("\n") or not start else "\n"
            with start_file.open("a", encoding="utf-8") as f:  # It may be a link into somebody's dotfiles.
                f.write(f"{gap}\n{_MARK}\n{line}\n")
            terminal.say(f"Added a line to {start_file} that reads it.")
    except OSError as e:
        raise terminal.UsageError(f"{e.filename}: cannot be written: {why(e)}.") from e
    terminal.say("It counts in shells that start from now on.")
