"""What the admin exports for Prometheus, and to whom."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.http.metrics import Scraped
from support.http.raw_http import Caller
from support.stacks.admin_people import Finished, People
from support.stacks.running_stack import eventually

from rafiki.admin.counters import AdminCounters
from rafiki.admin.watch_pages import _refuse_strangers
from rafiki.config import load_config
from rafiki.constants import ServiceType, UserType
from rafiki.contract.metrics import ADMIN_METRICS, PROCESS_METRICS
from rafiki.contract.metrics_access import MetricsToken, find_token_file
from rafiki.errors import ConfigError, UnauthorizedError

TOKEN = "a-token-of-the-metrics"


def scrape(caller: Caller) -> Scraped:
    answer = caller.send("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Scraped(answer.text)


def test_the_admin_exports_its_calls_and_what_the_stack_has_in_which_status(finished: Finished, people: People) -> None:
    before = scrape(people.nobody)
    before.check_declared([*ADMIN_METRICS, *PROCESS_METRICS])
    people.admin.ok("GET", "/models/available")
    people.nobody.refused("UnauthorizedError", "GET", "/models/available")
    people.nobody.refused("InvalidPasswordError", "POST", "/tokens", json={"email": "x@y.z", "password": "wrong"})
    assert people.nobody.send("GET", f"/{'no-such-page' * 20}").status_code == 404
    found = scrape(people.nobody)

    def grew(name: str, **labels: str) -> float:
        return found.value(name, **labels) - (before.value(name, **labels) if has(before, name, **labels) else 0.0)

    assert grew("rafiki_admin_requests_total", call="get_available_models", code="200") >= 1
    assert grew("rafiki_admin_requests_total", call="get_available_models", code="401") >= 1
    assert grew("rafiki_admin_requests_total", call="other", code="404") >= 1
    assert grew("rafiki_admin_request_duration_seconds_count", call="get_available_models") >= 2
    assert grew("rafiki_admin_logins_total", result="InvalidPasswordError") >= 1
    assert found.value("rafiki_admin_logins_total", result="ok") >= 4
    parts = {part: found.value("rafiki_part_up", part=part) for part in ("cache", "database", "supervisor")}
    assert parts == {"cache": 1, "database": 1, "supervisor": 1}
    assert found.value("rafiki_admin_ready") == 1
    assert found.value("rafiki_cache_memory_bytes") > 100_000
    assert found.value("rafiki_supervisor_look_duration_seconds_count", result="ok") >= 1
    assert found.value("process_resident_memory_bytes") > 10_000_000
    assert grew("rafiki_supervisor_last_look_timestamp_seconds") >= 0
    assert found.value("rafiki_disk_free_limit_bytes") == 256 << 20
    # They are counted at most once in ten seconds.
    eventually(lambda: scrape(people.nobody).value("rafiki_trials", status="COMPLETED") >= 3, "the trials are counted")
    counted = scrape(people.nobody)
    assert counted.value("rafiki_jobs", kind="train", status="STOPPED") >= 1
    assert counted.value("rafiki_service_starts_total", type="ADVISOR") >= 1
    assert counted.value("rafiki_services", type="PREDICT", status="RUNNING") >= 0


def has(scraped: Scraped, name: str, **labels: str) -> bool:
    return any(
        s.name == name and labels.items() <= s.labels.items() for f in scraped.families.values() for s in f.samples
    )


def test_what_is_counted_at_once_by_several_threads_has_few_keys() -> None:
    counters = AdminCounters()
    counters.add_request("get_health", 200, 0.01)
    counters.add_request("get_health", 200, None)
    counters.add_start(ServiceType.TRAIN, is_again=False)
    counters.add_start(ServiceType.TRAIN, is_again=True)
    counters.add_look(0.1, 5.0, has_failed=True)
    assert counters.requests() == [(("get_health", 200), 2)]
    assert [(call, d.cumulative()[-1]) for call, d in counters.durations()] == [("get_health", 1)]
    assert (counters.starts()[ServiceType.TRAIN], counters.restarts()[ServiceType.TRAIN]) == (2, 1)
    assert (counters.looks()["failed"].total, counters.last_look_s()) == (0.1, 5.0)


ADMIN, DEVELOPER = "a token of an admin", "a token of a developer"


def who_is_let_in(**settings: Any) -> list[str]:
    """Of nobody, an admin, a developer, and whoever has the token of the metrics."""
    defaults = {"host": "127.0.0.1", "proxies": [], "public": False, "token": None}
    given = SimpleNamespace(**{**defaults, **settings})

    def user_of_token(token: str) -> Any:
        if token not in (ADMIN, DEVELOPER):
            raise UnauthorizedError("There is no such token.")
        return SimpleNamespace(user_type=UserType.ADMIN if token == ADMIN else UserType.MODEL_DEVELOPER)

    context: Any = SimpleNamespace(
        config=SimpleNamespace(
            metrics=SimpleNamespace(public=given.public), admin=SimpleNamespace(host=given.host),
            http=SimpleNamespace(trusted_proxies=given.proxies),
        ),
        metrics_token=given.token, user_of_token=user_of_token,
    )  # fmt: skip
    found = []
    for name, said in {"nobody": None, "admin": ADMIN, "developer": DEVELOPER, "token": TOKEN}.items():
        request: Any = SimpleNamespace(headers={} if said is None else {"authorization": f"Bearer {said}"})
        try:
            _refuse_strangers(context, request)
        except UnauthorizedError:
            continue
        found.append(name)
    return found


def test_metrics_are_open_on_this_machine_and_take_a_token_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    token = MetricsToken(tmp_path / "token")
    everybody = ["nobody", "admin", "developer", "token"]
    assert who_is_let_in() == everybody
    assert who_is_let_in(host="0.0.0.0") == ["admin"]
    assert who_is_let_in(proxies=["127.0.0.1"]) == ["admin"]
    assert who_is_let_in(token=token) == ["admin", "token"]
    assert who_is_let_in(host="0.0.0.0", token=token) == ["admin", "token"]
    assert who_is_let_in(host="0.0.0.0", token=token, public=True) == everybody


@pytest.mark.parametrize(("held", "reason"), [(None, "cannot be read"), ("short\n", "shorter than 16")])
def test_a_token_file_that_holds_no_token_is_refused_before_the_stack_starts(
    tmp_path: Path, held: str | None, reason: str
) -> None:
    (tmp_path / "rafiki.yaml").write_text("metrics:\n  token_file: secrets/token\n")
    (tmp_path / "secrets").mkdir()
    if held is not None:
        (tmp_path / "secrets" / "token").write_text(held)
    loaded = load_config(tmp_path / "rafiki.yaml", environ={})
    with pytest.raises(ConfigError, match=reason) as refused:
        find_token_file(loaded)
    assert "rafiki.yaml, line 2" in refused.value.message
    (tmp_path / "secrets" / "token").write_text(f"{TOKEN}\n")
    assert find_token_file(loaded) == tmp_path / "secrets" / "token"
