"""The admin: whether it answers, what time it has, and whether the kept login is good."""

from __future__ import annotations

import base64
import binascii
import http.client
import json
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime

from rafiki import __version__
from rafiki.errors import RafikiError, UnauthorizedError, UnreachableError
from rafiki.utils.clock import utc_now
from rafiki_cli.doctor.findings import Finding, ok, problem, skipped, warning
from rafiki_cli.doctor.subject import Subject
from rafiki_cli.render import values

_TIMEOUT_S = 5.0
_CLOCK_WARNING_S = 5.0
_CLOCK_PROBLEM_S = 60.0
_SOON_S = 3600.0


def check_admin(subject: Subject) -> Iterator[Finding]:
    from rafiki_cli.target.health import health

    host, port = subject.address
    # A port that only was this stack's may be another program's by now.
    found = None if subject.is_down else health(host, port, _TIMEOUT_S, trust=subject.trust)
    if found is None:
        if (loss := subject.find_loss()) is not None:
            yield problem("admin", loss.message, "rafiki up")
        elif not subject.is_remote and subject.find_running_admin() is None:
            yield skipped("admin", "The stack is down.", "rafiki up")
        else:
            cure = "See `rafiki logs admin`." if not subject.is_remote else "Is the address right, and is it up?"
            yield problem("admin", f"No admin answers at {host}:{port}.", cure)
        return
    version = str(found.get("version"))
    if found["status"] != "ok":
        yield problem("admin", f"{host}:{port} says: {found['status']}", "See `rafiki logs admin`.")
    elif version != __version__:
        told = f"{host}:{port} is of version {version}; this is {__version__}."
        cure = "Install its version here." if subject.is_remote else "`rafiki up` says what a restart would do."
        yield warning("admin", told, cure)
    else:
        yield ok("admin", f"{host}:{port} is healthy, version {version}.")


def check_clock(subject: Subject) -> Iterator[Finding]:
    """Compared with the admin's, as tokens and job limits go by it."""
    if subject.is_down:
        yield skipped("clock", "No admin answers to compare it with.")
        return
    host, port = subject.address
    name = host.removeprefix("https://")
    connection = (
        http.client.HTTPConnection(name, port, timeout=_TIMEOUT_S)
        if name == host
        else http.client.HTTPSConnection(name, port, timeout=_TIMEOUT_S, context=subject.trust.context())
    )
    try:
        asked = utc_now()
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        answered = utc_now()
        date = answer.getheader("Date")
    except (OSError, http.client.HTTPException):
        yield skipped("clock", "No admin answers to compare it with.")
        return
    finally:
        connection.close()
    if date is None:
        yield skipped("clock", "The admin does not tell the time.")
        return
    # The header is cut to the second.
    middle = asked + (answered - asked) / 2
    yield of_clock("clock", (parsedate_to_datetime(date) - middle).total_seconds() + 0.5)


def of_clock(check: str, off_s: float) -> Finding:
    """A finding on how far a clock goes before this machine's own."""
    if abs(off_s) < _CLOCK_WARNING_S:
        return ok(check, f"Within {_CLOCK_WARNING_S:g} s of this machine's.")
    told = f"It goes {values.duration(abs(off_s))} {'before' if off_s > 0 else 'after'} this machine's."
    return (problem if abs(off_s) >= _CLOCK_PROBLEM_S else warning)(check, told, "Keep both by NTP: timedatectl.")


def check_login(subject: Subject) -> Iterator[Finding]:
    assert subject.address
    try:
        client = subject.cli.client()
    except UnauthorizedError as e:
        yield skipped("login", e.message, "rafiki login")
        return
    except UnreachableError as e:
        yield skipped("login", e.message)
        return
    with client:
        expires = _expiry(client.token or "")
        if expires is not None and expires <= utc_now():
            yield warning("login", f"It ended at {values.local_time(expires)}.", "rafiki login")
            return
        try:
            user = client.get_current_user()
        except UnauthorizedError as e:
            yield warning("login", e.message, "rafiki login")
            return
        except RafikiError:
            yield skipped("login", f"One is kept for {client.address}, but no admin answers.")
            return
    told = f"{user.email} ({user.user_type}) at {client.address}"
    if expires is None:
        yield ok("login", f"{told}.")
    elif (left_s := (expires - utc_now()).total_seconds()) < _SOON_S:
        yield warning("login", f"{told}; it ends in {values.duration(left_s)}.", "rafiki login")
    else:
        yield ok("login", f"{told}, until {values.local_time(expires)}.")


def _expiry(token: str) -> datetime | None:
    """When a token ends, as it says itself; None when it does not say."""
    from datetime import UTC

    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
