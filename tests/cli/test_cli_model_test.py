"""``rafiki model test``: a model that works, many that do not, and what each is told."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from support.stacks.running_stack import eventually

from rafiki.constants import ExitCode
from rafiki.utils.files import read_text

ROOT = Path(__file__).parents[2]
MODEL = """\
import time

import numpy as np

from rafiki.model import BaseModel, FloatKnob, utils


class Mean(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0)}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.x = knobs["x"]

    def train(self, dataset_path, shared_params=None, **train_args):
        utils.logger.log("training", x=self.x)
        self.mean = np.full(2, self.x)

    def evaluate(self, dataset_path):
        return 1 - self.x

    def predict(self, queries):
        return [float(self.mean.sum()) for query in queries]

    def dump_parameters(self):
        return {"mean": self.mean}

    def load_parameters(self, params):
        self.mean = params["mean"]
"""


class Broken(NamedTuple):
    """A change that breaks the model, and what is said then."""

    old: str
    new: str
    method: str
    reason: str
    """A pattern."""
    advice: str = ""
    line: str = ""
    """The line of the model's file that is shown."""


RETURN_PREDICTIONS = "return [float(self.mean.sum()) for query in queries]"
BROKEN = {
    "no Python": Broken("return 1 - self.x", "return 1 -", "", r"no valid Python: SyntaxError.*line 22 of m\.py"),
    "an import that fails": Broken("import time", "raise RuntimeError('no licence')", "",
        r"cannot be imported: RuntimeError: no licence \(line 1 of m\.py\)"),
    "a package that is missing": Broken("import time", "import no_such_package", "",
        r"needs the package 'no_such_package'.*line 1 of m\.py"),
    "a method left out": Broken("def dump_parameters", "def dump_params", "", r"does not define dump_parameters\(\)"),
    "knobs of an instance": Broken("    @staticmethod\n", "", "get_knob_config()", "no @staticmethod",
        "@staticmethod def get_knob_config():"),
    "knobs in a list": Broken('{"x": FloatKnob(0.0, 1.0)}', "[FloatKnob(0.0, 1.0)]", "get_knob_config()",
        "must return a dict of knobs, not a list"),
    "a range upside down": Broken("FloatKnob(0.0, 1.0)", "FloatKnob(1.0, 0.0)", "get_knob_config()",
        r"value_max \(0\.0\) lies below value_min.*line 11", line='return {"x": FloatKnob(1.0, 0.0)}'),
    "a constraint on what is no knob": Broken("    def __init__", "    @staticmethod\n    def get_knob_constraints():\n"
        "        return ['x < y']\n\n    def __init__", "get_knob_constraints()", r"names y; the knobs are x"),
    "constraints that nothing satisfies": Broken("    def __init__", "    @staticmethod\n"
        "    def get_knob_constraints():\n        return ['x > 2']\n\n    def __init__", "", "x > 2"),
    "words that are half a letter": Broken("return 1 - self.x", r"raise ValueError('\udce9')", "evaluate()",
        "ValueError"),
    "an __init__ without the knobs": Broken("def __init__(self, **knobs):", "def __init__(self, depth=3, *knobs):",
        "__init__()", r"cannot be called as `Mean\(x=\.\.\.\)`: got an unexpected keyword argument 'x'",
        "`def __init__(self, **knobs):`"),
    "an __init__ that fails": Broken('knobs["x"]', 'knobs["depth"]', "__init__()", r"KeyError: 'depth'.*line 15",
        line='self.x = knobs["depth"]'),
    "a train() without a dataset": Broken("def train(self, dataset_path, shared_params=None, **train_args):",
        "def train(self):", "train()", r"cannot be called as `train\(dataset_path\)`: too many", "def train("),
    "an async predict()": Broken("def predict", "async def predict", "predict()", "it is `async`"),
    "a number in a method's place": Broken(RETURN_PREDICTIONS, f"{RETURN_PREDICTIONS}\n\n    predict = 3", "predict()",
        "it is of the type int, not a method"),
    "an evaluate() that wants more": Broken("def evaluate(self, dataset_path)", "def evaluate(self, dataset_path, k)",
        "evaluate()", "missing a required argument: 'k'"),
    "a train() that fails deep down": Broken("self.mean = np.full(2, self.x)", "self.fit()\n\n    def fit(self):\n"
        "        self.mean = np.ones(3).reshape(2)", "train()", r"ValueError: cannot reshape.*line 22 of m\.py, in fit",
        line="self.mean = np.ones(3).reshape(2)"),
    "a train() that leaves": Broken("self.mean = np.full", "raise SystemExit(4)\n        np.full",
        "train()", r"it calls sys\.exit\(4\)"),
    "a process that ends": Broken("self.mean = np.full", "import os; os._exit(3)\n        np.full",
        "train()", "its process ended with exit code 3", "must not end its process"),
    "a process that is killed": Broken("self.mean = np.full", "import os; os.kill(os.getpid(), 9)\n        np.full",
        "train()", "its process died of SIGKILL", "memory"),
    "a process that crashes": Broken("self.mean = np.full", "import ctypes; ctypes.string_at(0)\n        np.full",
        "train()", "its process died of SIGSEGV"),
    "a score that is no number": Broken("return 1 - self.x", "return 'good'", "evaluate()",
        "must return a finite number; it returned 'good'|must return a number; it returned 'good'", "finite number"),
    "a score that is NaN": Broken("return 1 - self.x", "return float('nan')", "evaluate()",
        "must return a finite number; it returned nan", "higher for a better model"),
    "no predictions": Broken(RETURN_PREDICTIONS, "pass", "predict()", "returned None .*is expected", "Return a list"),
    "a prediction too few": Broken(RETURN_PREDICTIONS, "return [1.0] * (len(queries) - 1)", "predict()",
        "returned 3 predictions .* each of 4 queries", "one prediction for each query"),
    "a prediction that does not fit": Broken(RETURN_PREDICTIONS, "return ['dear'] * len(queries)", "predict()",
        "query 1: .*one finite number for each query; it returned dear"),
    "a predict() that fails": Broken(RETURN_PREDICTIONS, "return [q['colour'] for q in queries]", "predict()",
        r"KeyError: 'colour'.*line 25", line="return [q['colour'] for q in queries]"),
    "parameters in a list": Broken('{"mean": self.mean}', "[self.mean]", "dump_parameters()",
        "^Parameters must be a dict, not a list", "Return a dict"),
    "a parameter of a type that is not allowed": Broken('{"mean": self.mean}', '{"mean": self.mean, "of": {1, 2}}',
        "dump_parameters()", r"^Parameter 'of' is a set.*use a list", "numpy arrays"),
    "parameters that are not taken over": Broken('params["mean"]', 'params["means"]', "load_parameters()",
        r"KeyError: 'means'.*line 31", line='self.mean = params["means"]'),
    "parameters that are lost": Broken('params["mean"]', "np.zeros(2)", "load_parameters()",
        r"query 1: the trained model and the loaded one predict differently: .* \(4 of 4 queries differ\)",
        "Whatever predict() needs"),
    "predictions by chance": Broken("float(self.mean.sum())", "float(np.random.rand())", "predict()",
        "the same instance answers differently when asked again", "draw no random numbers"),
}  # fmt: skip


