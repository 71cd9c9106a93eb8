"""``python -m benchmarks.search.history``: what a proposal costs after 2,000 trials, for each scheme.

Each scheme is restored from 2,000 records of random knobs in a process of its own, then asked and told 40 times.
Processor time, of one thread; memory is the peak of the process.
"""

from __future__ import annotations

import os
import random
import resource
import statistics
import subprocess
import sys
import time

from rafiki.proposals import Proposal

N_TRIALS, N_ASKED = 2_000, 40
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def measure(name: str) -> str:
    """One row of the table."""
    from rafiki.advisor.base import Ask, TrialRecord
    from rafiki.advisor.schemes import make_advisor
    from rafiki.budget import TrainBudget
    from rafiki.model.knobs import POLICIES, ArchKnob, CategoricalKnob, FloatKnob, IntegerKnob, KnobConfig, PolicyKnob

    config: KnobConfig = {
        **{f"x{i}": FloatKnob(0, 1) for i in range(5)},
        "n": IntegerKnob(1, 100, is_exp=True), "m": IntegerKnob(1, 20), "c": CategoricalKnob(["a", "b", "c"]),
        "share": PolicyKnob("SHARE_PARAMS"),
    }  # fmt: skip
    if name == "enas":
        config = {"cell": ArchKnob([[1, 2, 3, 4]] * 16), **{p.lower(): PolicyKnob(p) for p in POLICIES}}
    advisor = make_advisor(config, TrainBudget(model_trial_count=2 * N_TRIALS), 0, name)
    rng = random.Random(0)

    def score(knobs: dict[str, object]) -> float:
        return -sum((float(str(v)) - 0.3) ** 2 for k, v in knobs.items() if k.startswith("x")) + rng.gauss(0, 0.01)

    points = [advisor.space.knobs(advisor.space.draw(rng)) for _ in range(N_TRIALS)]
    records = [
        TrialRecord(no=i, proposal=Proposal(knobs=k), score=score(k), state="completed")
        for i, k in enumerate(points, 1)
    ]
    begun = time.process_time()
    advisor.restore(records)
    advisor.propose(N_TRIALS + 1, Ask(worker_id="w", budget_used=0.5))
    first_s = time.process_time() - begun
    times = []
    for no in range(N_TRIALS + 2, N_TRIALS + 2 + N_ASKED):
        begun = time.process_time()
        proposal = advisor.propose(no, Ask(worker_id="w", budget_used=0.5))
        advisor.feedback(no, score(proposal.knobs))
        times.append(1000 * (time.process_time() - begun))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"| `{name}` | {statistics.median(times):.2f} ms | {max(times):.1f} ms | {first_s:.2f} s | {memory_mb:.0f} MB |"
    )


def main() -> None:
    if sys.argv[1:]:
        print(measure(sys.argv[1]))
        return
    from rafiki.advisor.schemes import SCHEMES

    print("| scheme | a proposal, median | slowest of 40 | restored, first proposal | memory |")
    print("| --- | --- | --- | --- | --- |")
    for name in SCHEMES.names():
        if name != "fixed":
            command = [sys.executable, "-m", "benchmarks.search.history", name]
            done = subprocess.run(command, env={**os.environ, **THREADS}, capture_output=True, text=True, check=True)
            print(done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
