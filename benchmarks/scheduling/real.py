"""``python -m benchmarks.scheduling.real``: an ensemble of four under a sine load, on a real stack.

The four models of ``benchmarks/models/four_digits.py`` are trained on handwritten digits with noise and served together
under a latency objective. Queries come at times that do not depend on the answers (an open loop), at a rate that
swings between what all members sustain and 1.2 times what the best one does alone; both are measured first. The same
load goes to the best member alone and to all members, which have no objective then: late is what is answered after it
all the same.

The load generator, the predictor, the cache and four workers share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import statistics
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bench_stack import MODELS, BenchStack, wait_for
from benchmarks.datasets import Queries
from benchmarks.load import run_load
from rafiki.scheduling import arrivals

_ABOUT = "An ensemble of four under a sine load, on a real stack."
RESULTS = Path(__file__).resolve().parents[1] / "results" / "scheduling-real.json"
_CLASSES = ("ManyTrees", "Forest", "Neighbours", "Bayes")
_NOISE = 80.0
_TIMEOUT_S = 20.0
_N_CONNECTIONS = 64


class Answer(NamedTuple):
    """What came of one query."""

    status: int
    took_s: float
    lag_s: float
    """How much later than planned it was sent."""
    is_right: bool
    n_members: int


def write_digits(folder: Path) -> tuple[Path, Path, Queries]:
    """Datasets to train on and to validate, and queries that neither holds."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.data))
    noisy = digits.data[order] * (255 / 16) + rng.normal(0, _NOISE, digits.data.shape)
    images, classes = noisy.clip(0, 255).round().astype(np.uint8).reshape(-1, 8, 8), digits.target[order]
    paths = []
    for name, part in (("train", slice(0, 1000)), ("val", slice(1000, 1400))):
        paths.append(folder / f"{name}.zip")
        with zipfile.ZipFile(paths[-1], "w") as archive:
            rows = ["path,class"]
            for i, (image, label) in enumerate(zip(images[part], classes[part], strict=True)):
                png = io.BytesIO()
                Image.fromarray(image).save(png, "PNG")
                archive.writestr(f"{i}.png", png.getvalue())
                rows.append(f"{i}.png,{label}")
            archive.writestr("images.csv", "\n".join(rows) + "\n")
    return paths[0], paths[1], Queries(images[1400:].tolist(), classes[1400:].tolist())


async def _send(address: str, times: list[float], bodies: list[bytes], classes: list[int]) -> list[Answer]:
    host, port = address.rsplit(":", 1)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    started = time.perf_counter()

    async def ask(no: int, at_s: float) -> Answer:
        await asyncio.sleep(max(0.0, started + at_s - time.perf_counter()))
        sent = time.perf_counter()
        body, label = bodies[no % len(bodies)], classes[no % len(bodies)]
        head = f"POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = idle.pop() if idle else await asyncio.open_connection(host, int(port))
                writer.write(head.encode() + body)
                found = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in found.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                answer = json.loads(await reader.readexactly(int(length.split(b":")[1])))
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            return Answer(0, _TIMEOUT_S, sent - started - at_s, False, 0)
        took_s = time.perf_counter() - sent
        idle.append((reader, writer))
        status = int(found[9:12])
        prediction = answer.get("prediction") or [0.0]
        is_right = max(range(len(prediction)), key=prediction.__getitem__) == label
        n_members = len(_CLASSES) - len(answer.get("left_out", []))
        return Answer(status, took_s, sent - started - at_s, is_right, n_members)

    answers = await asyncio.gather(*(ask(no, at_s) for no, at_s in enumerate(times)))
    for _, writer in idle:
        writer.close()
    return answers