@pytest.fixture
def file(folder: Path) -> Path:
    """A model that works, beside its data."""
    (folder / "train.csv").write_text("a,b,price\n" + "".join(f"{i},{i % 3},{2 * i}\n" for i in range(8)))
    (folder / "val.csv").write_text("a,b,price\n" + "".join(f"{i},{i % 3},{2 * i}\n" for i in range(4)))
    (folder / "m.py").write_text(MODEL)
    return folder / "m.py"


ARGUMENTS = ("model", "test", "m.py", "--task", "TABULAR_REGRESSION", "--train", "train.csv", "--val", "val.csv")


def test_a_model_that_works_passes_step_by_step(cli, file: Path) -> None:
    result = cli(*ARGUMENTS, "--trials", "3")
    assert result.code == 0, result.out
    steps = [line.split()[1] for line in result.out.splitlines() if line.startswith("✓")]
    assert steps == ["datasets", "class", "knobs", "queries", "__init__()", "train()", "evaluate()",
                     "dump_parameters()", "predict()", "load_parameters()", "comparison", "passed:"]  # fmt: skip
    scores = [float(s) for s in re.findall(r"^trial \d: score ([\d.]+)", result.out, re.MULTILINE)]
    assert len(scores) == 3
    assert f"best score {max(scores):.4f}" in result.out.splitlines()[-1]


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_model_fails_with_the_method_the_reason_and_the_line(cli, file: Path, broken: Broken) -> None:
    assert broken.old in MODEL
    file.write_text(MODEL.replace(broken.old, broken.new, 1))
    result = cli(*ARGUMENTS, "-o", "json")
    report = json.loads(result.out)
    failure = report["failure"]
    assert result.code == ExitCode.FAILURE, failure
    assert not report["is_passed"]
    assert failure["method"] == broken.method
    assert re.search(broken.reason, failure["reason"]), failure
    assert broken.advice in failure["advice"]
    if broken.line:
        assert failure["frames"][-1]["code"] == broken.line
    # What people are told on stderr is the same, and never a traceback.
    assert failure["reason"] in result.err
    assert "Traceback" not in result.err


