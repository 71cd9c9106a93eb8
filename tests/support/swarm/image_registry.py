"""A registry of images that wants a password, on this machine: Debian's docker-registry."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import httpx
from support.stacks.running_stack import eventually

from rafiki.utils.sockets import any_free_port

USER, PASSWORD = "ada", "s3cret-of-the-registry"
_HASHED = "$2b$04$1dbH1E1EeEW61e4SBeh9qeMn7tsU3tnsC0zX6EfnlmZ0qI4/esRra"
_CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: "{folder}/data"}}, delete: {{enabled: true}}}}
http: {{addr: "{address}"}}
auth: {{htpasswd: {{realm: tests, path: "{folder}/htpasswd"}}}}
log: {{level: error}}
"""


class ImageRegistry:
    """Args:
    host: where it listens; engines have to take it without TLS.
    """

    def __init__(self, folder: Path, host: str) -> None:
        self.address = f"{host}:{any_free_port(host)}"
        folder.mkdir()
        self._folder = folder
        (folder / "htpasswd").write_text(f"{USER}:{_HASHED}\n")
        (folder / "config.yaml").write_text(_CONFIG.format(folder=folder, address=self.address))
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yaml")], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb"),
        )  # fmt: skip
        eventually(self._answers, "an answer of the registry", 30)

    @staticmethod
    def is_here() -> bool:
        return shutil.which("docker-registry") is not None

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://{self.address}/v2/").status_code == 401
        except httpx.HTTPError:
            return False

    def login(self, folder: Path, password: str = PASSWORD) -> Path:
        """What `docker login` leaves in a folder."""
        folder.mkdir(exist_ok=True)
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        (folder / "config.json").write_text(json.dumps({"auths": {self.address: {"auth": auth}}}))
        return folder

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
