"""The cache: the program that a private one is made of, and the server that runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rafiki.errors import RafikiError
from rafiki_cli.doctor.findings import Finding, ok, problem, skipped, warning
from rafiki_cli.doctor.subject import Subject

if TYPE_CHECKING:
    from rafiki.messages import ExamineCache

_TIMEOUT_S = 14.0
_CURE_OF_URL = "Mend the server, or correct cache.url."
_CURE_OF_OWN = "See `rafiki logs admin`; `rafiki down` and `rafiki up` start another."


def check_server_program(subject: Subject) -> Iterator[Finding]:
    """What `rafiki up` would start, and why that."""
    from rafiki.cache_program import find_server_program

    config = subject.config
    if config.cache.url is not None:
        told = "Not needed: cache.url names a running one."
        if config.cache.program is not None:
            told += " cache.program is of no use beside it."
        yield skipped("cache server", told)
        return
    assert subject.loaded
    try:
        program = find_server_program(config.cache.program, subject.loaded.base_folder)
    except RafikiError as e:
        yield problem("cache server", e.message, "Correct it, then `rafiki up`.")
        return
    yield ok("cache server", f"{program}: {program.reason}.")


def check_cache(subject: Subject) -> Iterator[Finding]:
    """The server that runs: whether a job could work with it."""
    from rafiki.messages import CacheAddress, CacheTls, ExamineCache
    from rafiki.utils.files import read_text
    from rafiki_cli.target import local_stack

    url = subject.config.cache.url
    if url is not None:
        try:
            tls = subject.folder.tls.cache()
        except RafikiError as e:
            yield problem("cache", e.message, "Correct the setting, or the file.")
            return
        yield from _examine(ExamineCache(url=url, tls=tls), "The server of cache.url", _CURE_OF_URL)
        return
    running = local_stack.find_cache(subject.folder)
    if running is None:
        if subject.find_running_admin() is not None:
            yield problem("cache", "The admin runs, but its cache does not.", "See `rafiki logs admin`.")
        else:
            yield skipped("cache", "It runs while the stack does.")
        return
    password = subject.folder.secrets().cache_password
    is_tls = "tls" in running.details
    address = CacheAddress(
        host=running.host, port=running.port, db=0, username=None, password=password, prefix="", use_tls=is_tls,
        tls=CacheTls(authorities=read_text(subject.folder.tls_folder / "authority.pem")) if is_tls else None,
    )  # fmt: skip
    program = running.details.get("program")
    where = f"{running.host}:{running.port}" + (f" ({program})" if program else "")
    yield from _examine(ExamineCache(address=address), where, _CURE_OF_OWN)


def _examine(request: ExamineCache, where: str, cure: str) -> Iterator[Finding]:
    from rafiki.messages import CacheExamined
    from rafiki.utils.request_process import RequestProcessError, ask_process

    try:
        # The driver takes a tenth of a second to load, and a server that hangs holds up that process alone.
        found = ask_process("rafiki.cache.examine", request, CacheExamined, _TIMEOUT_S)
    except RequestProcessError as e:
        last = (str(e).strip().splitlines() or ["it said nothing"])[-1]
        yield warning("cache", f"{where} could not be examined: {last}", cure)
        return
    if found.server is not None:
        yield ok("cache", f"{where}: {found.server}.")
    if found.warning is not None:
        yield warning("cache memory", found.warning, "redis-cli CONFIG SET maxmemory-policy noeviction")
    if found.problem is not None:
        yield problem("cache" if found.server is None else "cache rights", found.problem, cure)
        return
    yield ok("cache rights", "A user for a job was made, and did all that the services of a job do.")
