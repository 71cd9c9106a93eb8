"""rafiki.yaml and the variables that go over it."""

from __future__ import annotations

from collections.abc import Iterator

from rafiki_cli.doctor.findings import Finding, ok, problem
from rafiki_cli.doctor.patient import Patient


def check_configuration(patient: Patient) -> Iterator[Finding]:
    if patient.loaded is None:
        yield problem(
            "configuration",
            patient.config_error or "It cannot be read.",
            "Correct it; `rafiki config validate` checks.",
        )
        return
    changed = sum(o.origin != "default" for o in patient.loaded.origins)
    where = str(patient.loaded.file) if patient.loaded.file else "no rafiki.yaml here or above; the defaults hold"
    yield ok("configuration", f"{where}; {changed} setting(s) differ from the defaults.")
