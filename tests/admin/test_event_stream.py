"""How a stream behaves whatever it tells: coalescing, silence, slow and gone clients, refusals, the server's end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
import pytest

from rafiki.admin import events
from rafiki.admin.events import EventHub, EventStream, Source, encode_event
from rafiki.cache.changes import Change
from rafiki.constants import UserType
from rafiki.entities import User
from rafiki.errors import MetaStoreError, RafikiError, TooManyStreamsError, UnauthorizedError
from rafiki.messages import CacheAddress
from rafiki.utils.clock import utc_now
from rafiki.utils.sockets import any_free_port

TIMEOUT_S = 30.0


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    number: int
    text: str = ""


class Counter(Source):
    """Tells how often it was asked; ends at ``last``. ``asked`` are the changes that it was asked for."""

    topic = "job"

    def __init__(self, last: int = 1_000_000, *, size: int = 0, error: RafikiError | None = None) -> None:
        self.asked: list[frozenset[Change]] = []
        self._last, self._size, self._error = last, size, error
        self.is_silent = False

    async def read(self, hub: EventHub, changes: frozenset[Change]) -> list[bytes]:
        self.asked.append(changes)
        if self._error is not None and len(self.asked) > 1:
            raise self._error
        self.is_over = len(self.asked) == self._last
        return [] if self.is_silent else [encode_event(Counted(len(self.asked), "x" * self._size))]


class Client:
    """The other end of an ASGI application. ``takes`` is cleared while it does not read."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.is_complete = False
        self.takes = asyncio.Event()
        self.takes.set()
        self.gone = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.body += message["body"]
        self.is_complete = not message.get("more_body")
        # As a server does: what is too much for the connection's buffer waits after it was handed over.
        await self.takes.wait()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def events(self) -> list[tuple[str, Any]]:
        found = []
        for part in self.body.decode().split("\n\n")[:-1]:
            if part.startswith("event: "):
                kind, data = part.split("\n")
                found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return found


def user(user_id: str = "u") -> User:
    return User(id=user_id, email="a@rafiki", password_hash="", user_type=UserType.ADMIN, datetime_created=utc_now())


def new_hub() -> EventHub:
    """Its cache cannot be reached."""
    return EventHub(CacheAddress(host="127.0.0.1", port=any_free_port(), db=0, username=None, password=None, prefix=""))


class World:
    def __init__(self) -> None:
        self.hub = new_hub()
        self.client = Client()
        self.refusal: RafikiError | None = None
        self.tasks: list[asyncio.Task[None]] = []

    def authorize(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def begin(self, source: Source, client: Client | None = None) -> asyncio.Task[None]:
        client = client or self.client
        stream = EventStream(self.hub, source, user(), self.authorize)
        self.tasks.append(asyncio.create_task(stream({}, client.receive, client.send)))
        return self.tasks[-1]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)


