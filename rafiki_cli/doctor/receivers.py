"""Trackers and webhooks that rafiki.yaml names: whether they take what they are told."""

from __future__ import annotations

from collections.abc import Iterator

from rafiki.errors import RafikiError
from rafiki_cli.doctor.findings import Finding, ok, problem
from rafiki_cli.doctor.subject import Subject
from rafiki_cli.render import values

_CHECK = "receivers"


def check_receivers(subject: Subject) -> Iterator[Finding]:
    """Nothing is told where there is none, and to who may not know."""
    if subject.is_down:
        return
    try:
        with subject.cli.client() as client:
            found = client.get_receivers()
    except RafikiError:
        return  # The checks of the admin and of the login tell it.
    for receiver in found:
        waiting = f"{values.count(receiver.waiting, 'event')} waiting"
        if receiver.error is None:
            yield ok(_CHECK, f"{receiver.kind} at {receiver.url}, {waiting}.")
        else:
            yield problem(
                _CHECK, f"{receiver.kind} at {receiver.url}, {waiting}: {receiver.error}",
                "Nothing is lost: it is told what waits as soon as it takes it.",
            )  # fmt: skip
