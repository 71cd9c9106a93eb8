"""rafiki.yaml and the variables that go over it."""

from __future__ import annotations

from collections.abc import Iterator

from rafiki_cli.doctor.findings import Finding, ok, problem
from rafiki_cli.doctor.subject import Subject


def check_configuration(subject: Subject) -> Iterator[Finding]:
    if subject.loaded is None:
        yield problem(
            "configuration",
            subject.config_error or "It cannot be read.",
            "Correct it; `rafiki config validate` checks.",
        )
        return
    changed = sum(o.origin != "default" for o in subject.loaded.origins)
    where = str(subject.loaded.file) if subject.loaded.file else "no rafiki.yaml here or above; the defaults hold"
    yield ok("configuration", f"{where}; {changed} setting(s) differ from the defaults.")
