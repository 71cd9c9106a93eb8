"""Completion: what the shells ask, what they are answered, and that a real bash completes with it."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.advisor.rules import RULES
from rafiki.advisor.schemes import AUTO, SCHEMES
from rafiki.constants import ExitCode, Task
from rafiki.settings import Config
from rafiki.utils.clock import Deadline
from rafiki_cli.completion import completers
from rafiki_cli.completion.shell import SHELLS, split_line
from rafiki_cli.main import RafikiGroup

REPO = Path(__file__).parents[2]
JOBS = [
    {"app": "digits", "app_version": 2, "status": "RUNNING"},
    {"app": "digits", "app_version": 1, "status": "STOPPED"},
    {"app": "house prices", "app_version": 1, "status": "ERRORED"},
]
TRIALS = [
    {"model_name": "SkDt", "no": 1, "score": 0.91234, "status": "COMPLETED"},
    {"model_name": "SkSvm", "no": 12, "score": None, "status": "RUNNING"},
]


@pytest.fixture
def known(logged_in, server: ContractServer):
    """Logged in at a server that has something to complete."""
    server.answers |= {
        "get_train_jobs_by_user": JOBS,
        "get_trials_of_train_job": TRIALS,
        "get_inference_jobs_by_user": [{"app": "digits", "app_version": 1, "status": "RUNNING"}],
        "get_datasets": [{"name": n, "task": "T"} for n in ("train", "val", "train")],
        "get_available_models": [{"name": n, "task": "T"} for n in ("SkDt", "SkSvm")],
        "get_users": [
            {"email": "ada@example.org", "user_type": "ADMIN", "banned_date": None},
            {"email": "bad@example.org", "user_type": "ADMIN", "banned_date": "2025-01-01T00:00:00Z"},
        ],
        "get_environments": [{"key": "1f3a", "requirements": ["numpy==2.0"]}],
        "get_api_tokens": [{"name": "ci", "datetime_expires": "2099-01-01T00:00:00Z"}],
    }
    return logged_in


@pytest.fixture
def values(cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What the last of some words may become, as fish and zsh are told."""

    def ask(*words: str) -> list[str]:
        with monkeypatch.context() as m:
            m.setenv("_RAFIKI_COMPLETE", "zsh")
            result = cli(*words)
        assert (result.code, result.err) == (0, "")
        kind, *lines = result.out.splitlines()
        if kind == "files":
            return ["FILES"]
        assert kind == "values"
        return [line.partition("\t")[0] for line in lines]

    yield ask


# ---- the words of the command line itself


def test_commands_and_sub_commands_are_completed(values) -> None:
    assert values("") == list(RafikiGroup.modules())
    assert values("tr") == ["train", "trial"]
    assert {"create", "list", "watch"} <= set(values("train", ""))
    assert values("train", "cr") == ["create"]
    assert values("tran", "") == values("train", "nothing", "") == []


def test_options_are_completed_and_flags_take_no_value(values) -> None:
    assert "--trials" in values("train", "create", "--tr")
    assert {"--context", "--quiet", "--output"} <= set(values("train", "list", "--"))
    assert values("up", "--foreground", "--por") == ["--port"]
    assert "--help" in values("train", "--h")


def test_choices_are_completed(values) -> None:
    assert values("train", "list", "-o", "js") == ["json", "jsonl"]
    assert values("train", "list", "--output=ya") == ["--output=yaml"]
    assert values("infer", "create", "digits", "--ensemble", "") == ["best", "mean", "greedy"]
    assert values("user", "create", "a@b", "--type", "mo") == ["MODEL_DEVELOPER"]
    assert values("completion", "") == list(SHELLS)


def test_files_are_left_to_the_shell(values) -> None:
    assert values("train", "create", "-f", "jo") == ["FILES"]
    assert values("dataset", "upload", "") == ["FILES"]
    assert values("--config", "") == ["FILES"]
    assert values("run", "") == ["FILES"]


def test_what_nobody_knows_is_completed_by_nothing(values) -> None:
    assert values("dataset", "upload", "x.zip", "--name", "") == []
    assert values("--admin", "") == []
    assert values("version", "") == []


def test_names_that_this_machine_knows_are_completed_without_a_server(values, cli, folder: Path) -> None:
    cli("context", "add", "prod", "--host", "127.0.0.1:1")
    cli("context", "use", "prod")
    assert values("--context", "") == values("context", "use", "") == ["local", "prod"]
    assert values("--context=p") == ["--context=prod"]
    assert values("dataset", "upload", "x.zip", "--task", "POS") == [Task.POS_TAGGING]
    assert values("config", "set", "admin.po") == ["admin.port"]
    assert values("template", "show", "image_classification/s") == ["image_classification/svm"]
    (folder / ".rafiki" / "logs").mkdir(parents=True)
    (folder / ".rafiki" / "logs" / "admin.log").touch()
    assert values("logs", "") == ["admin"]


