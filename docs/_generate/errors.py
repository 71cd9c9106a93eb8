"""The reference of the errors: the tree of :mod:`rafiki.errors`, with the advice of ``docs/_notes/errors.md``."""

from __future__ import annotations

from dataclasses import dataclass

from docs._generate.markdown import anchor, directive, plain
from docs._generate.notes import notes
from rafiki import errors
from rafiki.constants import ExitCode

LOCAL = "Never over HTTP"
OTHERS = "Others"


@dataclass(frozen=True)
class Advice:
    when: str
    what_to_do: str


def known() -> dict[str, type[errors.RafikiError]]:
    """The errors of the product by name; those that a command alone raises are usage errors and no part of it."""
    return {n: kind for n, kind in errors.error_types().items() if kind.__module__ == errors.__name__}


def groups() -> dict[str, dict[str, Advice]]:
    """Heading -> error -> advice, as the notes hold them; what they do not hold stands at the end."""
    found: dict[str, dict[str, Advice]] = {}
    told: set[str] = set()
    for heading, body in notes("errors").items():
        group: dict[str, Advice] = {}
        for line in body.splitlines():
            if line.startswith("| `"):
                name, when, what = (cell.strip() for cell in line.strip("|").split(" | "))
                group[name.strip("` |")] = Advice(when, what.rstrip("| "))
        told |= group.keys()
        found[heading] = {name: advice for name, advice in group.items() if name in known()}
    if left := [name for name in known() if name not in told]:
        found[OTHERS] = {name: Advice("", "") for name in left}
    return found


def unknown() -> set[str]:
    """Errors that the notes advise about and that there are not."""
    rows = [line for body in notes("errors").values() for line in body.splitlines() if line.startswith("| `")]
    return {row.split("`")[1] for row in rows} - known().keys()


def introduction(heading: str) -> str:
    return "\n".join(line for line in notes("errors").get(heading, "").splitlines() if not line.startswith("|"))


def page() -> str:
    parts = []
    for heading, group in groups().items():
        parts += [f"## {heading}", "", introduction(heading), ""]
        for name, advice in group.items():
            kind = known()[name]
            exit_code = ExitCode(kind.exit_code)
            status = "" if heading == LOCAL else f"HTTP {kind.http_status} · "
            where = f"{status}[exit code {exit_code.value}](exit-codes.md) (`{exit_code.name}`)"
            said = f"*{plain(kind.__doc__ or '')}*"
            body = "\n\n".join(p for p in (where, advice.when or said, _cure(advice)) if p)
            parts += [anchor(f"error-{name}"), directive("py:exception", f"rafiki.errors.{name}", body)]
    return "\n".join(parts)


def _cure(advice: Advice) -> str:
    return f"**What to do:** {advice.what_to_do}" if advice.what_to_do else ""