def test_the_traceback_is_cut_to_the_models_own_file(cli, file: Path) -> None:
    file.write_text(MODEL.replace("self.mean = np.full(2, self.x)", "self.fit()\n\n    def fit(self):\n"
                                  "        self.mean = np.linalg.inv(np.zeros((2, 2)))"))  # fmt: skip
    result = cli(*ARGUMENTS)
    assert result.code == ExitCode.FAILURE
    lines = result.out.splitlines()
    shown = [line.strip() for line in lines if line.startswith("    m.py:")]
    assert shown == ["m.py:19 in train: self.fit()", "m.py:22 in fit: self.mean = np.linalg.inv(np.zeros((2, 2)))"]
    assert "✗ train(): LinAlgError: Singular matrix (line 22 of m.py, in fit)" in lines
    assert "linalg.py" not in result.out
    assert "--knob NAME=VALUE" in result.out


def test_a_model_that_never_ends_is_ended(cli, file: Path) -> None:
    file.write_text(MODEL.replace("self.mean = np.full", "print('so it goes')\n        while True: time.sleep(0.1)\n"
                                  "        self.mean = np.full"))  # fmt: skip
    result = cli(*ARGUMENTS, "--timeout", "10s")
    assert result.code == ExitCode.FAILURE
    assert "✗ train(): it was not done within 10 s" in result.out
    assert "--timeout" in result.out
    # What it printed helps to see where.
    assert "so it goes" in result.out


