"""How often passwords may be guessed: after some failures each further one waits longer.

Counted are failures of one account from one address, and those of one address for whatever account. Nothing is counted
for an account alone: who guesses at it from elsewhere would keep its owner out. Where an account has logged in before,
the failures of others at that address do not count for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rafiki.errors import TooManyLoginsError

_MOST_KEPT = 10_000
"""Of accounts at addresses, and of addresses; the one that was not seen for longest makes room."""
_IPV6_NETWORK_BITS = 64
"""What one customer is given at least: single addresses of it are free to choose."""


class _Rule(NamedTuple):
    free: int
    """Failures without a delay."""
    longest_s: float
    """The delay doubles with each failure, up to this."""
    forgotten_s: float
    """One failure is forgotten after so long."""

    def delay_s(self, failures: float) -> float:
        beyond = math.ceil(failures) - self.free - 1
        return 0.0 if beyond < 0 else min(self.longest_s, 2.0 ** min(beyond, 30))


_OF_ACCOUNT = _Rule(free=5, longest_s=300.0, forgotten_s=900.0)
_OF_ADDRESS = _Rule(free=30, longest_s=60.0, forgotten_s=20.0)


class _Count:
    """Failures of one account at one address, or of one address."""

    def __init__(self, rule: _Rule, now: float) -> None:
        self._rule = rule
        self._failures, self._since = 0.0, now
        self._closed_until = now
        self.at_work = 0
        self.last_guess = b""
        self.has_succeeded = False

    def wait_s(self, now: float) -> float:
        """How long the next attempt has to wait."""
        self._forget(now)
        if self._closed_until > now:
            return self._closed_until - now
        # Guesses that are checked at the same time count before they are known to be wrong.
        return 1.0 if self._failures and self.at_work and self._failures + self.at_work > self._rule.free else 0.0

    def fail(self, now: float) -> None:
        self._forget(now)
        self._failures += 1
        self._closed_until = max(self._closed_until, now + self._rule.delay_s(self._failures))

    def succeed(self) -> None:
        self._failures, self.last_guess, self.has_succeeded = 0.0, b"", True

    def _forget(self, now: float) -> None:
        self._failures = max(0.0, self._failures - (now - self._since) / self._rule.forgotten_s)
        self._since = now


class Attempt:
    """One password that is tried; whoever checks it says how that went."""

    def __init__(self, fail: Callable[[], None], succeed: Callable[[], None]) -> None:
        self.fail, self.succeed = fail, succeed


class LoginLimits:
    """Of one admin, kept in memory. Safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            clock: seconds that only ever grow.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(16)
        self._accounts: OrderedDict[bytes, _Count] = OrderedDict()
        self._addresses: OrderedDict[bytes, _Count] = OrderedDict()

    @contextlib.contextmanager
    def attempt(self, email: str, address: str | None, password: str) -> Iterator[Attempt]:
        """A password is tried within the block.

        Args:
            address: where from; None = a socket of this machine.

        Raises:
            TooManyLoginsError: not now. The password must not be looked at.
        """
        network = _network(address)
        account_key, guess = self._digest(email.casefold(), network), self._digest(password)
        with self._lock:
            now = self._clock()
            account = _find(self._accounts, account_key, _OF_ACCOUNT, now)
            of_address = _find(self._addresses, self._digest(network), _OF_ADDRESS, now)
            wait_s = account.wait_s(now)
            if not account.has_succeeded:
                wait_s = max(wait_s, of_address.wait_s(now))
            if wait_s > 0:
                raise _refusal(wait_s)
            counts = (account, of_address)
            for count in counts:
                count.at_work += 1

        def fail() -> None:
            with self._lock:
                # A program with an old password guesses nothing, however often it comes.
                if account.last_guess != guess:
                    account.last_guess = guess
                    for count in counts:
                        count.fail(self._clock())

        def succeed() -> None:
            with self._lock:
                account.succeed()

        try:
            yield Attempt(fail, succeed)
        finally:
            with self._lock:
                for count in counts:
                    count.at_work -= 1

    def _digest(self, *texts: str) -> bytes:
        """Short, however long what strangers send, and no hint of a password in memory."""
        digest = hashlib.blake2b(key=self._key, digest_size=16)
        for text in texts:
            digest.update(text.encode(errors="replace") + b"\0")
        return digest.digest()


def _find(counts: OrderedDict[bytes, _Count], key: bytes, rule: _Rule, now: float) -> _Count:
    found = counts.get(key)
    if found is None:
        if len(counts) >= _MOST_KEPT:
            counts.popitem(last=False)
        found = counts[key] = _Count(rule, now)
    counts.move_to_end(key)
    return found


def _network(address: str | None) -> str:
    if address is None:
        return ""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _IPV6_NETWORK_BITS), strict=False))


def _refusal(wait_s: float) -> TooManyLoginsError:
    seconds = max(1, math.ceil(wait_s))
    error = TooManyLoginsError(
        f"Too many wrong passwords came from this address. Try again in {seconds} s; what is logged in goes on."
    )
    error.retry_after_s = seconds
    return error
