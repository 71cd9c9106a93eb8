"""Connections to the cache, and the one place where driver errors become Rafiki's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from rafiki.errors import CacheUnavailableError, ConfigError
from rafiki.messages import CacheAddress, CacheTls
from rafiki.utils.certificates import why_not_trusted

if TYPE_CHECKING:
    import redis
    import redis.asyncio

SOCKET_TIMEOUT_S = 10.0
"""A command that does not block is answered within this time, or the connection counts as lost."""


def parse_cache_url(url: str, tls: CacheTls | None = None) -> CacheAddress:
    """``redis[s]://[user[:password]@]host[:port][/db]`` as an address without a prefix.

    Args:
        tls: what TLS is spoken with to a ``rediss://`` server.

    Raises:
        ConfigError: when the URL is not of that form; never shows the password.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise ValueError
        port, db = parts.port or 6379, int(parts.path.strip("/") or 0)
    except ValueError as e:
        raise ConfigError("cache.url: must look like redis://[:password@]host[:port][/db].") from e
    return CacheAddress(
        host=parts.hostname,
        port=port,
        db=db,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        prefix="",
        use_tls=parts.scheme == "rediss",
        tls=tls if parts.scheme == "rediss" else None,
    )


@cache
def _no_introduction() -> dict[str, Any]:
    """Options with which the driver does not send its own name and version (CLIENT SETINFO).

    Not every server knows that command, and a job's user may not send it.
    """
    import redis

    is_one = "driver_info" in signature(redis.Redis.__init__).parameters
    return {"driver_info": None} if is_one else {"lib_name": None, "lib_version": None}


def _options(address: CacheAddress, socket_timeout_s: float) -> dict[str, Any]:
    from redis.backoff import NoBackoff

    return {
        **({"unix_socket_path": address.socket} if address.socket else {"host": address.host, "port": address.port}),
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "socket_timeout": socket_timeout_s,
        "socket_connect_timeout": min(5.0, socket_timeout_s),
        "socket_keepalive": True,
        "protocol": 2,
        "backoff": NoBackoff(),
        **_no_introduction(),
    }


def in_ms(time_of_cache: tuple[int, int]) -> int:
    """What TIME answered, in Unix milliseconds. What hosts compare is in this time: their own clocks may differ."""
    seconds, microseconds = time_of_cache
    return seconds * 1000 + microseconds // 1000


def connect(address: CacheAddress, *, socket_timeout_s: float = SOCKET_TIMEOUT_S) -> redis.Redis:
    """A client; it connects at its first command. ``socket_timeout_s`` must be longer than any command blocks."""
    import redis
    from redis.retry import Retry

    options = _options(address, socket_timeout_s)
    retry = Retry(options.pop("backoff"), 0)
    if not address.use_tls:
        return redis.Redis(retry=retry, **options)
    from rafiki.cache.tls import TlsConnection

    options |= {"connection_class": TlsConnection, "tls": address.tls or CacheTls(), "retry": retry}
    return redis.Redis.from_pool(redis.ConnectionPool(**options))


def connect_async(address: CacheAddress, *, socket_timeout_s: float = SOCKET_TIMEOUT_S) -> redis.asyncio.Redis:
    """As :func:`connect`, for an event loop."""
    import redis.asyncio
    from redis.asyncio.retry import Retry

    options = _options(address, socket_timeout_s)
    retry = Retry(options.pop("backoff"), 0)
    if not address.use_tls:
        return redis.asyncio.Redis(retry=retry, **options)
    from rafiki.cache.tls import AsyncTlsConnection

    options |= {"connection_class": AsyncTlsConnection, "tls": address.tls or CacheTls(), "retry": retry}
    return redis.asyncio.Redis.from_pool(redis.asyncio.ConnectionPool(**options))


class Refusal(NamedTuple):
    """Why a server does not do what it is asked for."""

    reason: str
    is_lasting: bool
    """It will not pass by itself: somebody has to change the server or the configuration."""