def test_the_lists_kept_here_are_those_of_the_engine() -> None:
    assert {name for name, _ in completers.schemes()} == {AUTO, *SCHEMES.names()}
    assert {name for name, _ in completers.rules()} == {AUTO, *RULES.names()}
    names = {name for name, _ in completers.settings()}
    sections = Config.__struct_fields__
    assert {name.partition(".")[0] for name in names} == set(sections)


# ---- names that the server knows


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "show", ""], ["digits", "house prices"]),
        (["train", "list", "d"], ["digits"]),
        (["train", "show", "digits", "--version", ""], ["2", "1"]),
        (["train", "create", "--app", "ho"], ["house prices"]),
        (["train", "create", "--train", ""], ["train", "val"]),
        (["train", "create", "--model", "SkS"], ["SkSvm"]),
        (["train", "create", "--app=dig"], ["--app=digits"]),
        (["dataset", "show", "v"], ["val"]),
        (["model", "delete", ""], ["SkDt", "SkSvm"]),
        (["trial", "show", "dig"], ["digits"]),
        (["trial", "show", "digits", ""], ["SkDt#1", "SkSvm#12"]),
        (["trial", "logs", "digits", "--version", "1", "SkS"], ["SkSvm#12"]),
        (["infer", "stop", ""], ["digits"]),
        (["predict", ""], ["digits"]),
        (["user", "ban", ""], ["ada@example.org"]),
        (["environment", "remove", "1f3a", ""], ["1f3a"]),
        (["token", "revoke", ""], ["ci"]),
        (["--quiet", "train", "-v", "show", "dig"], ["digits"]),
    ],
)
def test_names_of_the_server_are_completed(known, values, words: list[str], expected: list[str]) -> None:
    assert values(*words) == expected


def test_trials_are_those_of_the_app_and_version_on_the_line(known, values, server: ContractServer) -> None:
    values("trial", "show", "digits", "--version", "1", "")
    request = server.calls[-1].request
    assert (request.app, request.app_version) == ("digits", 1)


def test_a_name_is_told_with_a_word_about_it(known, cli, monkeypatch) -> None:
    monkeypatch.setenv("_RAFIKI_COMPLETE", "fish")
    assert cli("trial", "show", "digits", "").out == "values\nSkDt#1\t0.9123\nSkSvm#12\trunning\n"


def test_an_answer_is_used_again_for_some_seconds(known, values, server: ContractServer, monkeypatch, folder) -> None:
    def asked() -> int:
        return sum(c.name == "get_datasets" for c in server.calls)

    assert values("dataset", "show", "") == ["train", "val"]
    assert values("dataset", "show", "t") == ["train"]
    assert asked() == 1
    kept = list((folder / "cache" / "rafiki").rglob("*.json"))
    assert [f.stat().st_mode & 0o777 for f in kept] == [0o600]
    assert "secret" not in kept[0].read_text()
    later = time.time() + completers.FRESH_S + 1
    monkeypatch.setattr(completers.time, "time", lambda: later)
    assert values("dataset", "show", "t") == ["train"]
    assert asked() == 2


def test_another_login_sees_its_own_names(known, values, server: ContractServer, monkeypatch) -> None:
    assert values("dataset", "show", "t") == ["train"]
    server.answers["get_datasets"] = [{"name": "theirs", "task": "T"}]
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_other")
    assert values("dataset", "show", "t") == ["theirs"]
    assert server.calls[-1].token == "rfk_other"


