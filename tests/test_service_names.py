"""What services are called, and what the lines of a worker's log tell of a trial."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rafiki import service_names
from rafiki.constants import ServiceType
from rafiki.service_names import NamedService, ServiceNames, service_name
from rafiki.utils.trial_output import find_output


def test_a_name_follows_from_the_place_of_a_service() -> None:
    assert service_name(ServiceType.TRAIN, "demo", 1, model="SkDt", slot=1) == "train demo/1 SkDt#2"
    assert service_name(ServiceType.ADVISOR, "demo", 1, model="SkDt") == "advisor demo/1 SkDt"
    assert service_name(ServiceType.PREDICT, "demo", 12) == "predict demo/12"
    inference = {"model": "SkDt", "trial_no": 10}
    assert service_name(ServiceType.INFERENCE, "demo", 1, **inference) == "inference demo/1 SkDt#10"  # type: ignore[arg-type]
    assert service_name(ServiceType.INFERENCE, "demo", 1, slot=1, **inference) == "inference demo/1 SkDt#10.2"  # type: ignore[arg-type]


def named(id: str, attempt: int = 1) -> NamedService:
    return NamedService(id=id, name=f"train demo/1 {id}", job_id="j", attempt=attempt)


def test_names_are_kept_beside_the_logs(tmp_path: Path) -> None:
    names = ServiceNames(tmp_path)
    assert names.read() == {}
    names.add(named("a"))
    names.add(named("b", 2))
    with (tmp_path / "services.jsonl").open("ab") as f:
        f.write(b'{"id": "c", "na')  # Cut short by a full disk.
    assert ServiceNames(tmp_path).read() == {"a": named("a"), "b": named("b", 2)}


def test_the_names_of_logs_that_are_gone_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_names, "_MOST_BYTES", 300)
    names = ServiceNames(tmp_path)
    (tmp_path / "train-kept.log").touch()
    names.add(named("kept"))
    for i in range(20):
        names.add(named(f"gone{i}"))
    found = names.read()
    assert "kept" in found
    assert len(found) < 10


def test_names_that_cannot_be_kept_keep_nobody_from_work(tmp_path: Path) -> None:
    ServiceNames(tmp_path / "nowhere").add(named("a"))


def record(trial: int, message: str, *, is_json: bool = False) -> str:
    if is_json:
        return json.dumps({"logger": "rafiki.worker.train", "message": message, "trial": trial, "level": "INFO"})
    return f"2026-11-30 06:00:00 INFO    trial {trial}: {message}"


@pytest.mark.parametrize("is_json", [False, True])
def test_what_a_trial_printed_stands_between_its_records(is_json: bool) -> None:
    log = [
        "loading", record(1, "begins (attempt 1)", is_json=is_json), "epoch 1", "{half a", "epoch 2",
        record(1, "ends with the score 0.5", is_json=is_json), "between",
        record(2, "begins (attempt 1)", is_json=is_json), "lost",
        record(2, "begins (attempt 2)", is_json=is_json), "again", "Traceback",
        record(2, "failed: ValueError: no", is_json=is_json),
        record(3, "begins (attempt 1)", is_json=is_json), *(f"line {i}" for i in range(9)),
    ]  # fmt: skip
    assert find_output(log, 1, 1, 10) == (["epoch 1", "{half a", "epoch 2"], 0)
    assert find_output(log, 2, 1, 10) == (["lost"], 0)
    assert find_output(log, 2, 2, 10) == (["again", "Traceback"], 0)
    assert find_output(log, 3, 1, 4) == ([f"line {i}" for i in range(5, 9)], 5)
    assert find_output(log, 4, 1, 10) is None
