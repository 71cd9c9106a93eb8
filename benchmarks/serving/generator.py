"""The load: wrk where it is installed, else the benchmarks' own generator. The same for all servers."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec

from benchmarks.bench_stack import BenchError
from benchmarks.load import run_load

_SCRIPT = Path(__file__).resolve().with_name("wrk.lua")
_GRACE_S = 30.0


class Load(msgspec.Struct, frozen=True):
    """What one load measured."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    n_failed: int


class _Printed(msgspec.Struct):
    duration_us: int
    n_requests: int
    n_failed: int
    p50_us: int
    p99_us: int


def name_of_generator() -> str:
    """Which generator :func:`load_server` uses, for people."""
    return "wrk" if shutil.which("wrk") else "benchmarks.load (wrk is not installed)"


def load_server(
    host: str, port: int, path: str, bodies: list[bytes], *, n_clients: int, warm_up_s: float, duration_s: float
) -> Load:
    """Keep one request of each of ``n_clients`` connections under way for some seconds.

    Raises:
        BenchError: when not one was answered, or the generator failed.
        LoadError: by the own generator, for the same.
    """
    if (wrk := shutil.which("wrk")) is None:
        done = run_load(
            f"{host}:{port}", bodies, path=path, n_connections=n_clients, warm_up_s=warm_up_s, duration_s=duration_s
        )
        return Load(done.requests_per_s, done.p50_ms, done.p99_ms, done.n_errors)
    with tempfile.TemporaryDirectory(prefix="rafiki-bench-") as folder:
        file = Path(folder) / "bodies"
        file.write_bytes(b"\n".join(bodies) + b"\n")
        url = f"http://{host}:{port}{path}"
        _run_wrk(wrk, url, file, n_clients, warm_up_s)
        return read_wrk(_run_wrk(wrk, url, file, n_clients, duration_s))


def _run_wrk(wrk: str, url: str, bodies: Path, n_clients: int, duration_s: float) -> str:
    # It takes whole units only.
    length = f"{max(1, round(duration_s))}s"
    arguments = [wrk, "-t1", f"-c{n_clients}", f"-d{length}", "--timeout", "15s", "-s", str(_SCRIPT), url]
    done = subprocess.run(
        [*arguments, "--", str(bodies)], capture_output=True, text=True, timeout=duration_s + _GRACE_S, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"wrk failed: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout


def read_wrk(printed: str) -> Load:
    """What wrk with our script printed.

    Raises:
        BenchError: when it printed something else, or not one request was answered.
    """
    try:
        found = msgspec.json.decode(printed.strip().rpartition("\n")[2], type=_Printed)
    except msgspec.DecodeError as e:
        raise BenchError(f"wrk printed no figures: {printed[-500:]!r}") from e
    n_answered = found.n_requests - found.n_failed
    if n_answered <= 0 or found.duration_us <= 0:
        raise BenchError(f"no request was answered; {found.n_failed} failed")
    return Load(n_answered / found.duration_us * 1e6, found.p50_us / 1000, found.p99_us / 1000, found.n_failed)
