"""Model files that do not load: accepted at upload, with a reason for their author, whatever they do to the reader."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from support.http.raw_http import TASK, unique
from support.stacks.admin_people import Hostile
from support.stacks.running_stack import MODELS, eventually

TINY = (MODELS / "tiny.py").read_text()
KNOBS = 'return {"x": FloatKnob(0.0, 1.0), "size": FixedKnob(4)}'


def with_knobs(body: str) -> str:
    """The tiny model with another body of get_knob_config()."""
    return TINY.replace(KNOBS, textwrap.indent(body, " " * 8).strip())


BROKEN = {
    "a syntax error": ("def train(:\n    pass\n", "no valid Python"),
    "a null byte": ("x = 1\0\n", "no valid Python"),
    "bytes that are no text": (b"\xff\xfe\x00", "no valid Python"),
    "another language": ("#include <stdio.h>\nint main() { return 0; }\n", "line 2"),
    "no class of that name": ("class Other:\n    pass\n", "no class 'Tiny'; it defines Other"),
    "a class of another kind": ("class Tiny:\n    pass\n", "must extend rafiki.model.BaseModel"),
    "a class that lacks methods": (
        "from rafiki.model import BaseModel\nclass Tiny(BaseModel):\n    pass\n", "does not define"),
    "a package that is missing": ("import no_such_package.part\n", "'no_such_package', which is not installed"),
    "an error at import": ("\n\n1 / 0\n", "ZeroDivisionError: division by zero (line 3 of my_model.py)"),
    "an endless loop at import": ("while True:\n    pass\n", "did not finish within 4 s"),
    "an endless wait at import": ("import threading\nthreading.Event().wait()\n", "did not finish within 4 s"),
    "an exit at import": ("import sys\nsys.exit(0)\n", "sys.exit(0)"),
    "a hard exit at import": ("import os\nos._exit(0)\n", "exit code 0"),
    "a crash at import": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "SIGSEGV"),
    "knobs that are no dict": (with_knobs("return [FloatKnob(0.0, 1.0)]"), "must return a dict"),
    "knobs that are None": (with_knobs("pass"), "must return a dict"),
    "knobs that are no knobs": (with_knobs('return {"x": 3}'), "'x' must be a knob"),
    "a knob without a name": (with_knobs("return {3: FixedKnob(3)}"), "must be a knob"),
    "knobs that raise": (with_knobs('raise OSError("no GPU")'), "OSError: no GPU (line"),
    "knobs that exit": (with_knobs("raise SystemExit(1)"), "sys.exit(1)"),
    "knobs that recurse": (with_knobs("return Tiny.get_knob_config()"), "RecursionError"),
    "knobs beyond all limits": (
        with_knobs('return {f"k{i}": FixedKnob("x" * 999) for i in range(9999)}'), "larger than"),
    "knobs from high to low": (with_knobs('return {"x": FloatKnob(1.0, 0.0)}'), "get_knob_config() failed"),
    "knobs of two types": (
        with_knobs('from rafiki.model import CategoricalKnob\nreturn {"x": CategoricalKnob([1, "a"])}'), "of one type"),
    "a get_knob_config that is no static method": (TINY.replace("    @staticmethod\n", ""), "@staticmethod"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_model_that_does_not_load_is_accepted_with_the_reason(hostile: Hostile, what: str) -> None:
    source, words = BROKEN[what]
    answer = hostile.me.send_model(source if isinstance(source, bytes) else source.encode(), "Tiny")
    assert answer.status_code == 200, answer.text
    reason = answer.json()["load_error"]
    assert words in reason
    assert "Traceback" not in reason
    assert "\n" not in reason
    assert len(reason) < 1200
    model = hostile.me.ok("GET", f"/models/{answer.json()['id']}")
    assert (model["load_error"], model["knob_config"]) == (reason, None)


FINE = {
    "prints at import": "print('{\"knob_config\": {}}' * 100_000)\n" + TINY,
    "writes garbage to its descriptors": "import os\n[os.write(n, b'\\0\\xff' * 9999) for n in (1, 2)]\n" + TINY,
    "closes stdout": "import os, sys\nsys.stdout.close()\n" + TINY,
    "leaves a thread behind": "import threading\nthreading.Thread(target=threading.Event().wait).start()\n" + TINY,
    "leaves a child behind": "import subprocess\nsubprocess.Popen(['sleep', '60'])\n" + TINY,
    "runs a main part": TINY + "\nif __name__ == '__main__':\n    raise SystemExit('not for import')\n",
}  # fmt: skip


@pytest.mark.parametrize("what", FINE)
def test_a_model_that_only_behaves_strangely_loads(hostile: Hostile, what: str) -> None:
    answer = hostile.me.send_model(FINE[what].encode(), "Tiny")
    assert answer.status_code == 200, answer.text
    assert answer.json()["load_error"] is None
    assert sorted(hostile.me.ok("GET", f"/models/{answer.json()['id']}")["knob_config"]) == ["size", "x"]


def test_a_model_file_sees_no_secret_of_the_stack_at_upload(hostile: Hostile) -> None:
    source = "import os\nraise OSError(' '.join(sorted(os.environ)))\n"
    reason = hostile.me.send_model(source.encode(), "Tiny").json()["load_error"]
    assert "PATH" in reason
    assert "RAFIKI" not in reason


def test_a_broken_model_fails_its_job_at_once_and_names_itself(hostile: Hostile) -> None:
    made = hostile.me.send_model(b"1 / 0\n", "Tiny").json()
    job = hostile.me.job(hostile.me.start_job(model_id=made["id"], dataset_id=hostile.dataset))
    assert job["status"] == "ERRORED"
    assert made["name"] in job["error"]
    assert "ZeroDivisionError" in job["error"]


def test_a_model_that_loads_here_but_not_in_its_worker_makes_the_job_errored(hostile: Hostile) -> None:
    source = "import os\nif 'RAFIKI_SERVICE_ID' in os.environ:\n    raise OSError('only at upload')\n" + TINY
    made = hostile.me.send_model(source.encode(), "Tiny", name=unique("m"), task=TASK).json()
    assert made["load_error"] is None
    job = hostile.me.wait_for_job(hostile.me.start_job(model_id=made["id"], dataset_id=hostile.dataset))
    assert job["status"] == "ERRORED"
    assert "OSError: only at upload (line 3 of" in job["error"]


def slow_at_first(gate: Path) -> bytes:
    """A model whose import does not end until the gate is there, as on a machine that is too busy."""
    wait = f"import os, threading\nif not os.path.exists({str(gate)!r}):\n    threading.Event().wait()\n"
    return (wait + TINY).encode()


def test_a_model_that_took_too_long_is_checked_again_before_its_job_is_given_up(
    hostile: Hostile, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    made = hostile.me.send_model(slow_at_first(gate), "Tiny").json()
    assert "did not finish within 4 s" in made["load_error"]
    assert hostile.me.ok("GET", f"/models/{made['id']}")["load_failure"] == "machine"
    app = hostile.me.start_job(model_id=made["id"], dataset_id=hostile.dataset)
    waiting = eventually(lambda: hostile.me.job(app)["models"][0]["waits_for"], "the check before the job")
    assert "checked again, now with up to 16 s" in waiting
    assert "did not finish within 4 s" in waiting
    gate.touch()
    # The check that has begun before the gate was there may end late; the next job has another one.
    if hostile.me.wait_for_job(app)["status"] == "ERRORED":
        assert "did not finish within 16 s" in hostile.me.job(app)["error"]
        app = hostile.me.start_job(model_id=made["id"], dataset_id=hostile.dataset)
        assert hostile.me.wait_for_job(app)["status"] == "STOPPED"
    assert [t["status"] for t in hostile.me.trials(app)] == ["COMPLETED"]
    assert hostile.me.ok("GET", f"/models/{made['id']}")["load_error"] is None


def test_a_job_that_waits_for_a_check_is_stopped_at_once(hostile: Hostile, tmp_path: Path) -> None:
    made = hostile.me.send_model(slow_at_first(tmp_path / "never"), "Tiny").json()
    app = hostile.me.start_job(model_id=made["id"], dataset_id=hostile.dataset)
    hostile.me.ok("POST", f"/train_jobs/{app}/-1/stop")
    assert hostile.me.job(app)["status"] == "STOPPED"
    assert hostile.me.trials(app) == []
