"""Several versions in one predictor: shares, shadows, switches and what is in hand."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.stacks.deployment import InferenceWorker, Predictor
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.cache.changes import read_version_reports
from rafiki.key_file import hash_key, write_keys
from rafiki.messages import CacheAddress, EnsembleMember, ServedVersion, ServedVersions
from rafiki.predictor.agreement import do_agree
from rafiki.predictor.traffic import Split
from rafiki.utils.files import write_private
from rafiki.worker import inference


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCache]:
    server = OwnCache(tmp_path_factory.mktemp("cache") / "stack")
    yield server
    server.close()


class Front:
    """A predictor with a file of versions, each of one member whose worker answers with the version's name."""

    def __init__(self, cache: OwnCache, folder: Path) -> None:
        self._cache, self._file = cache, folder / "versions.json"
        self.jobs: dict[str, CacheAddress] = {}
        self.closers: list[Callable[[], None]] = []

    def version(self, name: str, **said: Any) -> ServedVersion:
        if name not in self.jobs:
            self.jobs[name] = self._cache.new_job()
        members = said.pop("members", ["t"])
        return ServedVersion(
            job_id=name, app_version=int(name[1:]), task="CUSTOM", cache=self.jobs[name], deadline_s=20.0, batch_size=8,
            members=[EnsembleMember(trial_id=t, model_name="m", score=0.5) for t in members], **said,
        )  # fmt: skip

    def write(self, *versions: ServedVersion, key_file: Path | None = None) -> None:
        said = ServedVersions(versions=list(versions), key_file=None if key_file is None else str(key_file))
        write_private(self._file, msgspec.json.encode(said).decode())

    def start(self, *versions: ServedVersion, deadline_s: float = 20.0) -> Predictor:
        self.write(*versions)
        self.predictor = Predictor(
            next(iter(self.jobs.values())), ["t"], versions_file=self._file, deadline_s=deadline_s
        )
        self.closers.append(self.predictor.close)
        return self.predictor

    def change(self, *versions: ServedVersion, key_file: Path | None = None) -> None:
        self.write(*versions, key_file=key_file)
        self.predictor.look()

    def worker(self, name: str, rule: Callable[[Any], Any] | None = None, trial_id: str = "t") -> InferenceWorker:
        made = InferenceWorker(self.jobs[name], trial_id, rule or (lambda query: name))
        self.closers.append(made.close)
        return made

    def wait_for_workers(self, *names: str) -> None:
        def are_there() -> bool:
            served = self.predictor.versions._served
            return all(served[name].version.has_workers for name in names)

        eventually(are_there, "the workers of all versions to be seen")

    def ask(self, **headers: str) -> tuple[Any, str]:
        """The prediction, and the version that the answer names."""
        found = self.predictor.request("POST", "/predict", b'{"query": 1}', headers)
        assert found.status_code == 200, found.text
        return found.json()["prediction"], found.headers["x-rafiki-version"]

    def close(self) -> None:
        for close in reversed(self.closers):
            close()


@pytest.fixture
def front(cache: OwnCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    monkeypatch.setattr(inference, "_WAIT_S", 0.2)
    made = Front(cache, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0])
def test_a_split_gives_a_candidate_its_share_evenly(share: float) -> None:
    split = Split(share)
    given = [split.is_for_candidate(None) for _ in range(3000)]
    assert sum(given) == pytest.approx(3000 * share, abs=1)
    for start in range(0, 3000, 300):
        assert sum(given[start : start + 300]) == pytest.approx(300 * share, abs=1)


