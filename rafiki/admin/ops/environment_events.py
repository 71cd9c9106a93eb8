"""The stream of the build of an environment."""

from __future__ import annotations

from rafiki.admin.context import AdminContext
from rafiki.admin.events import EventHub, Source, encode_event
from rafiki.admin.operation import bind_stream
from rafiki.admin.ops.environments import visible_environment
from rafiki.cache.changes import Change
from rafiki.contract.environments import (
    WATCH_ENVIRONMENT,
    EnvironmentEnded,
    EnvironmentLines,
    EnvironmentRequest,
    EnvironmentSnapshot,
)
from rafiki.entities import User
from rafiki.environments.build import HEADING
from rafiki.environments.state import EnvironmentStatus

_RELOOK_S = 0.5
"""pip writes to the log's file by itself, and tells nobody."""
_FIRST_BYTES = 64 * 1024
_MOST_BYTES = 1 << 20
"""Of one event."""


class EnvironmentSource(Source):
    """Follows the log's file."""

    relook_s = _RELOOK_S

    def __init__(self, context: AdminContext, key: str) -> None:
        self.topic = key
        self._context = context
        self._position: int | None = None
        self._rest = b""

    async def read(self, hub: EventHub, changes: frozenset[Change]) -> list[bytes]:
        return await hub.in_thread(self._read)

    def _read(self) -> list[bytes]:
        # How it stands before what was written, so that a build seen as ended comes with all of its lines.
        environment = self._context.environments.get_environment(self.topic)
        is_first = self._position is None
        lines = self._new_lines()
        events = []
        if is_first:
            event = EnvironmentSnapshot(
                key=environment.key, status=environment.status, requirements=environment.requirements, lines=lines
            )
            events.append(encode_event(event))
        elif lines:
            events.append(encode_event(EnvironmentLines(lines=lines)))
        if environment.status != EnvironmentStatus.BUILDING and not self.has_more:
            self.is_over = True
            end = EnvironmentEnded(key=environment.key, status=environment.status, reason=environment.reason)
            events.append(encode_event(end))
        return events

    def _new_lines(self) -> list[str]:
        """What was written since the last call; at first the last lines of the latest attempt."""
        try:
            with self._context.environments.log_file(self.topic).open("rb") as file:
                if self._position is None:
                    file.seek(max(0, file.seek(0, 2) - _FIRST_BYTES))
                    data = file.read()
                    data = data[max(0, data.rfind(HEADING)) :]
                else:
                    file.seek(self._position)
                    data = file.read(_MOST_BYTES)
                self._position = file.tell()
        except FileNotFoundError:
            self._position, data = 0, b""
        self.has_more = len(data) == _MOST_BYTES
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MOST_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]


def watch_environment(context: AdminContext, actor: User, request: EnvironmentRequest) -> EnvironmentSource:
    return EnvironmentSource(context, visible_environment(context, actor, request.key).key)


OPERATIONS = [
    bind_stream(WATCH_ENVIRONMENT, watch_environment),
]
