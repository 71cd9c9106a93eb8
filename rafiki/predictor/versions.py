"""The versions that a predictor serves, as the admin's file says at the moment."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from rafiki.cache.inference import RedisPredictorQueues
from rafiki.key_file import KeyReader
from rafiki.messages import PredictorReport, PredictorSpec, ServedVersion, ServedVersions, drain_s
from rafiki.predictor.gather import Gather
from rafiki.predictor.prediction_cache import PredictionCache
from rafiki.predictor.shadow import Shadow
from rafiki.predictor.traffic import Split
from rafiki.predictor.version import Version
from rafiki.scheduling.subset_scores import SubsetScores
from rafiki.tasks.registry import get_task
from rafiki.utils.clock import Deadline

_logger = logging.getLogger(__name__)


class Served:
    """A version with what it is asked through."""

    def __init__(self, said: ServedVersion, version: Version, queues: RedisPredictorQueues) -> None:
        self.said, self.version, self.queues = said, version, queues
        self.shadow = Shadow()
        self.limit: Deadline | None = None
        """When it is given up, once nothing new comes to it."""

    @property
    def in_hand(self) -> int:
        return self.version.in_hand

    async def close(self) -> None:
        await self.shadow.close()
        await self.version.gather.close()


class Versions:
    """Opens and closes versions as they come and go. One event loop, no locks."""

    def __init__(self, spec: PredictorSpec, *, start_time_s: float | None = None) -> None:
        """
        Args:
            start_time_s: how long members without a worker are waited for at first; None = as long as a request.
        """
        self._spec = spec
        self._start_time_s = start_time_s
        self._file = None if spec.versions_file is None else Path(spec.versions_file)
        self._mark: tuple[int, int, int] | None = None
        self._opened = 0
        self._served: dict[str, Served] = {}
        self._former: list[Served] = []
        """They are asked nothing new: what they have in hand is answered."""
        self.called = asyncio.Event()
        """Set when a query has come to a version that has no worker: the admin is to know at once."""
        self._key_file: str | None = None
        self.keys: KeyReader | None = None
        """Those that it takes; None = it asks for none."""
        self._candidate: Served | None = None
        self._split = Split(0.0)
        self._shadow: Served | None = None
        said = self._read() or ServedVersions(versions=[_first_of(spec)], key_file=spec.key_file)
        self._primary = self._open(said.versions[0])
        self._served[self._primary.said.job_id] = self._primary
        self._apply(said)

    # ---- for requests

    @property
    def primary(self) -> Version:
        """It answers what no other version does."""
        return self._primary.version

    @property
    def may_sleep(self) -> bool:
        """Whether :attr:`primary` may be without workers, as nobody has asked: the next query starts them."""
        return self._primary.said.may_sleep

    @property
    def has_choice(self) -> bool:
        """Whether the key of a request matters."""
        return self._candidate is not None

    @property
    def longest_deadline_s(self) -> float:
        return max(s.version.deadline_s for s in [*self._served.values(), *self._former])

    def choose(self, key: bytes | None) -> Version:
        """Who is to answer a request.

        Args:
            key: see :meth:`Split.is_for_candidate`.
        """
        candidate = self._candidate
        if candidate is not None and self._split.is_for_candidate(key) and candidate.version.has_workers:
            return candidate.version
        return self._primary.version

    def find_shadow(self) -> Served | None:
        """Who is to be asked with copies."""
        return self._shadow

    def list_versions(self) -> list[tuple[Version, float]]:
        """All that are named, the first one first, each with its share of the requests."""
        share = self._split.share if self._candidate is not None else 0.0
        return [
            (s.version, share if s is self._candidate else 1.0 - share if s is self._primary else 0.0)
            for s in sorted(self._served.values(), key=lambda s: s is not self._primary)
        ]

    # ---- as time passes

    async def look(self) -> None:
        """See whether the admin has changed the file, and close what has nothing in hand any more."""
        if (said := self._read()) is not None:
            self._apply(said)
        if self.keys is not None:
            self.keys.look()
        for former in list(self._former):
            if former.limit is not None and former.limit.is_over():
                former.version.gather.give_up()
            elif former.in_hand:
                continue
            self._former.remove(former)
            await former.close()

    async def report(self) -> None:
        """Report how much each version serves.

        Raises:
            CacheUnavailableError: the cache cannot be reached.
        """
        for served in list(self._served.values()):
            has_called = served.version.gather.demand.take_call()
            await served.queues.report(self._report_of(served), wakes_admin=has_called)

    def _report_of(self, served: Served) -> PredictorReport:
        version, shadow = served.version, served.shadow
        former = sum(f.in_hand for f in self._former if f.said.job_id == served.said.job_id)
        return msgspec.structs.replace(
            version.meter.read(version.gather.members()), in_hand=version.in_hand, former=former,
            is_leaving=served.said.is_leaving, compared=shadow.compared, agreed=shadow.agreed, skipped=shadow.skipped,
            cache_hits=version.cache.hits if version.cache else 0,
            cache_misses=version.cache.misses if version.cache else 0,
        )  # fmt: skip

    def give_up(self) -> None:
        """Answer what waits with what is there."""
        for served in [*self._served.values(), *self._former]:
            served.version.gather.give_up()

    async def close(self) -> None:
        await asyncio.gather(*(s.close() for s in [*self._served.values(), *self._former]))

    # ---- what the file says

    def _read(self) -> ServedVersions | None:
        """What the file says, when it has changed since the last time and can be read."""
        if self._file is None:
            return None
        try:
            found = self._file.stat()
            mark = (found.st_ino, found.st_mtime_ns, found.st_size)
            if mark == self._mark:
                return None
            said = msgspec.json.decode(self._file.read_bytes(), type=ServedVersions)
        except OSError:
            return None
        except (msgspec.DecodeError, UnicodeError) as e:
            # The versions of before go on.
            _logger.warning("the file of versions cannot be read: %s", e)
            self._mark = mark
            return None
        self._mark = mark
        return said if said.versions else None

    def _apply(self, said: ServedVersions) -> None:
        before, self._served = self._served, {}
        for one in said.versions:
            known = before.get(one.job_id)
            if known is not None and _is_same(known.said, one):
                known.said = one
            else:
                known = self._open(one, known)
            self._served[one.job_id] = known
        named = list(self._served.values())
        primary = self._served[said.versions[0].job_id]
        if primary is not self._primary:
            _logger.info("answers come from %s from now on", _name_of(primary.said))
        self._primary = primary
        candidates = [s for s in named if s.said.share > 0 and s is not self._primary and not s.said.is_leaving]
        self._candidate = candidates[0] if candidates else None
        share = candidates[0].said.share if candidates else 0.0
        if share != self._split.share:
            self._split = Split(share)
        self._shadow = next((s for s in named if s.said.is_shadow), None)
        for gone in before.values():
            if gone not in named:
                gone.limit = Deadline(drain_s(gone.version.deadline_s))
                self._former.append(gone)
        if said.key_file != self._key_file:
            self._key_file = said.key_file
            self.keys = None if said.key_file is None else KeyReader(Path(said.key_file))

    def _open(self, said: ServedVersion, known: Served | None = None) -> Served:
        """A version with a gather of its own, which begins to look for its workers.

        Args:
            known: the one with other members, whose place it takes.
        """
        self._opened += 1
        box = "" if self._opened == 1 else f":{self._opened}"
        queues = RedisPredictorQueues(said.cache, self._spec.service_id, box=box)
        gather = Gather(
            queues, [m.trial_id for m in said.members], max_waiting=self._spec.max_waiting,
            start_time_s=said.deadline_s if self._start_time_s is None else self._start_time_s,
            batch_size=said.batch_size, scores=_scores_of(said), late_target=said.late_target, called=self.called,
        )  # fmt: skip
        gather.start(None if said.direct_folder is None else Path(said.direct_folder))
        version = Version(
            said.job_id, said.members, get_task(said.task), gather, deadline_s=said.deadline_s,
            app_version=said.app_version, meter=known.version.meter if known else None,
            cache=PredictionCache(said.most_cached) if said.most_cached else None,
        )  # fmt: skip
        return Served(said, version, queues)


def _first_of(spec: PredictorSpec) -> ServedVersion:
    return ServedVersion(
        job_id=spec.job_id, app_version=spec.app_version, task=spec.task, cache=spec.cache, members=spec.members,
        deadline_s=spec.deadline_s, batch_size=spec.batch_size, subset_scores=spec.subset_scores,
        late_target=spec.late_target, most_cached=spec.most_cached,
        direct_folder=spec.direct_folder,
    )  # fmt: skip


def _is_same(one: ServedVersion, other: ServedVersion) -> bool:
    """Whether they are asked in the same way, whatever their shares."""
    return _plain(one) == _plain(other)


def _plain(said: ServedVersion) -> ServedVersion:
    return msgspec.structs.replace(said, share=0.0, is_shadow=False, is_leaving=False, may_sleep=False)


def _name_of(said: ServedVersion) -> str:
    return f"version {said.app_version} (inference job {said.job_id})"


def _scores_of(said: ServedVersion) -> SubsetScores | None:
    n = len(said.members)
    # Those of other members are none.
    is_of_these = max(said.subset_scores, default=0) == (1 << n) - 1
    return SubsetScores(n, said.subset_scores) if is_of_these else None
