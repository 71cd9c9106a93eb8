"""rafiki.yaml and the variables that go over it."""

from __future__ import annotations

from collections.abc import Iterator

from rafiki.utils.ids import short_id
from rafiki_cli.doctor.findings import Finding, ok, problem, skipped, warning
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


def check_stack(subject: Subject) -> Iterator[Finding]:
    """Which stack commands here mean, and where it is."""
    from rafiki.stack_identity import Standing, examine
    from rafiki_cli.target import local_stack, upgrade

    folder = subject.folder
    examined = examine(folder.root)
    running = local_stack.find_admin(folder)
    if running is not None:
        at = f"{local_stack.reachable_host(running.host)}:{running.port} (process {running.process.pid})"
        yield ok("stack", f"{folder.root}, id {short_id(examined.known_id or '?')}, runs at {at}.")
    elif examined.standing is Standing.NEW:
        yield skipped("stack", f"{folder.root} holds none yet.", "rafiki up")
    else:
        yield skipped("stack", local_stack.say_down(folder), "rafiki up")
    if examined.identity is not None and upgrade.compare(examined.identity.version) is upgrade.Age.NEWER:
        version = examined.identity.version
        told = f"Rafiki {version} used it last, which is newer than this one. Its database may be too new."
        yield warning("stack", told, f"Install Rafiki {version}.")
