"""Whether this machine can have the two Docker hosts of the tests: brings them up and down once.

Exits with 1 and says why where it cannot, as in a container without the rights to make namespaces of the network.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.swarm.docker_hosts import DockerHosts


def main() -> int:
    begun = time.monotonic()
    try:
        hosts = DockerHosts()
        try:
            hosts.up()
        finally:
            hosts.down()
    except Exception as e:  # noqa: BLE001 - whatever it is, it is this machine's
        print(f"This machine cannot have two Docker hosts ({type(e).__name__}: {str(e)[-500:]})", file=sys.stderr)
        return 1
    print(f"two Docker hosts came up and went in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
