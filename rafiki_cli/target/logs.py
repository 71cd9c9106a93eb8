"""The logs of the stack of this folder, and what people write for one of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rafiki.errors import InvalidServiceError
from rafiki.utils.nearest import did_you_mean

_SERVICE_LOG = re.compile(r"([a-z]+)-([0-9a-f]{8}-[0-9a-f-]{27})")
_ENVIRONMENT_LOG = "environment-"
_MOST_NAMED = 5


@dataclass(frozen=True)
class Log:
    """A log of the stack."""

    name: str
    """``admin``, ``cache``, ``environment KEY``, or the name of a service: ``train demo/1 SkDt#2``."""
    service_id: str | None
    job_id: str | None
    attempt: int | None
    """Of a service: 1, and one more for each restart in its place."""
    size_bytes: int
    datetime_written: str
    path: str


class NoSuchLogError(InvalidServiceError):
    """There is no such log. `rafiki logs` lists those there are."""


def list_logs(folder: Path) -> list[Log]:
    """Those of the admin and the cache, then those of services by name; of one name the newest last."""
    from rafiki.service_names import ServiceNames

    names = ServiceNames(folder).read()
    order = {id: place for place, id in enumerate(names)}
    found = []
    for file in folder.glob("*.log"):
        m = _SERVICE_LOG.fullmatch(file.stem)
        service = names.get(m[2]) if m else None
        name = file.stem
        if service is not None:
            name = service.name
        elif m is not None:
            name = f"{m[1]} {m[2][:8]}"  # A service of an older Rafiki.
        elif name.startswith(_ENVIRONMENT_LOG):
            name = name.replace("-", " ", 1)
        try:
            stat = file.stat()
        except FileNotFoundError:
            continue  # It was freed since.
        found.append(
            Log(
                name=name,
                service_id=m[2] if m else None,
                job_id=service.job_id if service else None,
                attempt=service.attempt if service else None,
                size_bytes=stat.st_size,
                datetime_written=datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(),
                path=str(file),
            )
        )
    return sorted(found, key=lambda log: (log.service_id is not None, log.name, order.get(log.service_id or "", 0)))


def find_log(folder: Path, wanted: str) -> Log:
    """The log that ``wanted`` means: a name, the words that one begins or ends with, a file's name, or the beginning of
    an id. Of the services that had one place after another, the newest.

    Raises:
        NoSuchLogError: when none or several match; it lists what to type.
    """
    logs = list_logs(folder)
    text = " ".join(wanted.removesuffix(".log").lower().split())
    ways: list[Callable[[Log], bool]] = [
        lambda log: log.name.lower() == text,
        lambda log: text in (log.service_id, Path(log.path).stem.lower()),
        lambda log: f" {text} " in f" {log.name} ".lower(),
        lambda log: log.name.lower().startswith(text),
        lambda log: (log.service_id or "").startswith(text) or Path(log.path).stem.lower().startswith(text),
    ]
    for fits in ways:
        if found := [log for log in logs if fits(log)]:
            return _newest(found, wanted)
    names = list(dict.fromkeys(log.name for log in logs))
    hint = did_you_mean(text, names, "`rafiki logs` lists what logs there are.")
    raise NoSuchLogError(f"There is no log of {wanted!r} in {folder}. {hint}")


def _newest(found: list[Log], wanted: str) -> Log:
    """The newest of those that had one place; several places, or apps of one name, are told apart."""
    places = {(log.name, log.job_id): log for log in found}
    if len(places) == 1:
        return found[-1]
    is_one_name = len({log.name for log in places.values()}) == 1
    words = [f"{log.name} ({log.service_id})" if is_one_name else log.name for log in places.values()]
    more = " ..." if len(words) > _MOST_NAMED else ""
    what = "its id" if is_one_name else "more of the name"
    raise NoSuchLogError(f"{wanted!r} fits {len(places)} logs: {', '.join(words[:_MOST_NAMED])}{more}. Write {what}.")
