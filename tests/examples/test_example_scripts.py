"""The scripts of examples/, run as their users run them: from a command line, against a running stack."""

from __future__ import annotations

import importlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.data.spoken_digits import write_few
from support.data.task_files import real_data
from support.stacks.running_stack import MODELS, RunningStack

from rafiki.client import Client
from rafiki.constants import ExitCode
from rafiki.utils.sockets import any_free_port

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "common")
SUPERADMIN = "superadmin@rafiki"
SCRIPT_TIMEOUT_S = 600


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack for the scripts alone: one of them stops the jobs of everyone."""
    # One thread a worker: threads of several tests that wait for each other on few cores take ten times as long.
    running = RunningStack(
        tmp_path_factory.mktemp("stack"),
        {"container": {"pass_environment": ["OMP_NUM_THREADS"]}},
        variables={"OMP_NUM_THREADS": "1"},
    )
    running.up()
    yield running
    running.down()


def start_script(
    stack: RunningStack, name: str, *options: object, password: str | None = None
) -> subprocess.Popen[str]:
    """The script as a process of its own; as the superadmin, whose password is in the environment."""
    password = password or (stack.root / "superadmin-password").read_text().strip()
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--port", str(stack.port), *map(str, options)],
        env={**stack.environment, "RAFIKI_PASSWORD": password}, cwd=stack.folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run_script(
    stack: RunningStack, name: str, *options: object, password: str | None = None
) -> subprocess.CompletedProcess[str]:
    with start_script(stack, name, *options, password=password) as script:
        try:
            output, errors = script.communicate(timeout=SCRIPT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            script.kill()
            raise
    return subprocess.CompletedProcess(script.args, script.returncode, output, errors)


def output_of(stack: RunningStack, name: str, *options: object) -> str:
    """What the script printed; it ended well."""
    done = run_script(stack, name, *options)
    assert (done.returncode, done.stderr) == (ExitCode.OK, ""), f"{done.stdout}\n{stack.logs()}"
    print(done.stdout)
    return done.stdout


def score_in(output: str, name: str) -> float:
    found = re.search(rf"^{name}: (-?[\d.]+) \(", output, re.MULTILINE)
    assert found is not None, output
    return float(found[1])


def is_idle(client: Client) -> bool:
    """Whether nothing that a script deployed still runs."""
    return not [j for j in client.get_inference_jobs_by_user() if j["status"] in ("STARTED", "RUNNING")]


def test_quickstart_serves_digits_stops_and_can_be_run_again_with_the_models_that_are_there(
    stack: RunningStack,
) -> None:
    first = output_of(stack, "quickstart", "--trials", 4, "--app", "again")
    assert len(re.findall(r"^  \S+ #\d+ score ", first, re.MULTILINE)) == 8
    assert score_in(first, "accuracy") >= 0.9
    assert is_idle(stack.client())
    second = output_of(stack, "quickstart", "--trials", 1, "--app", "again")
    assert [re.findall(r"training version (\d+) of again", output) for output in (first, second)] == [["1"], ["2"]]
    models = [model["name"] for model in stack.client().get_available_models("IMAGE_CLASSIFICATION")]
    assert sorted(name.split("-")[0] for name in models) == ["SkDt", "SkSvm"]


@pytest.mark.parametrize(
    ("script", "data", "options", "score", "mark"),
    [
        ("image_classification", None, ["--trials", 5], "accuracy", 0.9),
        ("tabular_classification", "titanic.csv", ["--trials", 6], "accuracy", 0.76),
        ("tabular_regression", "concrete.csv", ["--trials", 6], "R2", 0.8),
        ("pos_tagging", "ud_ewt_train_4000.tsv", ["--trials", 3], "accuracy", 0.85),
    ],
)
def test_a_task_goes_from_raw_data_to_a_score(
    stack: RunningStack, script: str, data: str | None, options: list[object], score: str, mark: float
) -> None:
    data_options = ["--data", real_data(data)] if data else []
    output = output_of(stack, script, *data_options, *options)
    assert score_in(output, score) >= mark
    assert is_idle(stack.client())


# A network is trained on recordings of sound: on a busy machine that takes minutes.
@pytest.mark.timeout(SCRIPT_TIMEOUT_S + 60)
@pytest.mark.usefixtures("torch")
def test_speech_goes_from_recordings_to_a_word_error_rate(stack: RunningStack, tmp_path: Path) -> None:
    n_takes = 26
    output = output_of(stack, "speech_recognition", "--data", write_few(tmp_path, n_takes), "--quick")
    assert len(re.findall(r"^  heard '[a-z ]*', said '[a-z]+'$", output, re.MULTILINE)) == 4 * n_takes
    assert score_in(output, "word error rate") <= 0.5


def test_administration_shows_roles_stops_jobs_and_leaves_nobody_with_access(
    stack: RunningStack, tmp_path: Path
) -> None:
    client = stack.client()
    (tmp_path / "data.txt").write_text("x")
    dataset = client.create_dataset("d", "CUSTOM", tmp_path / "data.txt")["id"]
    model = client.create_model("tiny", "CUSTOM", MODELS / "tiny.py", "Tiny")["id"]
    # Trials that take no time would keep the machine busy meanwhile.
    client.create_train_job(
        "endless", "CUSTOM", dataset, dataset, {"TIME_HOURS": 1}, [model], train_args={"sleep_s": 600}
    )
    output = output_of(stack, "administration")
    assert "APP_DEVELOPER uploads one: refused (UnauthorizedError" in output
    assert "MODEL_DEVELOPER: refused (UnauthorizedError" in output
    assert "ADVISOR of endless" in output
    assert output.count("logs in: refused") == 3
    assert client.get_train_job("endless")["status"] in ("STARTED", "RUNNING")
    output = output_of(stack, "administration", "--stop-all-jobs")
    assert re.search(r"stopped [1-9]\d* train jobs and \d+ inference jobs", output)
    assert client.get_train_job("endless")["status"] == "STOPPED"
    assert [u["email"] for u in client.get_users() if u["banned_date"] is None] == [SUPERADMIN]


@pytest.mark.parametrize(
    ("script", "options", "password", "code", "why"),
    [
        ("quickstart", [], "wrong", ExitCode.UNAUTHORIZED, "password"),
        ("administration", [], "wrong", ExitCode.UNAUTHORIZED, "password"),
        ("quickstart", ["--password-file", "absent.txt"], None, ExitCode.FAILURE, "absent.txt"),
        ("quickstart", ["--port", any_free_port()], None, ExitCode.UNREACHABLE, "rafiki up"),
        ("quickstart", ["--hours", 1e-5], None, ExitCode.FAILURE, "give it more --hours"),
        ("image_classification", ["--data", "absent"], None, ExitCode.FAILURE, "absent"),
        ("tabular_classification", ["--data", "absent.csv"], None, ExitCode.FAILURE, "absent.csv"),
        ("tabular_regression", ["--data", "rafiki.yaml"], None, ExitCode.FAILURE, "rafiki.yaml"),
        ("pos_tagging", ["--data", "rafiki.yaml"], None, ExitCode.FAILURE, "line 1"),
        ("speech_recognition", ["--data", "absent.zip"], None, ExitCode.FAILURE, "absent.zip"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(
    stack: RunningStack, script: str, options: list[object], password: str | None, code: ExitCode, why: str
) -> None:
    done = run_script(stack, script, *options, password=password)
    assert done.returncode == code, done.stderr
    assert re.fullmatch(rf"error: .*{re.escape(why)}.*\n", done.stderr)


def test_the_password_may_be_in_a_file(stack: RunningStack) -> None:
    file = stack.root / "superadmin-password"
    done = run_script(stack, "quickstart", "--password-file", file, "--trials", 0, password="wrong")
    assert done.stdout.startswith(f"logged in as {SUPERADMIN}")


def test_an_interrupted_script_stops_its_train_job(stack: RunningStack) -> None:
    with start_script(stack, "quickstart", "--app", "interrupted", "--trials", 1_000_000) as script:
        assert script.stdout is not None
        assert script.stderr is not None
        for line in script.stdout:
            if re.search(r"#\d+ score ", line):
                script.send_signal(signal.SIGINT)
                break
        assert script.wait(60) == ExitCode.INTERRUPTED
        assert script.stderr.read() == "error: interrupted\n"
    assert stack.client().get_train_job("interrupted")["status"] == "STOPPED"


def test_a_template_whose_library_is_absent_says_what_to_install(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    common = importlib.import_module("common")
    (tmp_path / "needy.py").write_text("import absent_library\n")
    template = common.Template(tmp_path / "needy.py", "Needy", {"numpy": ">=1.26"})
    client = stack.client()
    with pytest.raises(common.ExampleError, match=r"absent_library.* needs numpy>=1.26"):
        common.upload_model(client, "CUSTOM", template)
    assert "Needy" not in str(client.get_available_models("CUSTOM"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_in_the_readme_and_tells_its_options(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{script}.py"), "--help"], capture_output=True, text=True, check=True
    )
    options = set(re.findall(r"--[a-z][a-z-]*", done.stdout))
    assert {"--host", "--port", "--email", "--password-file"} <= options
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if line.startswith(f"python examples/{script}.py")]
    assert commands
    for command in commands:
        assert set(re.findall(r"--[a-z][a-z-]*", command)) <= options
