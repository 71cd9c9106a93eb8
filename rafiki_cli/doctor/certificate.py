"""The certificate that the admin and predictors show, and whether they listen to other machines without one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from rafiki.errors import RafikiError
from rafiki.utils.addresses import is_loopback
from rafiki.utils.clock import utc_now
from rafiki_cli.doctor.findings import Finding, ok, problem, warning
from rafiki_cli.doctor.subject import Subject

_SOON = timedelta(days=14)


def check_certificate(subject: Subject) -> Iterator[Finding]:
    """Nothing is told of a stack that this machine alone reaches."""
    config = subject.config
    try:
        files = subject.folder.tls.server()
    except RafikiError as e:
        yield problem("certificate", e.message, "Correct the setting, or the file.")
        return
    if files is None:
        open_to = [host for host in (config.admin.host, config.predictor.host) if not is_loopback(host)]
        if open_to:
            told = f"The stack listens at {', '.join(dict.fromkeys(open_to))} without TLS, as tls.insecure says."
            yield warning("certificate", told, "Name one with tls.certificate, unless a proxy speaks TLS before it.")
        return
    from rafiki.utils.certificates import ends_of, read_pem

    end = ends_of(Path(files.certificate), read_pem(Path(files.certificate)))[0]
    if end - utc_now() < _SOON:
        yield warning("certificate", f"{files.certificate} ends on {end:%Y-%m-%d}.", "Renew it; it is read by itself.")
    else:
        yield ok("certificate", f"{files.certificate}, valid until {end:%Y-%m-%d}.")
