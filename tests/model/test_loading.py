import fcntl
import inspect
from pathlib import Path

import pytest

from rafiki.errors import ModelError
from rafiki.knob_specs import IntegerKnobSpec
from rafiki.model.loader import load_model_class, load_model_class_from_path, user_traceback
from rafiki.model_check.knob_reader import read_knob_config

GOOD = """from rafiki.model import BaseModel, IntegerKnob

class Good(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"a": IntegerKnob(1, 3)}

    def train(self, dataset_path, shared_params=None, **train_args):
        raise ValueError("bad\\n   shape")

    evaluate = predict = dump_parameters = load_parameters = train
"""

BROKEN = {
    "syntax error": ("x = 1\ndef f(:\n", r"SyntaxError.*'def f\(:' \(line 2 of m\.py\)"),
    "null byte": ("a\0b", "no valid Python"),
    "missing package": ("import os\nimport no_such.thing\n", r"package 'no_such'.*\(line 2 of m\.py\)"),
    "missing name": ("from os import no_such\n", "ImportError: cannot import name 'no_such'"),
    "raises": ("def f():\n    raise ValueError('why')\nf()", r"ValueError: why \(line 2 of m\.py, in f\)"),
    "sys.exit": ("import sys\nsys.exit(3)", r"calls sys\.exit\(3\) \(line 2"),
    "no such class": (GOOD.replace("Good", "Other"), "no class 'Good'; it defines Other"),
    "no class": ("x = 1", "it defines no class"),
    "no class but a value": ("Good = 1", "no class 'Good'"),
    "not a model": ("class Good: pass", r"must extend rafiki\.model\.BaseModel"),
    "methods missing": (GOOD.replace("evaluate = predict", "x"), r"does not define evaluate\(\), predict\(\)"),
}


def test_a_class_is_loaded_from_source_and_its_lines_are_found() -> None:
    first, second = load_model_class(GOOD.encode(), "Good"), load_model_class(GOOD, "Good")
    assert first is not second
    assert first.get_knob_config()["a"].value_max == 3
    assert "raise ValueError" in inspect.getsource(first)


def test_a_class_is_loaded_from_its_own_place(tmp_path: Path) -> None:
    path = tmp_path / "good.py"
    path.write_text(GOOD)
    assert load_model_class_from_path(path, "Good").__name__ == "Good"
    with pytest.raises(ModelError, match="cannot be read"):
        load_model_class_from_path(tmp_path / "gone.py", "Good")


@pytest.mark.parametrize(("source", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_does_not_load_says_why_here_and_at_upload(source: str, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        load_model_class(source, "Good", file_name="m.py")
    reading = read_knob_config(source.encode(), "Good", "m.py")
    with pytest.raises(ModelError, match=why):
        raise ModelError(reading.error)
    assert reading.knob_config is None


def test_the_failure_of_a_method_is_told_in_one_line() -> None:
    model = load_model_class(GOOD, "Good", file_name="good.py")()
    with pytest.raises(ValueError) as raised:
        model.train("x")
    assert user_traceback(raised.value, "good.py") == "ValueError: bad shape (line 9 of good.py, in train)"
    assert user_traceback(KeyError()) == "KeyError"
    assert len(user_traceback(ValueError("x" * 100_000))) < 1000


def test_knobs_are_read_whatever_the_model_prints_starts_or_leaves_behind() -> None:
    noise = """
import os, subprocess, sys, threading, time
print("x" * 300_000, flush=True)
os.write(1, b"{}")
sys.stderr.write("y" * 300_000)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
threading.Thread(target=time.sleep, args=(600,)).start()
"""
    reading = read_knob_config((GOOD + noise).encode(), "Good")
    assert reading.error is None
    assert reading.knob_config == {"a": IntegerKnobSpec(value_min=1, value_max=3, is_exp=False)}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import os; os._exit(0)", "ended with exit code 0 before its knobs were read"),
        ("import ctypes; ctypes.string_at(0)", "died of SIGSEGV"),
        ("import os, signal; os.killpg(0, signal.SIGKILL)", "died of SIGKILL"),
        ("import os; os.kill(os.getpid(), 40)", "died of signal 40"),
        ("import os; os.write(3, b'[' * 100_000); os._exit(0)", "its knobs cannot be read"),
        ("import os; os.write(3, b'{\"knob_config\": ' + b'[' * 100_000); os._exit(0)", "its knobs cannot be read"),
        ("x = bytearray(3 << 30)", "MemoryError"),
        (GOOD.replace("IntegerKnob(1, 3)", "5"), "'a' must be a knob, not a int"),
        (GOOD.replace('{"a": IntegerKnob(1, 3)}', "[]"), "must return a dict of knobs"),
        (GOOD.replace("(1, 3)", "(3, 1)"), r"value_max \(1\) lies below value_min \(3\)\. \(line 6 of m\.py"),
        (GOOD.replace("@staticmethod\n", "\n"), "must be a @staticmethod"),
        (GOOD.replace("return {", "raise SystemExit(2)\n        return {"), r"calls sys\.exit\(2\)"),
        (
            GOOD.replace("return {", "return 'x' * 10**7 or {"),
            "dict",
        ),
    ],
)
def test_a_model_that_breaks_its_reader_becomes_a_reason(source: str, why: str) -> None:
    reading = read_knob_config(source.encode(), "Good", "m.py", memory_bytes=2 << 30)
    assert reading.knob_config is None
    with pytest.raises(ModelError, match=rf"^m\.py.*{why}"):
        raise ModelError(reading.error)


def test_an_endless_import_ends_and_takes_its_processes_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    source = f"""
import fcntl, subprocess, sys
lock = open({str(lock)!r}, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
while True:
    pass
"""
    reading = read_knob_config(source.encode(), "Good", "m.py", timeout_s=1)
    assert reading.error == (
        "m.py: importing it did not finish within 1 s (an endless loop, a download or training at import?)."
    )
    with open(lock) as file:
        # Waits until the last process that inherited the lock is gone: for ever, if one was left running.
        fcntl.flock(file, fcntl.LOCK_EX)


def test_the_model_sees_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFIKI_ADMIN__SECRET", "s3cret")
    source = "import os\nraise ValueError('s3cret' in str(os.environ), os.environ['HOME'] == os.getcwd())"
    assert "(False, True)" in str(read_knob_config(source.encode(), "Good").error)


def constrained(*texts: object) -> str:
    more = f"\n    @staticmethod\n    def get_knob_constraints():\n        return {list(texts)!r}\n"
    return GOOD.replace("\n    def train(", f"{more}\n    def train(").replace(
        "IntegerKnob(1, 3)}", 'IntegerKnob(1, 3), "b": IntegerKnob(1, 3)}'
    )


def test_constraints_are_read_with_the_knobs() -> None:
    reading = read_knob_config(constrained("a <= b", "a + b < 6").encode(), "Good")
    assert (reading.error, reading.constraints) == (None, ["a <= b", "a + b < 6"])
    assert read_knob_config(GOOD.encode(), "Good").constraints == []


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["a <="], "is no expression"),
        (["a <= c"], "names c; the knobs are a, b"),
        (["__import__('os').system('true')"], "names __import__"),
        ([3], "must be a text"),
        (["a ** b > 2"], "which no constraint may hold"),
    ],
)
def test_a_constraint_that_is_none_is_told_at_upload(texts: list[object], why: str) -> None:
    reading = read_knob_config(constrained(*texts).encode(), "Good", "m.py")
    assert reading.knob_config is None
    assert "get_knob_constraints()" in (reading.error or "")
    assert why in (reading.error or "")
