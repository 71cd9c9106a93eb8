"""Logins with accounts of a provider at a whole stack: from terminals, in browsers, by calls."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from support.http.raw_http import Caller, check_refusal, superadmin_of, unique
from support.oidc.provider import ProviderProcess, write_secret
from support.oidc.provider_process import SECRET
from support.stacks.running_stack import RunningStack

from rafiki.admin.oidc_flows import Flow, FlowSeal
from rafiki.errors import UnauthorizedError
from rafiki_cli.main import main

BACK = "http://127.0.0.1:9/back"
ROLES = {"admins": "ADMIN", "modellers": "MODEL_DEVELOPER"}


@pytest.fixture(scope="module")
def house(provider_process: ProviderProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("oidc") / "stack"
    write_secret(folder)
    settings = provider_process.settings(roles=ROLES, email_domains=["example.org"], timeout_s=20.0)
    stack = RunningStack(folder, {"oidc": settings})
    # The browser's address is known once the stack's port is.
    text = (folder / "rafiki.yaml").read_text()
    callback = f"callback_url: http://127.0.0.1:{stack.port}/oidc/callback"
    (folder / "rafiki.yaml").write_text(text.replace("oidc:\n", f"oidc:\n  {callback}\n"))
    stack.up()
    yield stack
    stack.down()
    for log in stack.log.parent.glob("*.log"):
        assert SECRET not in log.read_text()
        assert "unexpected:" not in log.read_text()


@pytest.fixture
def nobody(house: RunningStack, provider: ProviderProcess) -> Caller:
    return Caller(house.port)


@pytest.fixture
def root(house: RunningStack) -> Caller:
    return superadmin_of(house)


def become(provider: ProviderProcess, **person: Any) -> str:
    """Somebody new is logged in at the provider; returns their email."""
    name = unique("ada")
    whole = {"sub": name, "email": f"{name}@example.org", "email_verified": True, "groups": [], **person}
    provider.set(person=whole)
    return str(whole["email"])


def begin(nobody: Caller, provider: ProviderProcess) -> dict[str, str]:
    """A login up to where the browser is back."""
    begun = nobody.ok("POST", "/oidc/logins", json={"redirect_uri": BACK})
    query = parse_qs(urlsplit(provider.open(begun["url"])).query)
    return {"login": begun["login"], "code": query["code"][0], "state": query["state"][0]}


def log_in(nobody: Caller, provider: ProviderProcess, **more: str) -> dict[str, Any]:
    answer: dict[str, Any] = nobody.ok("POST", "/oidc/tokens", json={**begin(nobody, provider), **more})
    return answer


def refuse(nobody: Caller, provider: ProviderProcess, status: int, **more: str) -> str:
    answer = nobody.send("POST", "/oidc/tokens", json={**begin(nobody, provider), **more})
    return check_refusal(answer, "UnauthorizedError", status)


def audited(root: Caller, email: str) -> list[tuple[str, str]]:
    entries = root.ok("GET", "/audit", params={"user": email})
    return [(e["subject"].get("account", ""), e["result"]) for e in entries if e["action"] == "login"]


def test_the_server_says_whose_accounts_it_takes(nobody: Caller, provider: ProviderProcess) -> None:
    assert nobody.ok("GET", "/oidc") == {"issuer": provider.issuer, "has_pages": True}


def test_a_first_login_makes_a_user_whom_later_ones_find_again(
    nobody: Caller, root: Caller, provider: ProviderProcess
) -> None:
    email = become(provider, sub="the same")
    first = log_in(nobody, provider)
    assert (first["account"], first["email"], first["user_type"]) == ("created", email, "APP_DEVELOPER")
    become(provider, sub="the same")  # With another email by now.
    second = log_in(nobody, provider)
    assert (second["account"], second["email"], second["user_id"]) == (None, email, first["user_id"])
    me = Caller(nobody.port, second["token"]).ok("GET", "/users/me")
    assert (me["id"], me["email"]) == (first["user_id"], email)
    assert audited(root, email) == [("created", "ok"), ("", "ok")]
    assert provider.issuer in json.dumps(root.ok("GET", "/audit", params={"user": email}))


def test_the_role_follows_the_groups_at_each_login(nobody: Caller, root: Caller, provider: ProviderProcess) -> None:
    email = become(provider, sub="follows", groups=["admins", "modellers"])
    admin = Caller(nobody.port, log_in(nobody, provider)["token"])
    admin.ok("GET", "/users")
    become(provider, sub="follows", groups=["modellers"])
    assert log_in(nobody, provider)["user_type"] == "MODEL_DEVELOPER"
    assert check_refusal(admin.send("GET", "/users"), "UnauthorizedError", 403)
    root.ok("POST", "/users/type", json={"email": email, "user_type": "ADMIN"})
    become(provider, sub="follows")
    assert log_in(nobody, provider)["user_type"] == "APP_DEVELOPER"


def test_a_user_of_the_same_email_is_never_taken_over_but_linked_by_their_password(
    nobody: Caller, root: Caller, provider: ProviderProcess
) -> None:
    email = f"{unique('bob')}@example.org"
    root.ok("POST", "/users", json={"email": email, "password": "a password", "user_type": "APP_DEVELOPER"})
    become(provider, sub=email, email=email)
    assert "Link both" in refuse(nobody, provider, 403)
    assert audited(root, email) == [("", "UnauthorizedError")]
    bob = nobody.login(email, "a password")
    for wrong in ("no token", bob.ok("POST", "/api_tokens", json={"name": "ci"})["token"]):
        refuse(nobody, provider, 401 if wrong == "no token" else 403, link_to=wrong)
    linked = log_in(nobody, provider, link_to=str(bob.token))
    assert (linked["account"], linked["user_id"]) == ("linked", bob.id)
    assert log_in(nobody, provider)["user_id"] == bob.id
    nobody.login(email, "a password")
    # It is one user's.
    other = root.make_user("APP_DEVELOPER")
    assert "another user's" in refuse(nobody, provider, 403, link_to=str(other.token))


def test_admins_link_and_unlink_those_whom_they_may(nobody: Caller, root: Caller, provider: ProviderProcess) -> None:
    user, admin = root.make_user("APP_DEVELOPER"), root.make_user("ADMIN")
    become(provider, sub="given by an admin")
    admin.ok("POST", "/users/identity", json={"email": user.email, "subject": "given by an admin"})
    assert log_in(nobody, provider)["user_id"] == user.id
    taken = {"email": root.make_user("APP_DEVELOPER").email, "subject": "given by an admin"}
    admin.refused("UserExistsError", "POST", "/users/identity", json=taken)
    admin.ok("POST", "/users/identity", json={"email": user.email})
    assert log_in(nobody, provider)["account"] == "created"
    for email in (admin.email, "superadmin@rafiki"):
        admin.refused("UnauthorizedError", "POST", "/users/identity", json={"email": email, "subject": "x"})
    user.refused("UnauthorizedError", "POST", "/users/identity", json={"email": user.email, "subject": "x"})
    root.refused("UnauthorizedError", "POST", "/users/identity", json={"email": "superadmin@rafiki", "subject": "x"})
    refuse(nobody, provider, 403, link_to=str(root.token))


def test_a_banned_user_stays_out_and_a_new_password_ends_logins(
    nobody: Caller, root: Caller, provider: ProviderProcess
) -> None:
    email = become(provider)
    me = Caller(nobody.port, log_in(nobody, provider)["token"])
    root.ok("POST", "/users/password", json={"email": email, "password": "set by an admin"})
    check_refusal(me.send("GET", "/users/me"), "UnauthorizedError", 401)
    assert log_in(nobody, provider)["email"] == email
    root.ok("DELETE", "/users", params={"email": email})
    assert "banned" in refuse(nobody, provider, 401)
    assert audited(root, email)[-1] == ("", "UnauthorizedError")


def test_whom_the_settings_do_not_let_in_is_told_why(nobody: Caller, root: Caller, provider: ProviderProcess) -> None:
    email = become(provider, email=f"{unique('eve')}@evil.org")
    assert "oidc.email_domains" in refuse(nobody, provider, 403)
    assert audited(root, email) == [("", "UnauthorizedError")]
    assert email not in [u["email"] for u in root.ok("GET", "/users")]


def test_what_is_not_of_this_login_is_refused(nobody: Caller, provider: ProviderProcess) -> None:
    become(provider)
    mine, other = begin(nobody, provider), begin(nobody, provider)
    for wrong in ({"state": other["state"]}, {"login": other["login"]}, {"state": ""}, {"code": "made up"}):
        check_refusal(nobody.send("POST", "/oidc/tokens", json={**mine, **wrong}), "UnauthorizedError", 401)
    for sealed in ("", "made up", mine["login"][:-4] + "AAAA", "x" * 10_000):
        answer = nobody.send("POST", "/oidc/tokens", json={**other, "login": sealed})
        assert answer.status_code in (401, 429)


@pytest.mark.parametrize(
    "address",
    ["https://127.0.0.1:9/x", "http://127.0.0.1/x", "http://evil.example.org:80/x", "http://127.0.0.1.evil.org:9/",
     "http://127.0.0.1@evil.org:9/", "http://127.0.0.1:9/#x", "http://127.0.0.1:99999/", "x", ""],
)  # fmt: skip
def test_a_code_is_sent_to_the_machine_of_whoever_logs_in_alone(
    nobody: Caller, provider: ProviderProcess, address: str
) -> None:
    nobody.refused("InvalidRequestError", "POST", "/oidc/logins", json={"redirect_uri": address})


def test_guesses_make_further_ones_wait(house: RunningStack, provider: ProviderProcess) -> None:
    stranger = Caller(house.port)
    become(provider)
    mine = begin(stranger, provider)
    seen = [stranger.send("POST", "/oidc/tokens", json={"login": f"guess {n}"}) for n in range(9)]
    assert [a.status_code for a in seen][-1] == 429
    assert int(seen[-1].headers["retry-after"]) >= 1
    # They keep nobody from a login that was begun.
    assert stranger.ok("POST", "/oidc/tokens", json=mine)["account"] == "created"


def test_a_provider_that_is_down_is_told_and_passwords_go_on(
    nobody: Caller, root: Caller, provider: ProviderProcess
) -> None:
    login = begin(nobody, provider)
    provider.set(raw={"/token": [500, "{}", {}]})
    answer = nobody.send("POST", "/oidc/tokens", json=login)
    assert (answer.status_code, answer.json()["error"]) == (503, "LoginProviderError")
    assert root.make_user("APP_DEVELOPER").ok("GET", "/users/me")


# ---- in a browser


def test_a_browser_logs_in_at_the_pages(house: RunningStack, provider: ProviderProcess) -> None:
    email = become(provider)
    with httpx.Client(base_url=f"http://127.0.0.1:{house.port}", trust_env=False, timeout=90) as browser:
        away = browser.get("/oidc/login")
        cookie = away.headers["set-cookie"].lower()
        assert away.status_code == 302
        assert all(part in cookie for part in ("httponly", "samesite=lax", "path=/oidc", "max-age=600"))
        back = provider.open(away.headers["location"])
        assert back.startswith(f"http://127.0.0.1:{house.port}/oidc/callback?")
        # Somebody else's browser has not begun it.
        stranger = httpx.get(back, trust_env=False, timeout=90)
        check_refusal(stranger, "UnauthorizedError", 401)
        answer = browser.get(back)
        assert (answer.json()["email"], answer.headers["cache-control"]) == (email, "no-store")
        assert Caller(house.port, answer.json()["token"]).ok("GET", "/users/me")["email"] == email
        assert not browser.cookies
        check_refusal(browser.get(back), "UnauthorizedError", 401)


@pytest.mark.parametrize("query", ["", "?error=access_denied&state=x", "?code=x&state=y", "?code=x&code=y&state=z"])
def test_a_browser_that_comes_back_with_nothing_right_is_refused(
    house: RunningStack, provider: ProviderProcess, query: str
) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{house.port}", trust_env=False, timeout=90) as browser:
        browser.get("/oidc/login")
        check_refusal(browser.get(f"/oidc/callback{query}"), "UnauthorizedError", 401)


# ---- from a terminal


@pytest.fixture
def elsewhere(house: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody on another machine; what a command begins with there."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAFIKI_CONFIG", "RAFIKI_HOST", "RAFIKI_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return ["--admin", f"127.0.0.1:{house.port}"]


def test_a_terminal_logs_in_through_a_browser_of_its_machine(
    elsewhere: list[str], provider: ProviderProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    email = become(provider)
    pages: list[int] = []

    def browse(url: str) -> bool:
        def follow() -> None:
            back = provider.open(url)
            pages.append(httpx.get(back.replace("/rafiki?", "/favicon.ico?"), trust_env=False).status_code)
            pages.append(httpx.get(back, trust_env=False).status_code)

        threading.Thread(target=follow, daemon=True).start()
        return True

    monkeypatch.setattr("webbrowser.open", browse)
    assert main([*elsewhere, "login", "--oidc", "--browser"]) == 0
    assert f"as {email} (APP_DEVELOPER), a new user" in capsys.readouterr().err
    assert main([*elsewhere, "whoami", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["email"] == email
    assert pages[0] == 404


def test_a_terminal_without_a_browser_shows_a_code_for_another_device(
    house: RunningStack, elsewhere: list[str], root: Caller, provider: ProviderProcess
) -> None:
    user = root.make_user("APP_DEVELOPER")
    Path("password").write_text("a password")
    become(provider, groups=["modellers"])
    command = ["login", "--oidc", "--device", "--link", user.email, "--password-file", "password"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rafiki_cli", *elsewhere, *command], stderr=subprocess.PIPE, text=True,
        env={**house.environment, "XDG_CONFIG_HOME": "config", "COLUMNS": "500"},
    )  # fmt: skip
    assert process.stderr is not None
    told = process.stderr.readline()
    url = next(word for word in told.split() if word.startswith("http"))
    assert url.partition("user_code=")[2] in told.partition("the code")[2]
    provider.open(url)
    rest = process.stderr.read()
    assert process.wait(90) == 0, rest
    assert f"as {user.email} (MODEL_DEVELOPER), with that account from now on" in rest


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["login", "--oidc", "a@example.org"], "--link a@example.org"),
        (["login", "a@example.org", "--device"], "belong to --oidc"),
        (["login", "--oidc", "--password-stdin"], "asks for no password"),
        (["user", "identity", "a@example.org"], "--subject SUB, or --none"),
        (["user", "identity", "a@example.org", "--subject", "x", "--none"], "--subject SUB, or --none"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    elsewhere: list[str], provider: ProviderProcess, capsys: pytest.CaptureFixture[str], command: list[str], said: str
) -> None:
    assert main([*elsewhere, *command]) == 2
    assert said in capsys.readouterr().err


def test_doctor_asks_the_provider(
    house: RunningStack, provider: ProviderProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(house.folder)
    monkeypatch.setenv("COLUMNS", "400")

    def findings() -> list[tuple[str, str]]:
        main(["doctor", "-o", "json"])
        rows = json.loads(capsys.readouterr().out)["findings"]
        return [(r["verdict"], r["found"]) for r in rows if r["check"] == "logins"]

    [(status, told)] = findings()
    assert status == "ok"
    assert told == f"{provider.issuer} answers; logins by browsers of the same machine, other devices, /oidc/login."
    provider.set(description={"issuer": "https://other.example.org"})
    [(status, told)] = findings()
    assert status == "problem"
    assert "describes the issuer" in told


# ---- what is kept meanwhile


def test_a_seal_is_this_stacks_of_its_kind_and_of_its_time() -> None:
    seal, flow = FlowSeal("a key"), Flow(kind="page", expires_s=4e9, state="state")
    text = seal.seal(flow)
    assert seal.open(text, "loopback", "page") == flow
    assert "state" not in text
    for wrong, kind, said in (
        (text, "device", "another way"),
        (FlowSeal("another key").seal(flow), "page", "not begun here"),
        (seal.seal(Flow(kind="page", expires_s=0.0)), "page", "too long"),
    ):
        with pytest.raises(UnauthorizedError, match=said):
            seal.open(wrong, kind)  # type: ignore[arg-type]
