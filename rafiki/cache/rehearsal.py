"""A rehearsal of a job at the cache: its credential is made, and used once for all that the services of a job do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import redis

from rafiki.cache.changes import CHANGES_CHANNEL_PATTERN, Change
from rafiki.cache.connection import cache_errors, connect, explain
from rafiki.cache.credentials import Credentials
from rafiki.cache.inference import RedisWorkerQueue, query_queue
from rafiki.cache.params import RedisParamCache
from rafiki.cache.reports import REPORTS_CHANNEL_PATTERN, RedisReports, reports_channel, serving_key
from rafiki.cache.rights import ServerFacts
from rafiki.cache.train import RedisTrainCache
from rafiki.constants import SharePolicy
from rafiki.errors import CacheUnavailableError, CacheUnfitError
from rafiki.messages import CacheAddress, EndOrder, Hello, Query, Reply
from rafiki.utils.ids import new_id

RIGHTS = "~rafiki:* &* +@connection +acl +info +scan +mget +unlink +psubscribe +punsubscribe"
"""The least that the user of `cache.url` needs, in words of ACL SETUSER."""
_LEFT = (
    "sub:events", "sub:params:recent", "sub:params:best", "sub:params:recent:worker", "sub:params:best:worker",
    "report:service", "replies", "serving:trial",
)  # fmt: skip
"""Keys that it leaves behind."""
_NO_WAIT_S = 0.001
"""Nothing here is waited for in vain: servers end a wait that nothing came of with their next tick, 100 ms later."""
_LIVES_S = 10.0


def rehearse(admin: CacheAddress, credentials: Credentials) -> ServerFacts:
    """Make a job's user, do as a job's services do, and take the user back.

    Raises:
        CacheUnavailableError: when the server cannot be reached, or does not work now.
        CacheUnfitError: when it never will as it is: it is too old, lacks a command, or refuses a right.
    """
    with _rights_of_admin(admin):
        facts = credentials.ask_server()
        with cache_errors(admin), connect(admin) as client:
            _use_as_admin(client)
        job_id = f"rehearsal-{new_id()}"
        job = credentials.grant(job_id)
    try:
        _use_as_job(job)
        with cache_errors(job), connect(job) as client:
            client.delete(*(job.prefix + key for key in _LEFT))
    except CacheUnavailableError as e:
        if (refusal := explain(e.__cause__ or e)).is_lasting:
            raise CacheUnfitError(
                f"{e.message} So {facts.name} {facts.version} answered a user that was made for a job, doing what the "
                f"services of jobs do: {refusal.reason}."
            ) from e
        raise
    finally:
        credentials.withdraw(job_id)
    return facts


@contextlib.contextmanager
def _rights_of_admin(admin: CacheAddress) -> Iterator[None]:
    try:
        yield
    except CacheUnavailableError as e:
        cause = e.__cause__
        if isinstance(cause, redis.exceptions.NoPermissionError):
            user = admin.username or "default"
            raise CacheUnfitError(
                f"{e.message} The user of cache.url has to make a user for each job. Give it the right: "
                f"ACL SETUSER {user} {RIGHTS}"
            ) from e
        if cause is not None and explain(cause).is_lasting:
            raise CacheUnfitError(f"{e.message} Correct cache.url, or the server.") from e
        raise


def _use_as_admin(client: redis.Redis) -> None:
    """What the admin does besides making users."""
    client.mget(["rafiki:"])
    client.scan(0, match="rafiki:", count=1)
    client.unlink("rafiki:")
    with client.pubsub() as channel:  # type: ignore[no-untyped-call]
        channel.psubscribe(REPORTS_CHANNEL_PATTERN, CHANGES_CHANNEL_PATTERN)
        channel.get_message(timeout=1.0)


def _use_as_job(job: CacheAddress) -> None:
    """What workers, advisors and predictors do."""
    with contextlib.closing(RedisTrainCache(job, "sub")) as train:
        train.open_as_advisor()
        train.send_event(Hello("worker"))
        received = train.take_events(_NO_WAIT_S)
        _check([r.event for r in received] == [Hello("worker")], "an event")
        train.acknowledge(received, [("worker", EndOrder())], Change.TRIALS)
        _check(train.take_order("worker", _NO_WAIT_S) == EndOrder(), "an order")
        train.look_for_end("worker")
        train.drop_worker("worker")
    with contextlib.closing(RedisParamCache(job, "sub", "worker")) as params:
        params.put("id", b"params", 0.5)
        params.get(SharePolicy.GLOBAL_BEST)
    with contextlib.closing(RedisReports(job)) as reports:
        reports.announce("service", _LIVES_S)
        reports.serve("trial", "service", _LIVES_S)
        _check(reports.are_alive(["service"]) == {"service"}, "a report")
        reports.unserve("trial", "service")
    with contextlib.closing(RedisWorkerQueue(job, "trial")) as worker, cache_errors(job), connect(job) as client:
        _send_queries(client, job, 3)
        taken = worker.exchange({}, most=2, timeout_s=_NO_WAIT_S)
        answers = [Reply(query_id=query.query_id, status="ok", payload=b"0") for query in taken]
        taken += worker.exchange({f"{job.prefix}replies": answers}, most=2, timeout_s=_NO_WAIT_S)
        _check([query.query_id for query in taken] == [0, 1, 2], "queries")


def _send_queries(client: redis.Redis, job: CacheAddress, n: int) -> None:
    """As a predictor does, which lives on an event loop."""
    client.hgetall(serving_key(job.prefix, "trial"))
    queries = [Query(reply_to=f"{job.prefix}replies", query_id=i, deadline_ms=0, query=b"0") for i in range(n)]
    client.rpush(query_queue(job.prefix, "trial"), *map(msgspec.msgpack.encode, queries))
    client.ltrim(query_queue(job.prefix, "trial"), -n, -1)
    with client.pubsub() as channel:  # type: ignore[no-untyped-call]
        channel.subscribe(reports_channel(job.prefix))
        channel.get_message(timeout=1.0)


def _check(is_there: bool, what: str) -> None:
    if not is_there:
        raise CacheUnfitError(f"The cache did not give back {what} that was put into it: it is no whole Redis.")
