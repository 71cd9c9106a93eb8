"""Makes all checks at the same time, each within a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from rafiki.errors import RafikiError
from rafiki.utils.clock import Deadline
from rafiki_cli.doctor.findings import Finding, skipped, warning
from rafiki_cli.doctor.subject import NotExaminedError, Subject

Check = Callable[[Subject], Iterable[Finding]]
LIMIT_S = 15.0


def all_checks(*, is_remote: bool = False) -> list[tuple[str, Check]]:
    """Each with a name for people, in the order in which they are told; of a remote stack only what can be seen."""
    from rafiki_cli.doctor import (
        admin,
        cache,
        certificate,
        configuration,
        containers,
        gpus,
        installation,
        logins,
        machine,
        meta_store,
        packages,
        plugins,
        receivers,
        sandbox,
    )  # fmt: skip

    here: list[tuple[str, Check]] = [
        ("Python", packages.check_python),
        ("installation", installation.check_installation),
        ("packages", packages.check_packages),
    ]
    local: list[tuple[str, Check]] = [
        ("packages of models", packages.check_extras),
        ("plug-ins", plugins.check_registered),
        ("configuration", configuration.check_configuration),
        ("stack", configuration.check_stack),
        ("ports", machine.check_ports),
        ("certificate", certificate.check_certificate),
        ("logins", logins.check_logins),
        ("disk space", machine.check_disks),
        ("permissions", machine.check_permissions),
        ("limits", machine.check_limits),
        ("cache server", cache.check_server_program),
        ("cache", cache.check_cache),
        ("meta store", meta_store.check_meta_store),
        ("sandbox", sandbox.check_sandbox),
        ("GPUs", gpus.check_gpus),
        ("container engine", containers.check_engine),
    ]
    of_admin: list[tuple[str, Check]] = [
        ("admin", admin.check_admin),
        ("clock", admin.check_clock),
        ("login", admin.check_login),
        ("receivers", receivers.check_receivers),
    ]
    return [*here, *([("local stack", _tell_remote)] if is_remote else local), *of_admin]


def _tell_remote(subject: Subject) -> list[Finding]:
    host, port = subject.address
    return [skipped("local stack", f"Not looked at: only the admin at {host}:{port} is asked.")]


def examine(subject: Subject, checks: Sequence[tuple[str, Check]], limit_s: float = LIMIT_S) -> list[Finding]:
    """What all checks find, in their order. One that fails or does not end in time is a finding too."""
    deadline = Deadline(limit_s)
    running = [_Running(name, check, subject) for name, check in checks]
    return [finding for r in running for finding in r.wait(deadline)]


class _Running:
    def __init__(self, name: str, check: Check, subject: Subject) -> None:
        self._name, self._check, self._subject = name, check, subject
        self._findings: list[Finding] = []
        # A daemon: a check that hangs must not keep the command from ending.
        self._thread = threading.Thread(target=self._run, name=f"check {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        found: list[Finding] = []
        try:
            found += self._check(self._subject)
        except NotExaminedError as e:
            found.append(skipped(self._name, e.message))
        except RafikiError as e:
            found.append(warning(self._name, f"It could not be checked: {e.message}", "Mend this first."))
        except Exception as e:  # noqa: BLE001 - a check that fails is something to tell, not the end of the others
            told = f"The check itself failed: {type(e).__name__}: {e}"
            found.append(warning(self._name, told, "Please report this; `rafiki --debug` commands may tell more."))
        self._findings = found

    def wait(self, deadline: Deadline) -> list[Finding]:
        self._thread.join(deadline.left_s())
        if self._thread.is_alive():
            told = f"The check did not end within {deadline.duration_s:g} s."
            return [warning(self._name, told, "Something that it asks hangs: a disk, a network or a server.")]
        return self._findings
