"""Job files that are wrong: each gives one clear error with its place and the exit code of usage, and asks no server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rafiki.constants import ExitCode
from rafiki_cli.main import main

GOOD = """\
app: demo
task: IMAGE_CLASSIFICATION
datasets:
  train: train.zip
  val: val.zip
models:
  - file: model.py
budget:
  trials: 3
"""


class Case(NamedTuple):
    about: str
    text: str | bytes
    where: str
    """``line 3, column 5``, or less of it."""
    says: str


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


CASES = [
    # ---- not YAML, or not such YAML
    Case("an empty file", "", "", "is empty"),
    Case("only a comment", "# nothing yet\n", "", "is empty"),
    Case("a list", "- app: demo\n", "line 1, column 1", "begins with `app: NAME`"),
    Case("a text", "just words\n", "line 1, column 1", "begins with `app: NAME`"),
    Case("a tab as indent", changed("  train: train.zip", "\ttrain: train.zip"), "line 4, column 1", "spaces, not tabs"),
    Case("a tab after spaces", changed("  trials: 3", "  \ttrials: 3"), "line 9, column 3", "spaces, not tabs"),
    Case("a tab after a colon", changed("trials: 3", "trials:\t3\tx: 1"), "line 9", "not valid YAML"),
    Case("an open quote", changed("app: demo", 'app: "demo'), "line 10", "quote or bracket is not closed"),
    Case("an open list", changed("  - file: model.py", "  [{file: model.py}"), "line 8", "closing bracket is missing"),
    Case("a colon too many", changed("app: demo", "app: demo: x"), "line 1, column 10", "a colon stands where none can"),
    Case("a lost indent", changed("  val: val.zip", "   val: val.zip"), "line 5", "not valid YAML"),
    Case("a missing colon", changed("budget:", "budget"), "line 9", "not valid YAML"),
    Case("an escape that is none", changed("app: demo", 'app: "de\\mo"'), "line 1", "no escape in double quotes"),
    Case("a variable in braces", changed("  trials: 3", "  x: {trials: ${N}}"), "line 9", "put ${...} in quotes"),
    Case("two documents", GOOD + "---\n" + GOOD, "line 11, column 1", "under `jobs:`"),
    Case("UTF-16", GOOD.encode("utf-16"), "line 1", "not UTF-8"),
    Case("Latin-1", changed("app: demo", "app: dém").encode("latin-1"), "line 1", "not UTF-8"),
    Case("bytes of a zip", b"PK\x03\x04\x00\x00", "line 1", "does not allow"),
    Case("a control character", changed("app: demo", "app: de\x07mo"), "line 1", "does not allow"),
    # ---- anchors and aliases gone wrong
    Case("an alias without an anchor", changed("trials: 3", "trials: *n"), "line 9, column 11", "no anchor &n"),
    Case("an anchor that holds itself", GOOD + "train_args: &a\n  x: *a\n", "line 10, column 13", "holds itself"),
    Case("a merge of a text", GOOD + "train_args:\n  <<: words\n", "line 11, column 7", "this is none"),
    Case("aliases of aliases of aliases",
         GOOD + "train_args:\n  a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
             f"  {x}: &{x} [{','.join([f'*{y}'] * 10)}]\n" for y, x in zip("abcd", "bcde", strict=True)),
         "line 11", "larger than"),
    Case("lists in lists in lists", GOOD + "train_args: {x: " + "[" * 40 + "]" * 40 + "}\n", "line 10", "nested deeper"),
    # ---- keys
    Case("a key twice", changed("app: demo", "app: demo\napp: other"), "line 2", "a second time (first in line 1)"),
    Case("a nested key twice", changed("  trials: 3", "  trials: 3\n  trials: 4"), "line 10", "budget.trials stands"),
    Case("an unknown key", changed("models:", "model:"), "line 6, column 1", "Did you mean 'models'?"),
    Case("an unknown budget", changed("trials: 3", "trails: 3"), "line 9, column 3", "Did you mean 'trials'?"),
    Case("an unknown model key", changed("file: model.py", "fil: model.py"), "line 7, column 5", "Did you mean 'file'?"),
    Case("a key that is nothing like any", GOOD + "zzz: 1\n", "line 10, column 1", "Valid: app, task, datasets"),
    Case("an unknown gate", GOOD + "gates: {minscore: 1}\n", "line 10, column 9", "Did you mean 'min_score'?"),
    Case("a key that is a list", GOOD + "? [a, b]\n: 1\n", "line 10", "a key must be a name"),
    Case("no app", changed("app: demo\n", ""), "line 1, column 1", "'app' is missing"),
    Case("no datasets", "app: a\nmodels: [{file: model.py}]\n", "line 1, column 1", "'datasets' is missing"),
    Case("no validation data", changed("  val: val.zip\n", ""), "line 3, column 1", "'val' is missing"),
    Case("no models", changed("models:\n  - file: model.py\n", ""), "line 1, column 1", "'models' is missing"),
    # ---- kinds and ranges of values
    Case("a number as app", changed("app: demo", "app: 7"), "line 1, column 1", "must be a text, not 7. Put it in quotes"),
    Case("a date as app", changed("app: demo", "app: 2026-01-01"), "line 1", "read as a timestamp. Put it in quotes"),
    Case("an empty app", changed("app: demo", 'app: ""'), "line 1, column 1", "must not be empty"),
    Case("a slash in the app", changed("app: demo", "app: a/b"), "line 1, column 1", "cannot be a name"),
    Case("a null app", changed("app: demo", "app:"), "line 1, column 1", "must be a text, not nothing"),
    Case("a quoted number", changed("trials: 3", 'trials: "3"'), "line 9, column 3", "Write 3."),
    Case("words for trials", changed("trials: 3", "trials: many"), "line 9, column 3", "whole number, not 'many'"),
    Case("half a trial", changed("trials: 3", "trials: 2.5"), "line 9, column 3", "whole number, not 2.5"),
    Case("true trials", changed("trials: 3", "trials: yes"), "line 9, column 3", "whole number, not yes, which YAML reads as true"),
    Case("no trials at all", changed("trials: 3", "trials: 0"), "line 9, column 3", "1 or more, or -1"),
    Case("negative trials", changed("trials: 3", "trials: -5"), "line 9, column 3", "-1 or more, not -5"),
    Case("no time", changed("trials: 3", "hours: 0"), "line 9, column 3", "above 0"),
    Case("endless time", changed("trials: 3", "hours: .inf"), "line 9", "no number to work with"),
    Case("time that is none", changed("trials: 3", "hours: .nan"), "line 9", "no number to work with"),
    Case("a crowd of workers", changed("trials: 3", "workers: 1000"), "line 9, column 3", "256 or less"),
    Case("a mapping of models", changed("  - file: model.py", "  file: model.py"), "line 6, column 1", "must be a list"),
    Case("an empty list of models", changed("models:\n  - file: model.py", "models: []"), "line 6", "must not be empty"),
    Case("a text as a model", changed("  - file: model.py", "  - model.py"), "line 7, column 5", "must be a mapping"),
    Case("datasets in a list", changed("datasets:\n  train: train.zip\n  val: val.zip", "datasets: [a, b]"), "line 3",
         "must be a mapping, not a list"),
    Case("an access that is none", changed("file: model.py", "file: model.py\n    access: secret"), "line 8, column 5",
         "Valid: private, public"),
    Case("an ensemble that is none", GOOD + "ensemble: greddy\n", "line 10, column 1", "Did you mean 'greedy'?"),
    Case("dependencies in a list", changed("file: model.py", "file: model.py\n    dependencies: [numpy]"),
         "line 8, column 5", "must be a mapping, not a list"),
    Case("a version that is a number", changed("file: model.py", "file: model.py\n    dependencies: {numpy: 1.2}"),
         "line 8", "must be a text, not 1.2"),
    Case("a latency budget below nothing", GOOD + "deploy: {latency_budget_ms: -1}\n", "line 10, column 10", "above 0"),
    Case("more late answers than half", GOOD + "deploy: {late_target: 0.9}\n", "line 10, column 10", "0.5"),
    Case("words for deploy", GOOD + "deploy: maybe\n", "line 10, column 1", "must be true or false or a mapping"),
    Case("no replicas", GOOD + "deploy: {replicas: 0}\n", "line 10, column 10", "1 or more, not 0"),
    Case("fewer replicas at most than at least", GOOD + "deploy: {replicas: {min: 5, max: 2}}\n", "line 10, column 10",
         "min is 5, which is more than max, 2"),
    Case("replicas without a most", GOOD + "deploy: {replicas: {min: 1}}\n", "line 10, column 10", "max"),
    Case("no replicas at most", GOOD + "deploy: {replicas: {max: 0}}\n", "line 10, column 21", "1 or more, not 0"),
    Case("a key of replicas that is none", GOOD + "deploy: {replicas: {max: 2, idle: 3}}\n", "line 10", "idle_s"),
    Case("replicas as an option writes them", GOOD + "deploy: {replicas: 1..4}\n", "line 10, column 10", "mapping"),
    Case("a batch of a million", GOOD + "deploy: {batch_size: 1000000}\n", "line 10, column 10", "4096 or less"),
    Case("a gate of words", GOOD + "gates: {min_score: high}\n", "line 10, column 9", "must be a number, not 'high'"),
    # ---- things that do not fit together
    Case("a file that is not there", changed("train: train.zip", "train: trian.zip"), "line 4, column 3", "no such file"),
    Case("a folder as data", changed("train: train.zip", "train: ./folder"), "line 4, column 3", "this is a folder"),
    Case("an empty dataset", changed("train: train.zip", "train: empty.zip"), "line 4, column 3", "is empty"),
    Case("a model that is not there", changed("model.py", "modle.py"), "line 7, column 5", "no such file"),
    Case("a model with a syntax error", changed("model.py", "broken.py"), "line 7, column 5", "broken.py, line 1"),
    Case("a file without a model", changed("model.py", "plain.py"), "line 7, column 5", "no class in it derives"),
    Case("a file of two models", changed("model.py", "two.py"), "line 7, column 5", "Choose one with `class:`"),
    Case("a class that is not there", changed("file: model.py", "file: model.py\n    class: Modell"), "line 8, column 5",
         "Did you mean 'Model'?"),
    Case("two sources of a dataset", changed("train: train.zip", "train: {path: train.zip, name: x}"), "line 4, column 3",
         "exactly one of path, url, name, id; here is path and name"),
    Case("no source of a dataset", changed("train: train.zip", "train: {as: x}"), "line 4, column 3", "here is none"),
    Case("another name for what is there", changed("train: train.zip", "train: {id: x, as: y}"), "line 4",
         "only what is uploaded"),
    Case("an address of files", changed("train: train.zip", "train: ftp://host/train.zip"), "line 4, column 3",
         "http or https"),
    Case("two sources of a model", changed("file: model.py", "file: model.py\n    id: x"), "line 7, column 5",
         "exactly one of file, template, name and id"),
    Case("a class of a model on the server", changed("file: model.py", "name: Model\n    class: Model"),
         "line 8, column 5", "on the server already"),
    Case("a template that is none", changed("file: model.py", "template: image_classification/svn"), "line 7, column 5",
         "Did you mean 'image_classification/svm'?"),
    Case("a template of another task", changed("file: model.py", "template: pos_tagging/bigram_hmm"), "line 7, column 5",
         "not for IMAGE_CLASSIFICATION"),
    Case("one model twice", changed("  - file: model.py", "  - file: model.py\n  - file: model.py"), "line 8, column 5",
         "is the name of models[0] too"),
    Case("a package that is none", changed("file: model.py", "file: model.py\n    dependencies: {'a b': '1'}"),
         "line 8, column 20", "no name of a package"),
    Case("a task with a typo", changed("IMAGE_CLASSIFICATION", "IMAGE_CLASIFICATION"), "line 2, column 1",
         "Did you mean 'IMAGE_CLASSIFICATION'?"),
    Case("more trials wanted than allowed", GOOD + "gates: {min_trials: 9}\n", "line 10", "the budget allows 3"),
    Case("a gate on an ensemble that is none", GOOD + "gates: {min_ensemble_score: .9}\n", "line 10", "no `ensemble`"),
    Case("a best one of several", GOOD + "ensemble: {method: best, size: 3}\n", "line 10, column 26", "serves one trial"),
    # ---- variables
    Case("a variable that is not set", changed("trials: 3", "trials: ${NO_SUCH_VARIABLE}"), "line 9, column 11",
         "NO_SUCH_VARIABLE is not set"),
    Case("a variable without a name", changed("trials: 3", "trials: ${}"), "line 9, column 11", "names no variable"),
    Case("a variable of the wrong kind", changed("trials: 3", "trials: ${MANY}"), "line 9", "whole number, not 'many'"),
    # ---- several jobs
    Case("no jobs in the list", "jobs: []\n", "line 1, column 1", "must not be empty"),
    Case("jobs beside a job", "jobs: []\napp: demo\n", "line 1", ""),
    Case("one app in two jobs", "jobs:\n" + 2 * ("  - " + GOOD.replace("\n", "\n    ").rstrip() + "\n"), "line 11, column 5",
         "is the app of another job too (FILE, line 2"),
    Case("a mistake in the second job", "jobs:\n" + "".join(
        "  - " + t.replace("\n", "\n    ").rstrip() + "\n" for t in (GOOD, changed("demo", "b").replace("trials", "trils"))),
        "line 19, column 7", "jobs[1].budget.trils"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose admin cannot be reached: nothing here may ask for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MANY", "many")
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    model = "from rafiki.model import BaseModel\nclass Model(BaseModel): pass\n"
    for name, contents in {
        "rafiki.yaml": "admin: {port: 1}\n", "train.zip": "data", "val.zip": "other data", "empty.zip": "", "model.py": model,
        "broken.py": "class Model(:\n", "plain.py": "x = 1\n", "two.py": model + "class Other(BaseModel): pass\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(contents)
    (tmp_path / "folder").mkdir()
    return tmp_path


def run(folder: Path, text: str | bytes, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    (folder / "job.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    code = main(["run", "job.yaml", *options])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.about.replace(" ", "_"))
def test_a_malformed_job_file_gives_one_error_with_its_place(
    case: Case, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(folder, case.text, capsys)
    assert (code, out) == (ExitCode.USAGE, ""), err
    [line] = err.splitlines()
    place = f"job.yaml, {case.where}" if case.where else "job.yaml"
    assert re.match(rf"error: {re.escape(place)}(?!\d)", line), line
    assert case.says.replace("FILE", "job.yaml") in line
    assert not (folder / ".rafiki").exists()


def test_there_are_more_than_fifty_of_them() -> None:
    assert len({c.about for c in CASES}) == len(CASES) > 50


def test_the_good_one_is_good(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(folder, GOOD, capsys, "--validate")
    assert (code, out, err) == (ExitCode.OK, "", "job.yaml is valid: demo.\n")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("budget.trials", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("budget.trials=[", "not valid YAML"),
        ("train_args.x=2024-13-45", "read as a timestamp"),
        ("train_args.x=2024-12-24", "read as a timestamp"),
        ("train_args.x=!!timestamp x", ""),
        ("train_args.x=.nan", "no number to work with"),
        ("train_args.x=" + "[" * 5000, "nested too deeply"),
        ("budget.trails=3", "Did you mean 'trials'?"),
        ("models.5.name=x", "5 is no place in a list of 1"),
        ("models.name=x", "name is no place in a list"),
        ("app.name=x", "nothing can stand below that"),
        ("budget.trials=many", "whole number, not 'many'"),
        ("0.app=x", "counts in a list"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(
    setting: str, says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(folder, GOOD, capsys, "--set", setting)
    assert (code, out) == (ExitCode.USAGE, ""), err
    assert err.startswith(f"error: --set {setting}")
    assert says in err


@pytest.mark.parametrize("name", ["nothing.yaml", "folder"])
def test_a_job_file_that_cannot_be_read_is_named(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", name]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"error: {name}: ")


def test_a_good_one_asks_the_server(folder: Path, capsys: pytest.CaptureFixture[Any]) -> None:
    # What the others are told apart from: here the admin is missed.
    assert run(folder, GOOD, capsys)[0] in (ExitCode.UNREACHABLE, ExitCode.UNAUTHORIZED)