_BY_CODE = {
    "MISCONF": Refusal("it refuses to write, because it could not save its data to the disk", False),
    "NOREPLICAS": Refusal("it refuses to write, because it lacks the replicas that it wants (min-replicas)", False),
    "BUSY": Refusal("it is busy with a script, and answers nobody", False),
    "UNKILLABLE": Refusal("it is busy with a script, and answers nobody", False),
    "DENIED": Refusal("it lets no other machine in (protected-mode, without a password)", True),
}


def explain(error: BaseException, *, is_tls: bool = False) -> Refusal:
    """What a driver's error means, for people.

    Args:
        is_tls: whether TLS was spoken.
    """
    import redis

    if (reason := why_not_trusted(error)) is not None:
        return Refusal(f"its certificate is not trusted: {reason}", True)
    if (reason := _why_no_tls(error)) is not None:
        return Refusal(reason, True)
    match error:
        case redis.exceptions.NoPermissionError():
            return Refusal("it refuses this credential the command", True)
        case redis.AuthenticationError() | redis.exceptions.AuthorizationError():
            is_missing = "required" in str(error)
            return Refusal(f"it {'asks for a password' if is_missing else 'refuses the credential'}", True)
        case redis.exceptions.MasterDownError():
            return Refusal("it is a replica that has lost its primary server, and answers nobody", False)
        case redis.exceptions.AskError() | redis.exceptions.ClusterError() | redis.exceptions.ClusterCrossSlotError():
            return Refusal("it is one of a cluster, which does not serve: a single server is needed", True)
        case redis.exceptions.OutOfMemoryError():
            return Refusal("it is full (maxmemory), and refuses to write", False)
        case redis.BusyLoadingError():
            return Refusal("it is still loading its data", False)
        case redis.ReadOnlyError():
            return Refusal("it is a replica, which cannot be written to", False)
        case redis.TimeoutError():
            return Refusal("it does not answer", False)
        case redis.ConnectionError() | OSError():
            return Refusal(_why_no_connection(str(error), is_tls), False)
    # The driver has no class for these: it hands out the server's word for them.
    if (refusal := _BY_CODE.get(str(error).partition(" ")[0])) is not None:
        return refusal
    return Refusal("it refuses a command", "unknown" in str(error).lower())


_NO_TLS = ("NO_ANSWER_TO_THE_TLS_HANDSHAKE", "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")


def _why_no_tls(error: BaseException) -> str | None:
    """What keeps both sides from one language; None when it is something else."""
    text = str(error).upper().replace(" ", "_")
    if any(
        words in text
        for words in (
            "NO_ANSWER_TO_THE_TLS_HANDSHAKE",
            "WRONG_VERSION_NUMBER",
            "RECORD_LAYER_FAILURE",
            "UNKNOWN_PROTOCOL",
        )
    ):
        return "it does not speak TLS at this port, which rediss:// asks for"
    if "ALERT_CERTIFICATE_REQUIRED" in text or "ALERT_HANDSHAKE_FAILURE" in text:
        return "it wants a certificate of the client, which cache.certificate and cache.key name"
    if "ALERT_UNKNOWN_CA" in text or "ALERT_BAD_CERTIFICATE" in text or "ALERT_CERTIFICATE_EXPIRED" in text:
        return "it does not trust the client's certificate (cache.certificate)"
    return None


def _why_no_connection(told: str, is_tls: bool) -> str:
    if "max number of clients" in told:
        return "it has too many clients (maxclients)"
    if any(words in told.lower() for words in ("closed by server", "eof occurred", "unexpected_eof", "reset by peer")):
        return "it closes the connection, as one does that " + (
            "trusts no certificate of the client: cache.certificate and cache.key name it"
            if is_tls
            else "speaks TLS: cache.url then has to write rediss://"
        )
    return "it cannot be reached"


@contextmanager
def cache_errors(address: CacheAddress) -> Iterator[None]:
    """Turn the driver's errors into CacheUnavailableError; whoever sees one waits, connects again, and sends again."""
    import redis

    try:
        yield
    except (redis.RedisError, OSError) as e:
        told = f"{explain(e, is_tls=address.use_tls).reason} ({type(e).__name__}: {str(e).rstrip('.')})"
        place = address.socket or f"{address.host}:{address.port}"
        raise CacheUnavailableError(f"The cache at {place} failed: {told}.") from e