def is_over(pid: int) -> bool:
    """Whether a process has ended; a zombie that nobody has waited for yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_processes_that_a_model_leaves_behind_are_ended_with_it(cli, file: Path) -> None:
    file.write_text(MODEL.replace("self.mean = np.full", "import subprocess\n"
                                  "        p = subprocess.Popen(['sleep', '600'])\n"
                                  "        open('pid', 'w').write(str(p.pid))\n"
                                  "        self.mean = np.full"))  # fmt: skip
    assert cli(*ARGUMENTS).code == 0
    pid = int((file.parent / "pid").read_text())
    eventually(lambda: is_over(pid), "an end of the process that the model started")


def test_ctrl_c_ends_the_model_too(file: Path) -> None:
    file.write_text(MODEL.replace("self.mean = np.full", "import os; open('pid', 'w').write(str(os.getpid()))\n"
                                  "        while True: time.sleep(0.1)\n        np.full"))  # fmt: skip
    child = subprocess.Popen(
        [sys.executable, "-m", "rafiki_cli", *ARGUMENTS], cwd=file.parent, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
    )  # fmt: skip
    pid = int(eventually(lambda: read_text(file.parent / "pid"), "the model trains"))
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in err
    eventually(lambda: is_over(pid), "an end of the model")


def test_a_later_trial_that_fails_names_its_knobs(cli, file: Path) -> None:
    file.write_text(MODEL.replace("self.mean = np.full", "open('count', 'a').write('x')\n"
                                  "        if len(open('count').read()) == 3: raise ValueError('third')\n"
                                  "        self.mean = np.full"))  # fmt: skip
    report = json.loads(cli(*ARGUMENTS, "--trials", "5", "-o", "json").out)
    assert len(report["trials"]) == 2
    assert report["failure"]["method"] == "train()"
    assert report["failure"]["knobs"].keys() == {"x"}


def test_a_knob_is_fixed_and_arguments_reach_train(cli, file: Path) -> None:
    file.write_text(MODEL.replace("np.full(2, self.x)", "np.full(2, self.x * train_args['times'])"))
    report = json.loads(cli(*ARGUMENTS, "--knob", "x=0.25", "--arg", "times=3", "-o", "json").out)
    assert report["trials"][0]["knobs"] == {"x": 0.25}
    assert report["best_score"] == 0.75
    failed = cli(*ARGUMENTS)
    assert failed.code == ExitCode.FAILURE
    assert "KeyError: 'times'" in failed.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--knob", "y=1"], "no knob 'y'; it has x"),
        (["--knob", "x=7"], "The knob 'x' cannot be 7: Needs a number from 0.0 to 1.0"),
        (["--knob", "x"], "--knob x: write NAME=VALUE"),
        (["--arg", "epochs"], "--arg epochs: write KEY=JSON"),
        (["--timeout", "soon"], "--timeout soon: write a time above 0"),
        (["--timeout", "0s"], "--timeout 0s"),
        (["--train", "none.csv"], "none.csv: there is no such file"),
        (["--val", "m.py"], "m.py"),
        (["--queries-file", "one.json"], "must hold a JSON list"),
        (["--query-file", "bad.json"], "Query 1: A query is an object of feature"),
        (["--query-file", "one.json", "--queries-file", "one.json"], "Give one of"),
        (["--trials", "0"], "--trials"),
    ],
)
def test_a_wrong_argument_is_no_failing_model(cli, file: Path, more: list[str], message: str) -> None:
    (file.parent / "one.json").write_text('{"a": 1, "b": 2}')
    (file.parent / "bad.json").write_text("[1, 2]")
    result = cli(*ARGUMENTS, *more)
    assert result.code == ExitCode.USAGE
    assert message in " ".join((result.out + result.err).split())


def test_a_class_that_is_not_in_the_file_is_answered_with_those_that_are(cli, file: Path) -> None:
    result = cli(*ARGUMENTS, "--class", "Mode")
    assert result.code == ExitCode.FAILURE
    assert "✗ class: m.py has no class 'Mode'; it defines Mean." in result.out


def test_given_queries_are_asked(cli, file: Path) -> None:
    (file.parent / "two.json").write_text('[{"a": 1, "b": 2}, {}]')
    result = cli(*ARGUMENTS, "--queries-file", "two.json")
    assert result.code == 0
    assert re.search(r"✓ queries .* 2 given", result.out)


def test_a_task_without_known_queries_says_that_predict_is_not_called(cli, file: Path) -> None:
    arguments = ["FORTUNE_TELLING" if a == "TABULAR_REGRESSION" else a for a in ARGUMENTS]
    result = cli(*arguments)
    assert result.code == 0
    assert "predict() is not called" in result.out
    (file.parent / "q.json").write_text('"will it rain?"')
    assert "✓ predict()" in cli(*arguments, "--query-file", "q.json").out


def test_an_answer_that_depends_on_its_neighbours_is_a_warning(cli, file: Path) -> None:
    file.write_text(MODEL.replace(RETURN_PREDICTIONS, "return [float(len(queries))] * len(queries)"))
    report = json.loads(cli(*ARGUMENTS, "-o", "json").out)
    assert report["is_passed"]
    assert report["warnings"] == ["Query 1 is answered differently alone and among others: 4 and 1."]


@pytest.mark.parametrize(
    ("prediction", "is_passed", "message"),
    [
        ("[0.5, 0.25, 0.25]", True, None),
        ("[0.5, 0.5]", False, "it returned 2 probabilities, but the validation dataset holds the class 2"),
        ("[0.5, 0.5, 0.0][: 3 - i % 2]", False, "query 2: it returned 2 probabilities, for query 1 3"),
        ("[0.9, 0.9, 0.9]", True, "Query 1: the probabilities sum up to 2.7"),
    ],
)
def test_probabilities_are_compared_with_the_classes(
    cli, file: Path, prediction: str, is_passed: bool, message: str | None
) -> None:
    for name in ("train.csv", "val.csv"):
        (file.parent / name).write_text("a,kind\n1,red\n2,green\n3,blue\n4,red\n")
    file.write_text(MODEL.replace("float(self.mean.sum()) for query in", f"{prediction} for i, query in enumerate(")
                    .replace("enumerate( queries]", "enumerate(queries)]"))  # fmt: skip
    arguments = [a.replace("REGRESSION", "CLASSIFICATION") for a in ARGUMENTS]
    report = json.loads(cli(*arguments, "-o", "json").out)
    assert report["is_passed"] is is_passed
    told = report["warnings"] if is_passed else [report["failure"]["reason"]]
    assert [message] == [t[: len(message)] for t in told] if message else told == []


def test_what_the_model_logs_and_prints_is_shown_on_demand(cli, file: Path) -> None:
    assert "training" not in "".join(cli(*ARGUMENTS)[1:])
    assert "  | training" in cli(*ARGUMENTS, "--logs").err


def test_in_a_project_the_job_file_says_the_rest(cli, file: Path) -> None:
    (file.parent / "job.yaml").write_text(
        "app: a\ntask: TABULAR_REGRESSION\ndatasets: {train: train.csv, val: {path: val.csv}}\n"
        "models:\n  - {file: m.py, dependencies: {numpy: '>=1'}}\ntrain_args: {times: 2}\n"
    )
    file.write_text(MODEL.replace("np.full(2, self.x)", "np.full(2, self.x * train_args['times'])"))
    result = cli("model", "test", "m.py")
    assert result.code == 0, result.out
    assert "✓ dependencies" in result.out
    # Another file, which the job does not name.
    (file.parent / "other.py").write_text(MODEL)
    result = cli("model", "test", "other.py")
    assert result.code == ExitCode.USAGE
    assert "Missing: --task, --train, --val" in result.err


def test_of_the_job_file_only_what_concerns_the_model_matters(
    cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("TASK", "TABULAR_REGRESSION")
    (file.parent / "job.yaml").write_text(
        "jobs:\n"
        "  - {app: other, models: [{file: '${NOBODY_SET_THIS}/x.py'}, {file: gone.py}]}\n"
        "  - app: ${NOBODY_SET_THIS}\n"
        "    task: ${TASK}\n"
        "    datasets: {train: train.csv, val: '${NOBODY_SET_THIS:-val.csv}'}\n"
        "    models: [{name: OnTheServer}, {file: m.py}]\n"
        "    budget: {trials: '${NOBODY_SET_THIS}', no_such_key: 1}\n"
    )
    result = cli("model", "test", "m.py")
    assert result.code == 0, result.err + result.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [{file: m.py, clas: M}]\n", "job.yaml, line 1, column 23: models[0].clas: unknown key. Did you mean"),
        ("models: [{file: m.py}]\ndatasets: {train: {pth: x}}\n", "line 2, column 20: datasets.train.pth: unknown key"),
        ("task: 3\nmodels: [{file: m.py}]\n", "line 1, column 1: task: must be a text, not 3"),
        ("models: [{file: m.py}\n", "this is not valid YAML"),
    ],
)
def test_what_the_job_file_says_wrong_of_the_model_is_told_with_its_place(
    cli, file: Path, text: str, message: str
) -> None:  # fmt: skip
    (file.parent / "job.yaml").write_text(text)
    result = cli("model", "test", "m.py")
    assert result.code == ExitCode.USAGE
    assert message in result.err


def test_what_only_the_environment_of_the_job_knows_is_missing(cli, file: Path) -> None:
    (file.parent / "job.yaml").write_text(
        "task: ${NOBODY_SET_THIS}\ndatasets: {train: '${NOBODY_SET_THIS}.csv', val: val.csv}\nmodels: [{file: m.py}]\n"
    )
    result = cli("model", "test", "m.py")
    assert result.code == ExitCode.USAGE
    assert "Missing: --task, --train. Give them as options" in result.err


def test_a_dependency_that_is_not_installed_is_named_with_its_cure(cli, file: Path) -> None:
    (file.parent / "job.yaml").write_text(
        "task: TABULAR_REGRESSION\ndatasets: {train: train.csv, val: val.csv}\n"
        "models: [{file: m.py, dependencies: {no-such-package: '>=1'}}]\n"
    )
    result = cli("model", "test", "m.py")
    assert result.code == ExitCode.USAGE
    assert "pip install 'no-such-package>=1'" in result.out


def test_on_a_terminal_the_trials_are_a_table(file: Path) -> None:
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "rafiki_cli", *ARGUMENTS, "--trials", "3"], cwd=file.parent, stdin=follower,
        stdout=follower, stderr=follower, env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "xterm"},
    )  # fmt: skip
    os.close(follower)
    out = b""
    try:
        while chunk := os.read(leader, 65536):
            out += chunk
    except OSError:  # how a terminal ends on Linux
        pass
    os.close(leader)
    assert child.wait(60) == 0, out.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.decode())
    assert "TRIAL" in text
    assert "KNOBS" in text
    assert re.search(r"3 +\d\.\d{4} ", text)
    assert "✓ passed" in text
    assert "✓ evaluate()" in text
    assert all(len(line) <= 80 for line in text.replace("\r", "\n").splitlines() if line.lstrip().startswith("x="))


def test_where_no_signs_can_be_shown_there_are_letters(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rafiki_cli", *ARGUMENTS], cwd=file.parent, capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert b"ok evaluate()" in done.stdout
    assert done.stdout.isascii()
