from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest
from support.http.raw_http import Caller, unique
from support.stacks.admin_people import People

from rafiki.admin import login_limits
from rafiki.admin.login_limits import LoginLimits
from rafiki.errors import TooManyLoginsError


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> LoginLimits:
    return LoginLimits(clock)


def guess(limits: LoginLimits, email: str, address: str | None, password: str, is_right: bool = False) -> int:
    """Try a password; returns how long to wait, 0 = it was looked at."""
    try:
        with limits.attempt(email, address, password) as attempt:
            if is_right:
                attempt.succeed()
            else:
                attempt.fail()
    except TooManyLoginsError as e:
        return e.retry_after_s
    return 0


def guesses(limits: LoginLimits, email: str, address: str, count: int) -> None:
    for n in range(count):
        assert guess(limits, email, address, f"guess {n}") == 0


def test_delays_of_an_account_grow_and_the_right_password_waits_too(limits: LoginLimits, clock: Clock) -> None:
    guesses(limits, "ada@rafiki", "192.0.2.1", 6)
    waits = []
    for n in range(12):
        waits.append(guess(limits, "ada@rafiki", "192.0.2.1", "right", is_right=True))
        clock.now_s += waits[-1]
        assert guess(limits, "Ada@Rafiki", "192.0.2.1", f"another {n}") == 0
    assert waits[:6] == [1, 2, 4, 8, 16, 32]
    assert waits == sorted(waits)
    assert max(waits) == 300


def test_an_owner_elsewhere_is_not_kept_out(limits: LoginLimits) -> None:
    guesses(limits, "ada@rafiki", "192.0.2.1", 6)
    assert guess(limits, "ada@rafiki", "192.0.2.1", "right", is_right=True) > 0
    assert guess(limits, "ada@rafiki", "192.0.2.2", "right", is_right=True) == 0


def test_an_address_that_tries_many_accounts_waits_but_not_for_those_that_work_there(
    limits: LoginLimits, clock: Clock
) -> None:
    assert guess(limits, "bob@rafiki", "192.0.2.1", "right", is_right=True) == 0
    for n in range(31):
        assert guess(limits, f"user{n}@rafiki", "192.0.2.1", "password") == 0
    assert guess(limits, "ada@rafiki", "192.0.2.1", "right", is_right=True) > 0
    assert guess(limits, "bob@rafiki", "192.0.2.1", "right", is_right=True) == 0
    assert guess(limits, "ada@rafiki", "192.0.2.9", "right", is_right=True) == 0
    clock.now_s += 3600
    assert guess(limits, "ada@rafiki", "192.0.2.1", "right", is_right=True) == 0


def test_an_old_password_that_comes_again_counts_once(limits: LoginLimits) -> None:
    for _ in range(100):
        assert guess(limits, "ada@rafiki", "192.0.2.1", "the old one") == 0


def test_a_success_begins_anew(limits: LoginLimits) -> None:
    for _ in range(5):
        guesses(limits, "ada@rafiki", "192.0.2.1", 5)
        assert guess(limits, "ada@rafiki", "192.0.2.1", "right", is_right=True) == 0


@pytest.mark.parametrize(
    ("one", "another", "is_same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("testclient", "elsewhere", False),
    ],
)
def test_addresses_that_one_customer_may_choose_count_together(
    limits: LoginLimits, one: str, another: str, is_same: bool
) -> None:
    guesses(limits, "ada@rafiki", one, 6)
    assert (guess(limits, "ada@rafiki", another, "x") > 0) == is_same


def test_guesses_at_the_same_time_count_before_they_are_known_to_be_wrong(limits: LoginLimits) -> None:
    guesses(limits, "ada@rafiki", "192.0.2.1", 3)
    at_work, looked = Barrier(20), Barrier(20)

    def try_one(n: int) -> bool:
        at_work.wait(30)
        try:
            with limits.attempt("ada@rafiki", "192.0.2.1", f"at once {n}") as attempt:
                looked.wait(30)
                attempt.fail()
                return True
        except TooManyLoginsError:
            looked.wait(30)
            return False

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(try_one, range(20))) == 3


def test_memory_is_bounded_whatever_strangers_send(limits: LoginLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_limits, "_MOST_KEPT", 50)
    for n in range(200):
        guess(limits, f"{'x' * 10_000}{n}@rafiki", f"10.0.{n}.1", "x")
    assert len(limits._accounts) == len(limits._addresses) == 50
    assert {len(key) for key in [*limits._accounts, *limits._addresses]} == {16}


# ---- over HTTP, from addresses of this machine that no other test uses


def caller_from(people: People, address: str) -> Caller:
    caller = Caller(people.nobody.port)
    transport = httpx.HTTPTransport(local_address=address)
    caller.http = httpx.Client(base_url=caller.http.base_url, transport=transport, timeout=90, trust_env=False)
    return caller


def test_a_guesser_is_told_when_to_come_again_and_the_owner_logs_in_elsewhere(people: People) -> None:
    me = people.superadmin.make_user("APP_DEVELOPER")
    attacker = caller_from(people, "127.0.7.1")
    for n in range(12):
        body = {"email": me.email, "password": f"guess {n}"}
        if (answer := attacker.send("POST", "/tokens", json=body)).status_code == 429:
            break
    assert answer.status_code == 429
    assert answer.json()["error"] == "TooManyLoginsError"
    assert int(answer.headers["retry-after"]) >= 1
    assert f"Try again in {answer.headers['retry-after']} s" in answer.json()["message"]
    caller_from(people, "127.0.7.2").login(me.email, "a password")
    told = people.admin.ok("GET", "/audit", params={"user": me.email, "action": "login", "count": 3})
    assert [(e["address"], e["result"]) for e in told[1:]] == [("127.0.7.1", "TooManyLoginsError"), ("127.0.7.2", "ok")]


def test_the_old_password_cannot_be_guessed_with_a_stolen_token(people: People) -> None:
    me = people.superadmin.make_user("APP_DEVELOPER")
    thief = caller_from(people, "127.0.7.3")
    thief.http.headers["Authorization"] = f"Bearer {me.token}"
    refusals = [
        thief.send(
            "POST", "/users/password", json={"password": unique("new"), "old_password": f"guess {n}"}
        ).status_code
        for n in range(12)
    ]
    assert refusals[:6] == [401] * 6
    assert 429 in refusals[6:]


def test_who_forges_where_a_call_comes_from_is_not_believed(people: People) -> None:
    email = f"{unique('nobody')}@rafiki"
    headers = {"X-Forwarded-For": "192.0.2.77"}
    caller_from(people, "127.0.7.4").send("POST", "/tokens", json={"email": email, "password": "x"}, headers=headers)
    [entry] = people.admin.ok("GET", "/audit", params={"user": email})
    assert entry["address"] == "127.0.7.4"