def test_a_split_gives_one_caller_one_version_and_callers_their_share() -> None:
    split = Split(0.2)
    first = {n: split.is_for_candidate(b"user-%d" % n) for n in range(5000)}
    assert {n: split.is_for_candidate(b"user-%d" % n) for n in range(5000)} == first
    assert sum(first.values()) == pytest.approx(1000, rel=0.15)


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (b'{"prediction":"cat","predictions":[]}', b'{"prediction":"cat","predictions":[]}', True),
        (b'{"prediction":"cat","predictions":[]}', b'{"prediction":"dog","predictions":[]}', False),
        (b'{"prediction":[0.9,0.1],"predictions":[]}', b'{"prediction":[0.6,0.4],"predictions":[]}', True),
        (b'{"prediction":[0.9,0.1],"predictions":[]}', b'{"prediction":[0.4,0.6],"predictions":[]}', False),
        (b'{"prediction":[7.0,3.0],"predictions":[]}', b'{"prediction":[7.0,2.0],"predictions":[]}', False),
        (b'{"prediction":1.0,"predictions":[]}', b'{"prediction":1.00001,"predictions":[]}', True),
        (b'{"prediction":null,"predictions":[1,2]}', b'{"prediction":null,"predictions":[1,2],"left_out":["a"]}', True),
        (b'{"prediction":null,"predictions":[1,2]}', b'{"prediction":null,"predictions":[1]}', False),
        (b'{"prediction":{"a":1},"predictions":[]}', b'{"prediction":{"b":1},"predictions":[]}', False),
        (b'{"prediction":true,"predictions":[]}', b'{"prediction":1,"predictions":[]}', True),
        (b'{"outputs":[{"shape":[1,2],"data":[0.9,0.1]}]}', b'{"outputs":[{"shape":[1,2],"data":[0.6,0.4]}]}', True),
        (b'{"outputs":[{"shape":[1,2],"data":[0.9,0.1]}]}', b'{"outputs":[{"shape":[1,2],"data":[0.4,0.6]}]}', False),
        (b'{"outputs":[{"shape":[1],"data":[2]}]}', b'{"outputs":[{"shape":[1],"data":[3]}]}', False),
    ],
)  # fmt: skip
def test_answers_agree_by_what_they_say(one: bytes, other: bytes, agree: bool) -> None:
    assert do_agree(one, other) is agree
    assert do_agree(other, one) is agree


def test_a_canary_answers_its_share_and_answers_name_who_gave_them(front: Front) -> None:
    front.start(front.version("v1"), front.version("v2", share=0.25))
    front.worker("v1")
    front.worker("v2")
    front.wait_for_workers("v1", "v2")
    answers = Counter(front.ask() for _ in range(40))
    assert answers == {("v1", "1"): 30, ("v2", "2"): 10}
    sticky = {key: {front.ask(**{"x-rafiki-key": key}) for _ in range(3)} for key in ("a", "b", "c", "d", "e", "f")}
    assert all(len(versions) == 1 for versions in sticky.values())
    assert len(set.union(*sticky.values())) == 2
    health = front.predictor.request("GET", "/").json()
    assert [(v["app_version"], v["share"]) for v in health["versions"]] == [(1, 0.75), (2, 0.25)]


def test_a_switch_answers_what_is_in_hand_and_gives_the_next_to_the_new_version(front: Front) -> None:
    gate = threading.Event()
    front.start(front.version("v1"), front.version("v2"))
    front.worker("v1", lambda query: "v1" if gate.wait(60) else "late")
    front.worker("v2")
    front.wait_for_workers("v1", "v2")
    assert front.predictor.versions.choose(None).job_id == "v1"
    asked = front.predictor.send({"query": 1})
    eventually(lambda: front.predictor.versions.primary.in_hand == 1, "the query to be in hand")
    old = front.predictor.versions.primary
    front.change(front.version("v2"), front.version("v1", is_leaving=True))
    assert front.ask() == ("v2", "2")
    # It is not named any more, and still answers.
    front.change(front.version("v2"))
    front.predictor.look()
    assert old.in_hand == 1
    gate.set()
    answer = asked.result(60)
    assert (answer.json()["prediction"], answer.headers["x-rafiki-version"]) == ("v1", "1")
    front.predictor.look()
    assert front.predictor.versions._former == []


def test_a_candidate_that_fails_or_has_no_worker_costs_no_answer(front: Front) -> None:
    def fail(query: Any) -> Any:
        raise ValueError("broken")

    front.start(front.version("v1"), front.version("v2", share=1.0))
    front.worker("v1")
    front.wait_for_workers("v1")
    assert front.ask() == ("v1", "1")
    broken = front.worker("v2", fail)
    front.wait_for_workers("v2")
    assert front.ask() == ("v1", "1")
    candidate = front.predictor.versions._served["v2"].version
    assert (candidate.meter.requests, candidate.meter.errors) == (1, 1)
    assert (front.predictor.meter.requests, front.predictor.meter.errors) == (2, 0)
    broken.close()
    front.closers.remove(broken.close)


