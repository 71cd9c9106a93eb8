"""What is registered: the names that jobs and settings may use, and which package brings each."""

from __future__ import annotations

from collections.abc import Iterator

from rafiki.registries import KINDS
from rafiki.registry import RAFIKI, Kind
from rafiki_cli.doctor.findings import Finding, ok, warning
from rafiki_cli.doctor.subject import Subject


def check_registered(subject: Subject) -> Iterator[Finding]:
    """Of each kind the names, and the entries of other packages that cannot be used."""
    for kind in KINDS:
        yield from _check_kind(kind)


def _check_kind(kind: Kind) -> Iterator[Finding]:
    check = kind.plural
    registry = kind.open()
    packages: dict[str, list[str]] = {}
    for name in registry.names():
        packages.setdefault(registry.package_of(name), []).append(name)
    others = [f"{package}: {', '.join(names)}" for package, names in packages.items() if package != RAFIKI]
    yield ok(check, f"{'; '.join([', '.join(packages[RAFIKI]), *others])}.")
    for broken in registry.broken():
        yield warning(
            check,
            f"{broken.name!r} of the package {broken.package} is left out: {broken.reason}.",
            f"Install a version of {broken.package} that fits this Rafiki, or remove it: "
            f"pip uninstall {broken.package}.",
        )