def in_loop(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    async def run() -> None:
        world = World()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await test(world)
        finally:
            # Whatever is left open, the end of the server ends.
            await world.hub.close()
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.gather(*world.tasks)
        assert world.hub.n_streams == 0

    def call() -> None:
        runner: Coroutine[Any, Any, None] = run()
        asyncio.run(runner)

    call.__name__, call.__doc__ = test.__name__, test.__doc__
    return call


@in_loop
async def test_a_stream_begins_with_how_things_stand_and_ends_with_its_source(world: World) -> None:
    source = Counter(last=1)
    await world.begin(source)
    assert (world.client.status, world.client.is_complete) == (200, True)
    assert world.client.events == [("counted", {"type": "counted", "number": 1, "text": ""})]
    assert source.asked == [frozenset(Change)]


@in_loop
async def test_a_burst_of_notes_is_told_together(world: World) -> None:
    source = Counter()
    world.begin(source)
    await until(lambda: len(world.client.events) == 1)
    for _ in range(1000):
        world.hub.note("job", Change.TRIALS)
        world.hub.note("job", Change.LOGS)
    await until(lambda: len(source.asked) > 1)
    # What comes within the pause joins; after it nothing is left to tell.
    await until(lambda: source.asked[-1] in (frozenset({Change.TRIALS, Change.LOGS}), frozenset(Change)))
    assert len(source.asked) <= 4


@in_loop
async def test_notes_about_something_else_wake_nobody(world: World) -> None:
    source = Counter()
    world.begin(source)
    await until(lambda: source.asked)
    for _ in range(100):
        world.hub.note("another job", Change.TRIALS)
    world.hub.note("job", Change.FIGURES)
    await until(lambda: len(source.asked) == 2)
    assert source.asked[1] == {Change.FIGURES}


def test_without_a_note_a_stream_looks_again_and_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr(Source, "relook_s", 0.02)

    @in_loop
    async def test(world: World) -> None:
        source = Counter()
        world.begin(source)
        await until(lambda: source.asked)
        source.is_silent = True
        await until(lambda: len(source.asked) > 3)
        assert set(source.asked) == {frozenset(Change)}
        await until(lambda: b"\n\n: nothing new\n\n" in world.client.body)

    test()


def test_who_may_no_longer_watch_is_told_so_and_the_stream_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr(Source, "relook_s", 0.02)

    @in_loop
    async def test(world: World) -> None:
        task = world.begin(Counter())
        await until(lambda: world.client.events)
        world.refusal = UnauthorizedError("This user is banned.")
        await task
        assert world.client.events[-1] == ("error", {"error": "UnauthorizedError", "message": "This user is banned."})
        assert world.client.is_complete

    test()


@in_loop
async def test_a_store_that_fails_ends_the_stream_with_its_error(world: World) -> None:
    task = world.begin(Counter(error=MetaStoreError("The database is gone.")))
    await until(lambda: world.client.events)
    world.hub.note("job", Change.JOB)
    await task
    assert world.client.events[-1] == ("error", {"error": "MetaStoreError", "message": "The database is gone."})


@in_loop
async def test_a_client_that_hangs_up_ends_the_stream(world: World) -> None:
    task = world.begin(Counter())
    await until(lambda: world.client.events)
    world.client.gone.set()
    await task
    assert world.hub.n_streams == 0


@in_loop
async def test_a_client_that_does_not_read_holds_neither_memory_nor_others_up(world: World) -> None:
    slow, source = Client(), Counter(size=10_000_000)
    slow.takes.clear()
    world.begin(source, slow)
    await until(lambda: slow.body)
    other = Counter()
    world.begin(other)
    for number in range(2, 6):
        world.hub.note("job", Change.JOB)
        await until(lambda number=number: len(world.client.events) >= number)
    # A piece of the first event is on its way; nothing was read for it since.
    assert len(slow.body) == events._CHUNK_BYTES
    assert len(source.asked) == 1
    slow.takes.set()
    await until(lambda: len(slow.events) == 2)
    slow.gone.set()


@in_loop
async def test_the_end_of_the_server_ends_every_stream_also_of_a_client_that_does_not_read(world: World) -> None:
    slow = Client()
    slow.takes.clear()
    tasks = [world.begin(Counter()), world.begin(Counter(size=10_000_000), slow)]
    await until(lambda: world.client.events and slow.body)
    await world.hub.close()
    await asyncio.wait_for(asyncio.gather(*tasks), TIMEOUT_S)
    assert world.client.is_complete


def test_too_many_streams_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_MOST_OF_A_USER", 2)
    monkeypatch.setattr(events, "_MOST_STREAMS", 3)

    @in_loop
    async def test(world: World) -> None:
        hub = world.hub
        with hub.listen("a", "u1"), hub.listen("b", "u1"):
            with pytest.raises(TooManyStreamsError), hub.listen("c", "u1"):
                pass
            with hub.listen("c", "u2"), pytest.raises(TooManyStreamsError), hub.listen("d", "u3"):
                pass
            with hub.listen("d", "u3"):
                assert hub.n_streams == 3

    test()


@in_loop
async def test_what_streams_share_is_made_once_and_dropped_with_the_last(world: World) -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    with world.hub.share("k", make) as first:
        with world.hub.share("k", make) as second:
            assert first is second
        with world.hub.share("k", make) as third:
            assert third is first
    with world.hub.share("k", make) as fourth:
        assert fourth is not first
    assert len(made) == 2
