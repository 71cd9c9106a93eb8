"""``python -m benchmarks.arrays``: images as JSON and as npy, on a real stack.

The model looks at one pixel, so what is measured is the image's way: client, predictor, cache, worker, and its text.
The forms take turns, round by round; 8 clients ask without a pause.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.load import run_load
from benchmarks.machine import describe_machine
from benchmarks.session import QUICK, Session
from rafiki.client import PredictorClient
from rafiki.client.prediction import array_as_npy

RESULTS = Path(__file__).resolve().parents[1] / "results" / "arrays.json"
SIDES = (32, 224)
N_IMAGES, N_CLIENTS = 16, 8


def bodies_of(side: int) -> dict[str, list[bytes]]:
    images = np.random.default_rng(0).integers(0, 256, (N_IMAGES, side, side, 3), np.uint8)
    return {
        "JSON": [json.dumps({"query": image.tolist()}, separators=(",", ":")).encode() for image in images],
        "npy": [raw for image in images if (raw := array_as_npy(image)) is not None],
        "npy, float32": [raw for image in images if (raw := array_as_npy(image.astype(np.float32))) is not None],
    }


def measure(session: Session, n_rounds: int, load_s: float) -> list[dict[str, object]]:
    app = session.trained("FirstPixel")
    # On a busy machine a refusal would say more of the others on it.
    patient = {"latency_budget_ms": 60_000}
    address = session.stack.client.create_inference_job(app, deployment=patient)["predictor_host"]
    rows: list[dict[str, object]] = []
    for side in SIDES:
        bodies = bodies_of(side)
        with PredictorClient(address) as predictor:
            answers = {form: predictor.ask_raw(some[0]) for form, some in bodies.items() if form != "JSON"}
            expected = predictor.post(json.loads(bodies["JSON"][0]))
        assert all(answer == expected for answer in answers.values())
        runs: dict[str, list[float]] = {form: [] for form in bodies}
        latencies: dict[str, list[float]] = {form: [] for form in bodies}
        for _ in range(n_rounds):
            for form, some in bodies.items():
                load = run_load(address, some, n_connections=N_CLIENTS, warm_up_s=1.0, duration_s=load_s)
                assert not load.n_errors, load.first_error
                runs[form].append(load.requests_per_s)
                latencies[form].append(load.p50_ms)
        base = statistics.median(runs["JSON"])
        rows += [
            {
                "side": side, "form": form, "body_bytes": len(bodies[form][0]),
                "requests_per_s": round(statistics.median(found)), "runs": [round(r) for r in found],
                "p50_ms": round(statistics.median(latencies[form]), 2),
                "ratio": round(statistics.median(found) / base, 1),
            }
            for form, found in runs.items()
        ]  # fmt: skip
    return rows


def as_table(rows: list[dict[str, object]]) -> str:
    lines = ["| image | as | bytes | requests/s | p50 | of JSON |", "|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['side']} x {row['side']} x 3 | {row['form']} | {row['body_bytes']:,} | "
            f"{row['requests_per_s']:,} | {row['p50_ms']} ms | {row['ratio']} x |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.arrays")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load-s", type=float, default=4.0)
    options = parser.parse_args()
    with Session(QUICK) as session:
        rows = measure(session, options.rounds, options.load_s)
    RESULTS.write_text(json.dumps({"machine": msgspec.to_builtins(describe_machine()), "rows": rows}, indent=1) + "\n")
    print(as_table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
