"""A stack whose admin and predictors speak TLS, from the command line and from programs."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stacks.running_stack import MODELS, eventually
from support.terminals.command_line import run_here
from support.tls.authority import Authority, Pair

from rafiki.client import Client, PredictorClient
from rafiki.constants import ExitCode
from rafiki.errors import UnreachableError

pytestmark = pytest.mark.acceptance


class TlsStack:
    """A stack in a project of its own; its certificate names a host that is not this machine's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir(parents=True)
        self.authority = Authority(folder / "authority")
        self.show(self.authority.issue("first", "127.0.0.1", "rafiki.example.org"))
        (self.folder / "rafiki.yaml").write_text(
            "admin: {port: 0}\ntls: {certificate: tls/cert.pem, key: tls/key.pem}\nsupervisor: {tick_s: 0.3}\n"
        )
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RAFIKI_")}
        self.environment = {**clean, "XDG_CONFIG_HOME": str(folder / "config"), "HOME": str(folder)}

    def show(self, pair: Pair) -> None:
        """Put a certificate where the settings name it, as a program that renews it does: one file after the other."""
        there = self.folder / "tls"
        there.mkdir(exist_ok=True)
        for file, name in zip(pair, ("cert.pem", "key.pem"), strict=True):
            (there / f"{name}.new").write_bytes(file.read_bytes())
            (there / f"{name}.new").replace(there / name)

    def run(self, *arguments: str, folder: Path | None = None, **variables: str) -> tuple[int, str, str]:
        done = run_here(*arguments, folder=folder or self.folder, environment={**self.environment, **variables})
        return done.returncode, done.stdout, done.stderr

    @property
    def port(self) -> int:
        return int(json.loads((self.folder / ".rafiki" / "run" / "admin.json").read_text())["port"])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsStack]:
    made = TlsStack(tmp_path_factory.mktemp("tls"))
    code, out, err = made.run("up")
    assert code == 0, out + err
    assert "https://127.0.0.1:" in err
    yield made
    made.run("down")


def client_of(stack: TlsStack, ca: Path | None = None) -> Client:
    client = Client("https://127.0.0.1", stack.port, ca=ca or stack.authority.file)
    client.login("superadmin@rafiki", (stack.folder / ".rafiki" / "superadmin-password").read_text().strip())
    return client


def test_an_app_is_trained_and_asked_over_tls(stack: TlsStack, tmp_path: Path) -> None:
    code, out, _ = stack.run("status", "-o", "json")
    assert (code, json.loads(out)["admin"]["address"]) == (0, f"https://127.0.0.1:{stack.port}")
    client = client_of(stack)
    (tmp_path / "data.bin").write_bytes(b"x")
    dataset = client.create_dataset("data", "CUSTOM", str(tmp_path / "data.bin"))["id"]
    model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
    client.create_train_job("app", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 2}, [model])
    eventually(lambda: client.get_train_job("app")["status"] == "STOPPED", "the end of the job")
    client.create_inference_job("app")
    job = eventually(
        lambda: (j := client.get_running_inference_job("app"))["status"] == "RUNNING" and j, "a deployment"
    )
    assert job["predictor_host"].startswith("https://127.0.0.1:")
    assert PredictorClient(job["predictor_host"], ca=stack.authority.file).predict([1, 2]) is not None
    # Commands in the project know the certificate by the stack's own files, whatever it names.
    code, out, err = stack.run("predict", "app", "--query", "[1, 2]")
    assert code == 0, err
    code, out, _ = stack.run("infer", "show", "app")
    assert f"{job['predictor_host']}" in out
    assert "ABSENT" not in out
    assert stack.run("doctor")[0] == 0


def test_whoever_does_not_trust_it_is_told_what_to_do(stack: TlsStack, tmp_path: Path) -> None:
    address = f"https://127.0.0.1:{stack.port}"
    with pytest.raises(UnreachableError, match=r"not trusted by this machine: .*--ca or RAFIKI_CA"):
        Client("https://127.0.0.1", stack.port).get_health()
    assert stack.run("--admin", address, "status", folder=tmp_path)[0] == ExitCode.UNREACHABLE
    for told, variables in (
        (["--ca", str(stack.authority.file)], {}),
        ([], {"RAFIKI_CA": str(stack.authority.file)}),
    ):
        code, out, _ = stack.run("--admin", address, *told, "status", folder=tmp_path, **variables)
        assert (code, f"admin  {address}" in out) == (0, True)
    with pytest.raises(UnreachableError, match=rf"speaks TLS, write {address}"):
        Client("127.0.0.1", stack.port).get_health()
    code, _, err = stack.run("--admin", address, "--ca", "nowhere.pem", "whoami", folder=tmp_path, RAFIKI_TOKEN="t")
    assert (code, "nowhere.pem: it is not there" in err) == (ExitCode.USAGE, True)


def test_a_context_keeps_whom_to_trust(stack: TlsStack, tmp_path: Path) -> None:
    address = f"https://127.0.0.1:{stack.port}"
    add = ("context", "add", "lab", "--host", address, "--ca")
    assert "it is not there" in stack.run(*add, "nowhere.pem", folder=tmp_path)[2]
    assert stack.run(*add, str(stack.authority.file), folder=tmp_path)[0] == 0
    assert stack.run("--context", "lab", "status", folder=tmp_path)[0] == 0
    assert stack.run("context", "remove", "lab", folder=tmp_path)[0] == 0


def certificate_of(stack: TlsStack) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", stack.port), 5) as plain, context.wrap_socket(plain) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(True) or b"")


def test_a_renewed_certificate_is_shown_without_a_restart(stack: TlsStack) -> None:
    first = certificate_of(stack)
    log = stack.folder / ".rafiki" / "logs" / "admin.log"
    (stack.folder / "tls" / "key.pem").write_text("half written")
    eventually(lambda: "the one before is still shown" in log.read_text(), "a warning")
    assert certificate_of(stack) == first
    renewed = stack.authority.issue("second", "127.0.0.1")
    stack.show(renewed)
    eventually(lambda: certificate_of(stack) == renewed.certificate.read_text(), "the new certificate")
    assert client_of(stack).get_health()["status"] == "ok"
    assert stack.run("status")[0] == 0


def test_up_refuses_to_listen_to_other_machines_without_it_unless_told(stack: TlsStack, tmp_path: Path) -> None:
    (tmp_path / "rafiki.yaml").write_text("admin: {host: 0.0.0.0, port: 0}\n")
    code, _, err = stack.run("up", folder=tmp_path)
    assert (code, "which other machines reach, without TLS" in err) == (ExitCode.USAGE, True), err
    assert not (tmp_path / ".rafiki" / "run" / "admin.json").exists()
    try:
        code, _, err = stack.run("up", folder=tmp_path, RAFIKI_TLS__INSECURE="true")
        assert (code, "listens on 0.0.0.0 without TLS, as tls.insecure says" in err) == (0, True), err
    finally:
        stack.run("down", folder=tmp_path)