def test_without_a_login_nothing_is_asked(cli, values, server: ContractServer, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text(f"admin: {{port: {server.port}}}\n")
    assert values("train", "show", "") == []
    assert server.calls == []


@pytest.mark.parametrize("answer", [{"error": "nonsense"}, "text", [], [{}], [None]])
def test_whatever_a_server_answers_the_prompt_stays_silent(known, values, server, answer: Any) -> None:
    server.answers["get_train_jobs_by_user"] = json.dumps(answer).encode()
    assert values("train", "show", "") == []


def test_a_server_that_is_down_or_damaged_settings_stay_silent(known, values, server, folder: Path) -> None:
    (folder / "rafiki.yaml").write_text("admin: {port: 1}\n")
    assert values("train", "show", "") == []
    (folder / "rafiki.yaml").write_text("admin: [")
    assert values("train", "show", "") == []
    assert values("--config", "none.yaml", "train", "show", "") == []
    assert values("--context", "none", "train", "show", "") == []


@pytest.fixture
def slow_port() -> Iterator[int]:
    """A server that sends one byte now and then, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.2):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    stop.set()
    listener.close()
    thread.join(10)


def test_a_slow_server_is_not_waited_for(cli, values, slow_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFIKI_HOST", f"127.0.0.1:{slow_port}")
    monkeypatch.setenv("RAFIKI_TOKEN", "rfk_x")
    # Without a deadline of its own this would never end: each byte comes well within the socket's time-out.
    assert values("train", "show", "") == []


# ---- bash


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rafiki ", (["rafiki"], "", False)),
        ("rafiki tr", (["rafiki"], "tr", False)),
        ("rafiki train show 'house pr", (["rafiki", "train", "show"], "house pr", True)),
        ("rafiki train show house\\ pr", (["rafiki", "train", "show"], "house pr", False)),
        ('rafiki --context "', (["rafiki", "--context"], "", True)),
        ("rafiki trial show digits SkSvm#1", (["rafiki", "trial", "show", "digits"], "SkSvm#1", False)),
        ("rafiki user ban ada@ex", (["rafiki", "user", "ban"], "ada@ex", False)),
    ],
)
def test_a_line_is_taken_apart_as_bash_does(line: str, expected: tuple[list[str], str, bool]) -> None:
    assert split_line(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rafiki tra", ["train"]),
        ("rafiki train show ", ["digits", "house\\ prices"]),
        ("rafiki train show house\\ ", ["house\\ prices"]),
        ("rafiki train show 'house", ["house prices"]),
        # Bash takes words apart at = and @, and replaces the last part only.
        ("rafiki train create --app=dig", ["digits"]),
        ("rafiki user ban ada@ex", ["@example.org"]),
        ("rafiki trial show digits SkSvm#", ["SkSvm#12"]),
        ("rafiki train create -f ", "files"),
    ],
)
def test_bash_is_answered_with_what_it_can_put_in_the_place_of_its_word(
    known, cli, monkeypatch: pytest.MonkeyPatch, line: str, expected: Any
) -> None:
    monkeypatch.setenv("_RAFIKI_COMPLETE", "bash")
    monkeypatch.setenv("COMP_LINE", f"{line} and what follows")
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    monkeypatch.setenv("COMP_WORDBREAKS", " \t\n\"'@><=;|&(:")
    out = cli().out.splitlines()
    assert out == (["files"] if expected == "files" else ["values", *expected])


@pytest.fixture
def path_with_rafiki(tmp_path: Path) -> Path:
    """A folder for PATH with a ``rafiki`` of this checkout."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "rafiki").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rafiki_cli "$@"\n')
    (folder / "rafiki").chmod(0o755)
    return folder


def _environment(path: Path) -> dict[str, str]:
    more = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **more}