def _summary(answers: list[Answer], budget_s: float) -> dict[str, Any]:
    served = [a for a in answers if a.status == 200 and a.took_s <= budget_s]
    refused = sum(a.status == 429 for a in answers)
    n = len(answers)
    took_ms = sorted(1e3 * a.took_s for a in answers if a.status == 200) or [0.0]
    lags_ms = sorted(1e3 * a.lag_s for a in answers)
    return {
        "n": n, "late_share": (n - refused - len(served)) / n, "refused_share": refused / n,
        "accuracy": statistics.mean(a.is_right for a in served) if served else 0.0,
        "mean_members": statistics.mean(a.n_members for a in served) if served else 0.0,
        "p50_ms": took_ms[len(took_ms) // 2], "p99_ms": took_ms[int(0.99 * len(took_ms))],
        "sent_late_p99_ms": lags_ms[int(0.99 * n)], "statuses": dict(Counter(str(a.status) for a in answers)),
    }  # fmt: skip


class _Deployments:
    """The app of the benchmark, deployed in one way after the other."""

    def __init__(self, stack: BenchStack) -> None:
        self.client = stack.client
        train, val, self.queries = write_digits(stack.folder)
        task = "IMAGE_CLASSIFICATION"
        data = [self.client.create_dataset(p.stem, task, str(p))["id"] for p in (train, val)]
        file = str(MODELS / "four_digits.py")
        models = [self.client.create_model(name, task, file, name)["id"] for name in _CLASSES]
        self.client.create_train_job("four", task, *data, {"MODEL_TRIAL_COUNT": 1}, models)
        wait_for(lambda: self.client.get_train_job("four")["status"] == "STOPPED", "the end of the training")

    def deploy(self, ensemble: dict[str, Any], budget_ms: float | None) -> str:
        self.client.create_inference_job(
            "four", ensemble=ensemble, deployment={"latency_budget_ms": budget_ms, "batch_size": 32}, replace=True
        )
        return str(wait_for(self._running, "a deployment")["predictor_host"])

    def _running(self) -> dict[str, Any] | None:
        job = self.client.get_running_inference_job("four")
        return job if job["status"] == "RUNNING" else None

    def per_s(self, address: str, seconds: float) -> float:
        """What a deployment answers when so many clients ask without a pause."""
        bodies = self.queries.bodies()
        load = run_load(address, bodies, n_connections=_N_CONNECTIONS, warm_up_s=1.0, duration_s=seconds)
        return load.requests_per_s

    def run(self, address: str, times: list[float], budget_s: float) -> dict[str, Any]:
        return _summary(asyncio.run(_send(address, times, self.queries.bodies(), self.queries.classes)), budget_s)


def _line(name: str, row: dict[str, Any]) -> str:
    return (
        f"{name:12} accuracy {row['accuracy']:.4f}  late {row['late_share']:.2%}  refused {row['refused_share']:.2%}  "
        f"members {row['mean_members']:.2f}  p50 {row['p50_ms']:.0f} ms  p99 {row['p99_ms']:.0f} ms  "
        f"sent late p99 {row['sent_late_p99_ms']:.0f} ms  {row['statuses']}"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling.real", description=_ABOUT)
    parser.add_argument("--runs", type=int, default=5, help="runs of each policy (5)")
    parser.add_argument("--seconds", type=float, default=40.0, help="length of a run (40)")
    parser.add_argument("--budget-ms", type=float, default=500.0, help="the latency objective (500)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file")
    options = parser.parse_args(arguments)
    budget_s = options.budget_ms / 1000
    four, best = {"method": "mean", "size": len(_CLASSES)}, {"method": "best"}
    with BenchStack() as stack:
        stack.run("up")
        app = _Deployments(stack)
        alone = app.per_s(app.deploy(best, None), 4.0)
        together = app.per_s(app.deploy(four, None), 4.0)
        print(f"the best member answers {alone:.0f} queries/s, all four {together:.0f}", flush=True)
        report: dict[str, Any] = {"alone_per_s": alone, "together_per_s": together, "policies": {}}
        low, high = min(together, 0.9 * alone), 1.2 * alone
        for name, ensemble, budget_ms in (
            ("planner", four, options.budget_ms), ("all members", four, None), ("best single", best, None),
        ):  # fmt: skip
            address = app.deploy(ensemble, budget_ms)
            rows = []
            for seed in range(options.runs):
                times = arrivals.sine(low, high, options.seconds, period_s=options.seconds / 2, seed=seed)
                rows.append(app.run(address, times, budget_s))
                print(_line(name, rows[-1]), flush=True)
            report["policies"][name] = rows
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
