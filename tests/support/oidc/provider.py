"""The process of a provider, for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from support.oidc.provider_process import CLIENT, SECRET

from rafiki.config import load_config
from rafiki.oidc.provider import Provider
from rafiki.oidc.settings import read_oidc

_PROGRAM = Path(__file__).with_name("provider_process.py")


class ProviderProcess:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.issuer = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def set(self, **change: Any) -> list[str]:
        """Change what it is and does; returns the paths that it was asked for since the last reset."""
        answer = httpx.post(f"{self.issuer}/control", content=json.dumps(change), trust_env=False, timeout=30)
        return list(answer.json()["seen"])

    def open(self, url: str) -> str:
        """What a browser does there; returns where it is sent to, or nothing."""
        answer = httpx.get(url, follow_redirects=False, trust_env=False, timeout=30)
        assert answer.status_code in (200, 302), answer.text
        return str(answer.headers.get("location", ""))

    def settings(self, **more: Any) -> dict[str, Any]:
        """The section `oidc` of a stack that lets everybody in, with the secret in ``secret.txt``."""
        return {
            "issuer": self.issuer, "client_id": CLIENT, "client_secret_file": "secret.txt",
            "default_role": "APP_DEVELOPER", **more,
        }  # fmt: skip

    def client(self, folder: Path, **more: Any) -> Provider:
        """What a stack of that folder knows of it."""
        write_secret(folder)
        # JSON is YAML.
        (folder / "rafiki.yaml").write_text(json.dumps({"oidc": self.settings(**more)}))
        client = read_oidc(load_config(folder / "rafiki.yaml", environ={}))
        assert client is not None
        return Provider(client)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def write_secret(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secret.txt").write_text(SECRET + "\n")
