"""The GPUs that jobs may be given."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from rafiki_cli.doctor.findings import Finding, ok, problem, skipped, warning
from rafiki_cli.doctor.subject import Subject

_TIMEOUT_S = 8.0
_QUERY = ["--query-gpu=index,name,memory.total", "--format=csv,noheader"]


def check_gpus(subject: Subject) -> Iterator[Finding]:
    wanted = subject.config.container.gpus
    program = shutil.which("nvidia-smi")
    if program is None:
        if wanted:
            told = f"container.gpus names {wanted}, but there is no nvidia-smi."
            yield warning("GPUs", told, "Install the NVIDIA driver, or take the setting out.")
        else:
            yield skipped("GPUs", "There is no nvidia-smi: jobs run on CPUs.")
        return
    try:
        done = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        yield problem("GPUs", f"nvidia-smi did not answer within {_TIMEOUT_S:g} s.", "Look at the driver: dmesg.")
        return
    if done.returncode != 0:
        reason = (done.stdout.strip() or done.stderr.strip() or "it said nothing").splitlines()[0]
        yield problem("GPUs", f"nvidia-smi fails: {reason}", "Mend or reload the NVIDIA driver.")
        return
    there = {int(line.split(",")[0]): ", ".join(p.strip() for p in line.split(",")[1:]) for line in _lines(done.stdout)}
    if not there:
        yield skipped("GPUs", "nvidia-smi lists none: jobs run on CPUs.")
    for index, about in there.items():
        used = "" if wanted is None or index in wanted else "; not in container.gpus, so no job gets it"
        yield ok(f"GPU {index}", about + used)
    if missing := [index for index in wanted or [] if index not in there]:
        yield problem(
            "GPUs", f"container.gpus names {missing}, which nvidia-smi does not list.", "Correct container.gpus."
        )


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.split(",")[0].strip().isdigit()]
