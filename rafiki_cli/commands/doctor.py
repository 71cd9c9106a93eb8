"""``rafiki doctor``."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import ExitCode
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Format, FormatOption, put_data

if TYPE_CHECKING:
    from rafiki_cli.doctor.findings import Finding

app = new_app("What keeps Rafiki from working.")
_COLORS = {"ok": "green", "warning": "yellow", "problem": "red", "skipped": "bright_black"}
_WIDEST = 120

_EXAMPLES = """\
Examples:

  rafiki doctor

  rafiki doctor --strict -o json

  rafiki --admin gpu1.example.org:3000 doctor
"""


@app.command(epilog=_EXAMPLES)
def doctor(
    cli: Application,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as problems.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Check everything that Rafiki needs, and say how to mend what is wrong. Exits with 1 when there is a problem.

    It looks at Python, packages and plug-ins, the configuration, ports, disks, permissions and limits, the cache, the
    database, GPUs, the container engine, the admin, clocks and the login; whether the stack runs or not. With --admin,
    at what a remote admin tells. Nothing is changed, and no secret is shown.
    """
    from rafiki_cli.doctor.examination import all_checks, examine
    from rafiki_cli.doctor.findings import Verdict, worst
    from rafiki_cli.doctor.subject import find_subject

    subject = find_subject(cli)
    findings = examine(subject, all_checks(is_remote=subject.is_remote))
    verdict = worst(findings)
    if format is Format.TABLE:
        _put(findings)
        counts = [values.count(sum(f.verdict is v for f in findings), v) for v in (Verdict.PROBLEM, Verdict.WARNING)]
        terminal.say(f"{', '.join(counts)}.")
    else:
        put_data({"verdict": verdict, "findings": [f._asdict() for f in findings]}, format)
    if verdict is Verdict.PROBLEM or (strict and verdict is Verdict.WARNING):
        terminal.finish(ExitCode.FAILURE)


def _put(findings: Sequence[Finding]) -> None:
    """A line for each finding, as many as it takes; the cure below it."""
    indent = " " * 9
    title_width = max(len(f.check) for f in findings) + 2
    width = min(_WIDEST, shutil.get_terminal_size().columns) - len(indent)
    for f in findings:
        verdict = f.verdict.ljust(len(indent))
        if terminal.is_interactive():
            verdict = typer.style(verdict, fg=_COLORS[f.verdict], bold=f.verdict in ("warning", "problem"))
        lines = _wrapped(f.found, width, title_width)
        terminal.put(f"{verdict}{f.check.ljust(title_width)}{lines[0]}")
        if f.cure:
            first, *others = _wrapped(f.cure, width - 3, title_width)
            lines += [f"-> {first}", *(f"   {line}" for line in others)]
        for line in lines[1:]:
            terminal.put(f"{indent}{' ' * title_width}{line}")


def _wrapped(text: str, width: int, title_width: int) -> list[str]:
    return textwrap.wrap(text, max(20, width - title_width), break_long_words=False, break_on_hyphens=False) or [""]
