"""A service for tests of container managers: its spec is the Python code that it runs."""

import os
import sys
import urllib.request
from pathlib import Path


def read(where: str) -> str:
    """From a file, or from a door by the token in the file that the environment names."""
    if not where.startswith("http://"):
        return Path(where).read_text()
    token = Path(os.environ["RAFIKI_SERVICE_TOKEN_FILE"]).read_text()
    request = urllib.request.Request(where, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    exec(compile(read(sys.argv[1]), "service", "exec"))
