"""A service for tests of container managers: its spec is the Python code that it runs."""

import sys
from pathlib import Path

if __name__ == "__main__":
    exec(compile(Path(sys.argv[1]).read_text(), "service", "exec"))