def test_a_shadow_is_compared_and_never_answers(front: Front) -> None:
    front.start(front.version("v1"), front.version("v2", is_shadow=True))
    front.worker("v1", lambda query: "cat")
    front.worker("v2", lambda query: "cat" if query else "dog")
    front.wait_for_workers("v1", "v2")
    shadow = front.predictor.versions._served["v2"]
    for query in ("0", "1", "1"):
        found = front.predictor.request("POST", "/predict", b'{"query": %s}' % query.encode())
        assert (found.json()["prediction"], found.headers["x-rafiki-version"]) == ("cat", "1")
    eventually(lambda: shadow.shadow.compared == 3, "all copies to be compared")
    assert shadow.shadow.agreed == 2
    assert shadow.version.meter.requests == 3


def test_other_members_take_their_places_without_a_lost_query(front: Front) -> None:
    gate = threading.Event()
    front.start(front.version("v1", members=["old"]))
    front.worker("v1", lambda query: "old" if gate.wait(60) else "late", trial_id="old")
    front.worker("v1", lambda query: "new", trial_id="new")
    front.wait_for_workers("v1")
    asked = front.predictor.send({"query": 1})
    eventually(lambda: front.predictor.versions.primary.in_hand == 1, "the query to be in hand")
    front.change(front.version("v1", members=["new"]))
    front.wait_for_workers("v1")
    assert front.ask() == ("new", "1")
    gate.set()
    assert asked.result(60).json()["prediction"] == "old"
    # Both are counted as one version's.
    eventually(lambda: front.predictor.meter.requests == 2, "both to be counted")


def test_a_file_that_cannot_be_read_changes_nothing_and_one_that_asks_for_keys_does(
    front: Front, tmp_path: Path
) -> None:
    front.start(front.version("v1"))
    front.worker("v1")
    front.wait_for_workers("v1")
    write_private(front._file, "{")
    front.predictor.look()
    assert front.ask() == ("v1", "1")
    os.unlink(front._file)
    front.predictor.look()
    assert front.ask() == ("v1", "1")
    write_keys(tmp_path / "keys.json", [hash_key(b"secret")])
    front.change(front.version("v1"), key_file=tmp_path / "keys.json")
    assert front.predictor.request("POST", "/predict", b'{"query": 1}').status_code == 401
    # What describes the app needs the key as well; the page that asks for it does not.
    assert front.predictor.request("GET", "/openapi.json").status_code == 401
    described = front.predictor.request("GET", "/openapi.json", headers={"authorization": "Bearer secret"}).json()
    assert described["paths"]["/predict"]["post"]["security"] == [{"key": []}]
    assert front.predictor.request("GET", "/try").headers["content-type"] == "text/html; charset=utf-8"
    assert front.ask(authorization="Bearer secret") == ("v1", "1")


def test_each_version_reports_to_its_own_job(front: Front, cache: OwnCache) -> None:
    front.start(front.version("v1"), front.version("v2", is_leaving=True))
    front.worker("v1")
    front.wait_for_workers("v1")
    front.ask()
    front.predictor.report()
    pairs = [(front.jobs[name].prefix.split(":")[1], front.predictor.service_id) for name in ("v1", "v2")]
    one, two = read_version_reports(cache.address, pairs)
    assert one is not None and two is not None
    assert (one.requests, one.is_leaving, one.in_hand, sum(one.all_latencies.values())) == (1, False, 0, 1)
    assert (two.requests, two.is_leaving) == (0, True)


def test_a_version_whose_workers_may_sleep_is_ready_without_any_and_asked_in_the_same_way(front: Front) -> None:
    predictor = front.start(front.version("v1"))
    gather = predictor.gather
    assert predictor.request("GET", "/v2/health/ready").status_code == 503
    assert predictor.request("GET", "/readyz").status_code == 503
    front.change(front.version("v1", may_sleep=True))
    assert predictor.request("GET", "/v2/health/ready").status_code == 200
    assert predictor.request("GET", "/readyz").status_code == 200
    front.change(front.version("v1"))
    assert predictor.request("GET", "/v2/health/ready").status_code == 503
    assert predictor.gather is gather