BASH_DRIVER = """\
source <(rafiki completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
compopt() { echo "compopt $*"; }
_rafiki_completion rafiki "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
complete -p rafiki
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [("rafiki inf", "infer"), ("rafiki train show dig", "digits"), ("rafiki train create -f x", "compopt -o default")],
)
def test_a_real_bash_completes(known, path_with_rafiki: Path, line: str, expected: str) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH_DRIVER, "driver", line], env=_environment(path_with_rafiki), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split("\n")[0] == expected, done.stderr
    assert "complete -F _rafiki_completion rafiki" in done.stdout
    assert done.stderr == ""


def test_a_person_at_a_real_bash_gets_whole_words(known, path_with_rafiki: Path) -> None:
    # What the shell runs in the end counts, not how it redraws the line: other questions are told back.
    script = path_with_rafiki / "rafiki"
    is_question = '[ -n "$_RAFIKI_COMPLETE" ] || [ "$1" = completion ]'
    lines = script.read_text().splitlines()
    script.write_text(f"{lines[0]}\n{is_question} || {{ printf '<%s>' \"$@\"; echo; exit; }}\n{lines[1]}\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("bash", ["bash", "--norc", "-i"], {**_environment(path_with_rafiki), "PS1": "", "TERM": "dumb"})

    def type_and_see(text: str, expected: str) -> None:
        shown = b""
        os.write(terminal, text.encode())
        deadline = Deadline(60)
        while expected.encode() not in shown and not deadline.is_over():
            if select.select([terminal], [], [], 0.5)[0]:
                shown += os.read(terminal, 4096)
        assert expected.encode() in shown, shown

    try:
        type_and_see("source <(rafiki completion bash); echo rea''dy\n", "ready")
        type_and_see("rafiki train show dig\t\n", "<train><show><digits>")
        type_and_see("rafiki train show hou\t\n", "<train><show><house prices>")
        type_and_see("rafiki train show 'hou\t\n", "<train><show><house prices>")
        type_and_see("rafiki user ban ada@ex\t\n", "<user><ban><ada@example.org>")
        type_and_see("rafiki train create --app=dig\t\n", "<train><create><--app=digits>")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed here")
def test_a_real_fish_completes(known, path_with_rafiki: Path) -> None:
    code = "rafiki completion fish | source; complete -C 'rafiki train show '; complete -C 'rafiki user ban a'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", code],
        env=_environment(path_with_rafiki),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "digits\tversion 2, running", "house prices\tversion 1, errored", "ada@example.org\tADMIN",
    ], done.stderr  # fmt: skip


ZSH_DRIVER = """\
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; TERM=dumb; source <(rafiki completion zsh); echo re''ady"
zpty -r shell seen '*ready*'
zpty -w -n shell $'rafiki train show dig\\t\\n'
zpty -r shell seen "*$1*" && print -r -- "$seen"
"""


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed here")
def test_a_real_zsh_completes(known, path_with_rafiki: Path) -> None:
    done = subprocess.run(
        ["zsh", "-f", "-c", ZSH_DRIVER, "driver", "show digits"], env=_environment(path_with_rafiki),
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert "rafiki train show digits" in done.stdout, done.stderr


# ---- the scripts and their installation


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_each_shell_is_printed_alone(cli, shell: str) -> None:
    result = cli("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert f"_RAFIKI_COMPLETE={shell}" in result.out


def test_the_shell_is_that_of_the_environment_if_left_out(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert cli("completion").out == cli("completion", "fish").out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert cli("completion").code == ExitCode.USAGE
    assert cli("completion", "tcsh").code == ExitCode.USAGE


@pytest.mark.parametrize(("shell", "start_file"), [("bash", ".bashrc"), ("zsh", ".zshrc")])
def test_installing_twice_adds_one_line_to_the_start_file(
    cli, folder: Path, monkeypatch: pytest.MonkeyPatch, shell: str, start_file: str
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / start_file).write_text("alias ll='ls -l'")
    first = cli("completion", shell, "--install")
    script = folder / "data" / "rafiki" / f"completion.{shell}"
    assert (first.code, first.out) == (0, "")
    assert str(script) in first.err
    assert str(folder / start_file) in first.err
    text = (folder / start_file).read_text()
    assert text == f"alias ll='ls -l'\n\n# Completion of rafiki\n[ -r {script} ] && . {script}\n"
    assert script.read_text().strip() == cli("completion", shell).out.strip()
    again = cli("completion", shell, "--install")
    assert again.code == 0
    assert start_file not in again.err
    assert (folder / start_file).read_text() == text


def test_fish_needs_no_start_file(cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert cli("completion", "fish", "--install").code == 0
    assert "__rafiki_complete" in (folder / "config" / "fish" / "completions" / "rafiki.fish").read_text()
    assert not (folder / ".bashrc").exists()


def test_a_place_that_cannot_be_written_is_a_clear_error(cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", "/proc/nowhere")
    result = cli("completion", "bash", "--install")
    assert result.code == ExitCode.USAGE
    assert "cannot be written" in result.err
    assert not (folder / ".bashrc").exists()


# ---- every command


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "importance", ""], ["digits", "house prices"]),
        (["train", "best", "digits", "--version", ""], ["2", "1"]),
        (["trial", "plot", "dig"], ["digits"]),
    ],
)
def test_a_command_without_completers_of_its_own_is_completed_by_the_names_of_its_parameters(
    known, values, words: list[str], expected: list[str]
) -> None:
    assert values(*words) == expected


def test_answering_a_shell_loads_no_heavy_library(known, path_with_rafiki: Path) -> None:
    heavy = ("httpx", "sqlalchemy", "pydantic", "rich", "numpy")
    code = (
        "import sys\nfrom rafiki_cli.main import main\nmain(['train', 'show', 'd'])\n"
        f"print([m for m in {heavy!r} if m in sys.modules])\n"
    )
    environment = {**_environment(path_with_rafiki), "_RAFIKI_COMPLETE": "zsh"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["digits\tversion 2, running", "[]"]
    assert done.stderr == ""


def test_completing_the_first_word_loads_no_command(path_with_rafiki: Path) -> None:
    code = (
        "import sys\nfrom rafiki_cli.main import main\nmain(['tr'])\n"
        "print([m for m in sys.modules if m.startswith('rafiki_cli.commands.')])\n"
    )
    environment = {**_environment(path_with_rafiki), "_RAFIKI_COMPLETE": "zsh"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["values", "train", "trial", "[]"]
