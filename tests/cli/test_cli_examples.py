"""Every example of every --help works: all are run, at one stack that has what they name.

What an example cannot have here is put in its place (:data:`STANDS_FOR`). Examples that ask, do not end, or find what
earlier ones left are named in :class:`Special`, with the reason.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from support.data.image_zip import png
from support.oidc.provider import ProviderProcess, write_secret
from support.stacks.running_stack import RunningStack, eventually
from support.terminals.pseudo_terminal import PseudoTerminal
from support.tls.authority import Authority

from docs._generate.commands import Command, examples, walk
from rafiki.client import Client
from rafiki.utils.sockets import any_free_port
from rafiki_cli.main import main

pytestmark = pytest.mark.long

REPO = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
INTERRUPTED = 130

MODEL = '''
import time

import numpy as np
from rafiki.model import BaseModel, CategoricalKnob, FloatKnob, IntegerKnob, utils

class {name}(BaseModel):
    """A model that is quick, and answers as its task wants it."""

    @staticmethod
    def get_knob_config():
        return {{"C": FloatKnob(0.1, 100, is_exp=True), "kernel": CategoricalKnob(["linear", "rbf"]),
                "max_depth": IntegerKnob(1, 32)}}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs

    def train(self, dataset_path, shared_params=None, epochs=2, sleep_s=0, **train_args):
        time.sleep(sleep_s)
        utils.logger.define_loss_plot()
        for epoch in range(epochs):
            utils.logger.log_loss(1.0 / (1 + epoch), epoch)

    def evaluate(self, dataset_path):
        return 1 - 0.05 * abs(np.log(self._knobs["C"])) - 0.01 * (self._knobs["kernel"] == "rbf")

    def predict(self, queries):
        return [{prediction} for _ in queries]

    def dump_parameters(self):
        return {{"weights": np.arange(4.0)}}

    def load_parameters(self, params):
        pass
'''


@dataclass(frozen=True)
class Special:
    """How an example is run that cannot be run as it is. ``why`` says what is special."""

    why: str
    before: Sequence[str] = ()
    """Commands that are run first; they may fail, as when an earlier example did the same."""
    types: Sequence[str] = ()
    """What a person types, at a terminal."""
    shows: str = ""
    """What is waited for before Ctrl-C: it does not end by itself."""
    codes: Sequence[int] = (0,)
    folder: str = "."
    puts: tuple[str, str] = ("", "")
    """What stands in the example, and what is put in its place."""


NOT_DEPLOYED = ("infer stop digits",)
DEPLOYED = ("infer create digits",)
ONE_DEPLOYED = (*NOT_DEPLOYED, *NOT_DEPLOYED, *DEPLOYED)
HAS_ADA = ("user create ada@example.org --type MODEL_DEVELOPER --password-file password.txt",)
HAS_PROD = ("context add prod --host rafiki.example.org:3000",)
AS_ADA = (*HAS_ADA, "login ada@example.org --password-file password.txt")
OWNER = "superadmin@rafiki"
HAS_TOKEN = ("token create --name ci --expires 30d",)
HAS_ENVIRONMENT = ("model upload svm.py --task CUSTOM --name Lacking --dep no-such-package=1.0",)
PROJECT_MODEL = ("my_model", "project_decision_tree")
SLOW_JOB = "train create --app slow --train train --val val --model SkSvm --arg sleep_s=20"
WARNS = "it warns where this machine is short of something"
ASKS = "it asks"
NO_END = "it does not end by itself"
NO_ENGINE = "it asks a container engine; the Docker hosts of other tests get their images by these commands"
ONE_MACHINE = "the stack is on one machine; tests/acceptance/test_swarm.py has nodes to change"
HAS_BACKUP = ("backup create wine.tar --force --without-stores",)
RUNS = "the stack runs"
NOWHERE = "--engine unix:///nowhere.sock"
OWN_FOLDER = "it changes the folder it is in"
OWN_STACK = "it has a stack of its own"
QUICK = "fewer trials show the same"
AT_ONCE = "an app is deployed once at a time"

SPECIAL = {
    "rafiki init . --name my-app --force": Special(OWN_FOLDER, folder="other"),
    "rafiki template show svm > svm.py": Special("others upload a file of that name", folder="other"),
    "rafiki quickstart": Special(OWN_STACK, folder="first", puts=("quickstart", "quickstart --trials 2")),
    "rafiki quickstart --trials 6 --down": Special(OWN_STACK, folder="first", puts=("6", "2")),
    "rafiki run job.yaml --set budget.trials=20 --set advisor=tpe": Special(QUICK, puts=("20", "4")),
    "rafiki up": Special(OWN_STACK, folder="second"),
    "rafiki up --port 3001": Special(OWN_STACK, before=("down",), folder="second"),
    "rafiki up --foreground": Special(NO_END, before=("down",), shows="listens", folder="second"),
    "rafiki down": Special(OWN_STACK, before=("up",), folder="second"),
    "rafiki status --watch": Special(NO_END, shows="admin  127"),
    "rafiki doctor": Special(WARNS, codes=(0, 1)),
    "rafiki doctor --strict -o json": Special(WARNS, codes=(0, 1)),
    "rafiki --admin gpu1.example.org:3000 doctor": Special(WARNS, codes=(0, 1)),
    "rafiki logs admin --follow": Special(NO_END, shows="a"),
    "rafiki logs train demo/1": Special("another app is there", puts=("demo/1", "digits/1")),
    "rafiki login ada@example.org": Special(ASKS, before=HAS_ADA, types=(PASSWORD,)),
    "rafiki login ada@example.org --password-file password.txt": Special("ada is there", before=HAS_ADA),
    "rafiki --context prod login ada@example.org": Special(ASKS, before=(*HAS_ADA, *HAS_PROD), types=(PASSWORD,)),
    "rafiki --context prod login --oidc": Special("the context is there", before=HAS_PROD),
    "rafiki login --oidc --link ada@example.org": Special(ASKS, before=HAS_ADA, types=(PASSWORD,)),
    "rafiki model upload svm.py --task T --dep scikit-learn=1.5.2 --access PUBLIC": Special(
        "no network", puts=("=1.5.2", "=>=1")
    ),
    "rafiki model test models/my_model.py": Special("the model of a project", puts=PROJECT_MODEL),
    "rafiki model test models/my_model.py --knob max_depth=8 --arg epochs=2 --logs": Special(
        "the model of a project", puts=PROJECT_MODEL
    ),
    "rafiki image build": Special(NO_ENGINE, puts=("build", f"build {NOWHERE}"), codes=(1,)),
    "rafiki image build --name registry.example.org/rafiki:1": Special(
        NO_ENGINE, puts=("build", f"build {NOWHERE}"), codes=(1,)
    ),
    "rafiki image build --all --name registry.example.org/rafiki-all:1": Special(
        NO_ENGINE, puts=("build", f"build {NOWHERE}"), codes=(1,)
    ),
    "rafiki image push --name registry.example.org/rafiki:1": Special(
        NO_ENGINE, puts=("push", f"push {NOWHERE}"), codes=(1,)
    ),
    "rafiki image spread ssh://root@node2 ssh://root@node3": Special(
        NO_ENGINE, puts=("spread", f"spread {NOWHERE}"), codes=(1,)
    ),
    "rafiki node show node2": Special(ONE_MACHINE, puts=("node2", "local")),
    **{
        f"rafiki node {verb}": Special(ONE_MACHINE, codes=(3,))
        for verb in (
            "add",
            "add --role manager",
            "add --rotate",
            "drain node2",
            "drain node2 --no-wait",
            "activate node2",
            "remove node2",
            "remove node2 --force",
        )
    },
    "rafiki environment log 1f3a": Special("an environment is there", before=HAS_ENVIRONMENT),
    "rafiki environment log 1f3a --follow": Special("an environment is there", before=HAS_ENVIRONMENT),
    "rafiki environment remove 1f3a": Special(
        "no model depends on it", before=(*HAS_ENVIRONMENT, "model delete Lacking")
    ),
    "rafiki train titanic.csv --target survived": Special(
        "another test trains on it", puts=("survived", "survived --dry-run")
    ),
    "rafiki train prices.csv --target price --ignore id --time sold_on": Special(
        "another test trains on such a file",
        puts=("--ignore id --time sold_on", "--ignore rooms --time area --dry-run"),
    ),
    "rafiki train stop digits": Special("a job runs", before=(SLOW_JOB,), puts=("digits", "slow")),
    "rafiki infer create digits": Special(AT_ONCE, before=NOT_DEPLOYED),
    "rafiki infer create digits --ensemble greedy --size 5": Special(AT_ONCE, before=NOT_DEPLOYED),
    "rafiki infer create digits --version 2 --replicas 2": Special(AT_ONCE, before=NOT_DEPLOYED),
    "rafiki infer create digits --replicas 0..4 --idle 600": Special(AT_ONCE, before=NOT_DEPLOYED),
    "rafiki infer scale digits --max 4": Special("it is deployed", before=DEPLOYED),
    "rafiki infer scale digits --min 0 --max 4 --idle 600": Special("it is deployed", before=DEPLOYED),
    "rafiki infer scale digits --min 2 --max 2": Special("it is deployed", before=DEPLOYED),
    "rafiki infer create digits --replace-damaged": Special(AT_ONCE, before=NOT_DEPLOYED),
    "rafiki infer create digits --cache 10000": Special(AT_ONCE, before=NOT_DEPLOYED),
    "rafiki webhook test https://hooks.example.org/rafiki": Special("nobody is at that address", codes=(3,)),
    "rafiki infer create digits --latency-budget-ms 200": Special(AT_ONCE, before=NOT_DEPLOYED),
    "rafiki infer update digits": Special(AT_ONCE, before=ONE_DEPLOYED),
    "rafiki infer update digits --version 2 --canary 10% --rollback-errors 1%": Special(AT_ONCE, before=ONE_DEPLOYED),
    "rafiki infer update digits --shadow": Special(AT_ONCE, before=ONE_DEPLOYED),
    "rafiki infer update digits --ensemble greedy --size 5": Special(AT_ONCE, before=ONE_DEPLOYED),
    "rafiki infer promote digits": Special("it is updated", before=(*ONE_DEPLOYED, "infer update digits --canary 50%")),
    "rafiki infer rollback digits": Special("it is updated", before=(*ONE_DEPLOYED, "infer update digits --shadow")),
    "rafiki infer show digits": Special("it is deployed", before=DEPLOYED),
    "rafiki train create --app digits --train train --val val --trials 20": Special(
        "of digits others name trials", puts=("--app digits", "--app more")
    ),
    "rafiki train create -f job.yaml --try '{\"max_depth\": 8}' --arg epochs=3": Special(
        "one job of an app at a time", before=("train stop project",)
    ),
    "rafiki infer watch digits --count 10 -o jsonl > load.jsonl": Special("one a second", puts=("10", "2")),
    "rafiki infer watch digits": Special(NO_END, before=DEPLOYED, shows="digits"),
    "rafiki predict digits --query-file image.png": Special("it is deployed", before=DEPLOYED),
    'rafiki export titanic --trial "HistGradientBoostingClassifier#7"': Special(
        "there is a folder of that name already", before=("train list",), puts=("titanic", "titanic --force")
    ),
    "rafiki user create ada@example.org --type MODEL_DEVELOPER": Special(
        ASKS, types=(PASSWORD, PASSWORD), puts=("ada@", "eve@")
    ),
    "rafiki user password": Special(ASKS, before=AS_ADA, types=(PASSWORD, PASSWORD, PASSWORD)),
    "rafiki user password --old-password-file old.txt --password-file new.txt": Special("ada does", before=AS_ADA),
    "rafiki user password ada@example.org": Special(ASKS, before=HAS_ADA, types=(PASSWORD, PASSWORD)),
    "rafiki user ban bob@example.org": Special(ASKS, types=("y",)),
    "rafiki user ban bob@example.org --hand-over-to ada@example.org": Special(
        ASKS,
        before=(*HAS_ADA, "user create carl@example.org --password-file password.txt"),
        types=("y",),
        puts=("bob@", "carl@"),
    ),
    "rafiki user identity ada@example.org --subject 8f14e45f-ceea": Special("ada is there", before=HAS_ADA),
    "rafiki user identity ada@example.org --none": Special("ada is there", before=HAS_ADA),
    "rafiki train stop digits --user bob@example.org": Special("it is somebody's", puts=("bob@example.org", OWNER)),
    "rafiki infer stop digits --user bob@example.org": Special(
        "it is somebody's", before=DEPLOYED, puts=("bob@example.org", OWNER)
    ),
    "rafiki token revoke ci": Special("the token is there", before=HAS_TOKEN),
    "rafiki context use prod": Special("the context is there", before=HAS_PROD),
    "rafiki context show prod -o json": Special("the context is there", before=HAS_PROD),
    "rafiki context remove prod": Special("the context is there", before=HAS_PROD),
    "rafiki backup create /backups/wine.tar": Special("there is no such folder", puts=("/backups/", "")),
    "rafiki backup check wine.tar": Special("there is a backup", before=HAS_BACKUP),
    "rafiki restore wine.tar": Special(RUNS, before=HAS_BACKUP, codes=(3,)),
    "rafiki restore wine.tar --force": Special(RUNS, before=HAS_BACKUP, codes=(3,)),
    "rafiki restore wine.tar --into ~/wine": Special(
        "the home is in the project", before=HAS_BACKUP, puts=("~/wine", "../wine")
    ),
    "rafiki stop-all": Special(ASKS, types=("y",)),
    "source <(rafiki completion zsh)": Special("there may be no zsh", puts=("source", "cat")),
}
OWN_SETTINGS = ("config", "context", "completion")
"""Groups of commands whose examples change settings: they have a folder and a home of their own."""


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


class World:
    """A stack with what the examples name, in whose folder they are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Whose people agree to everything at once, each time somebody else.
        self.provider = ProviderProcess()
        self.provider.set(agrees=True, is_fresh=True)
        write_secret(folder)
        self.stack = RunningStack(
            folder,
            {"admin": {"allow_private_dataset_urls": True}, "oidc": self.provider.settings()},
            variables={"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull},
        )
        self.environ = {
            "HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder / "home" / ".config"), "COLUMNS": "100",
            "XDG_CACHE_HOME": str(folder / "home" / ".cache"), "XDG_DATA_HOME": str(folder / "home" / ".local"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(REPO), "SHELL": "/bin/bash",
            "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1", "DISPLAY": "", "WAYLAND_DISPLAY": "",
        }  # fmt: skip
        self.stands_for: dict[str, str] = {}
        self.site = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=REPO / "templates" / "samples"))
        Thread(target=self.site.serve_forever, daemon=True).start()

    # ---- what is there

    def write_files(self) -> None:
        folder = self.folder
        for name in ("bin", "data", "models", "old", "schemas", "first", "second", "other", "home", "settings"):
            (folder / name).mkdir()
        (folder / "home" / ".config" / "fish" / "completions").mkdir(parents=True)
        for name in ("train", "val"):
            _write_images(folder / "data" / f"{name}.zip", 40)
        for name in ("train.csv", "val.csv", "a.csv", "b.csv"):
            rows = [f"{40 + i},{1 + i % 5},{'north' if i % 2 else 'south'}" for i in range(60)]
            (folder / name).write_text("\n".join(["area,rooms,side", *rows]) + "\n")
        (folder / "prices.csv").write_text("area,rooms,price\n" + "".join(f"{i},{i % 4},{3 * i}\n" for i in range(60)))
        for name, columns in (("titanic.csv", "age,sex,survived"), ("visits.csv", "patient,age,fell_ill")):
            (folder / name).write_text(f"{columns}\n" + "".join(f"{i % 9},{i % 7},{i % 2}\n" for i in range(60)))
        (folder / "image.png").write_bytes(png(200))
        np.save(folder / "image.npy", np.zeros((8, 8, 3), np.uint8))
        (folder / "query.json").write_text("[[0, 1], [2, 3]]")
        (folder / "queries.json").write_text("[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]")
        for name in ("password.txt", "old.txt", "new.txt"):
            (folder / name).write_text(f"{PASSWORD}\n")
        for name, text in (
            ("my_model.py", model("MyModel")), ("models/my_model.py", model("MyModel")), ("svm.py", model("Svm")),
        ):  # fmt: skip
            (folder / name).write_text(text)
        (folder / "settings" / "rafiki.yaml").write_text("admin: {port: 3000}\n")
        Authority(folder / "settings", "lab")
        (folder / "settings" / "url.txt").write_text("sqlite:///other.db\n")
        for name in ("first", "second"):
            (folder / name / "rafiki.yaml").write_text(f"admin: {{port: {any_free_port()}}}\n")
        _write_program(folder / "bin" / "rafiki", f'exec {shlex.quote(sys.executable)} -m rafiki_cli "$@"')
        # What people have who write such lines; here it only has to be given JSON.
        lines = "import json, sys; [json.loads(line) for line in sys.stdin]"
        _write_program(folder / "bin" / "jq", f"exec {shlex.quote(sys.executable)} -c '{lines}'")
        project = subprocess.run(
            ["rafiki", "init", "project"], cwd=folder / "home", env={**os.environ, **self.environ}, check=True,
            capture_output=True,
        )  # fmt: skip
        assert project.returncode == 0
        for name in ("job.yaml", "models", "data", "tests"):
            source = folder / "home" / "project" / name
            shutil.copytree(source, folder / name, dirs_exist_ok=True) if source.is_dir() else shutil.copy(
                source, folder
            )
        # The model of a project loads scikit-learn, in every worker of its jobs; test_cli_init.py trains it.
        (folder / "models" / "project_decision_tree.py").write_text(model("ProjectDecisionTree", "[0.1] * 10"))

    def train(self) -> None:
        """The apps that the examples name, with trials of the numbers that they name."""
        client = self.stack.client()
        images = [
            client.create_dataset(n, "IMAGE_CLASSIFICATION", self.folder / f"data/{n}.zip")["id"]
            for n in ("train", "val")
        ]
        tables = [
            client.create_dataset(n, "TABULAR_CLASSIFICATION", self.folder / f"{n}.csv")["id"] for n in ("a", "b")
        ]
        prices = client.create_dataset("p", "TABULAR_REGRESSION", self.folder / "prices.csv")["id"]
        jobs = (
            ("digits", "IMAGE_CLASSIFICATION", images, "SkSvm", "[0.9, 0.1]", 2),
            ("titanic", "TABULAR_CLASSIFICATION", tables, "HistGradientBoostingClassifier", "[0.6, 0.4]", 7),
            ("houses", "TABULAR_REGRESSION", [prices, prices], "LinearRegressor", "3.0", 2),
        )
        for app, task, datasets, name, prediction, n in jobs:
            file = self.folder / "home" / f"{name}.py"
            file.write_text(model(name, prediction))
            made = client.create_model(name, task, file, name)
            assert made["load_error"] is None
            client.create_train_job(app, task, *datasets, {"MODEL_TRIAL_COUNT": n, "TIME_HOURS": 0.1}, [made["id"]])
        for access in ("PRIVATE", "PUBLIC", "PRIVATE"):
            client.create_model("wine", "T", self.folder / "svm.py", "Svm", None, access, existing_name="version")
        svm = next(m["id"] for m in client.get_available_models() if m["name"] == "SkSvm")
        # Versions of an app are trained one after the other.
        for apps in (("letters",), ("letters", "digits"), ("letters",)):
            for app in apps:
                if app == "digits":
                    self._wait(client, app)
                n = 10 if app == "digits" else 1
                client.create_train_job(app, "IMAGE_CLASSIFICATION", *images, {"MODEL_TRIAL_COUNT": n}, [svm])
            for app in apps:
                self._wait(client, app)
        for app in ("titanic", "houses"):
            self._wait(client, app)
        client.create_inference_job("houses")
        host = eventually(lambda: client.get_running_inference_job("houses")["predictor_host"], "a deployed app")
        trial = client.get_trials_of_train_job("digits")[2]["id"]
        self.stands_for = {
            "gpu1.example.org:3000": f"127.0.0.1:{self.stack.port}",
            "https://rafiki.example.org:443": f"http://127.0.0.1:{self.stack.port}",
            "rafiki.example.org:3000": f"127.0.0.1:{self.stack.port}",
            "localhost:41234 --query-file query.json": f"{host} --query '{{\"area\": 9}}'",
            "https://hooks.example.org": "http://127.0.0.1:9",
            "https://h.example.org": "http://127.0.0.1:9",
            "https://example.org/d.zip": f"http://127.0.0.1:{self.site.server_port}/sentences_train.zip",
            "5d0c7e2a": trial, "1b2c3d4e": trial, "3001": str(any_free_port()),
        }  # fmt: skip

    @staticmethod
    def _wait(client: Client, app: str) -> None:
        eventually(lambda: client.get_train_job(app)["status"] == "STOPPED", f"the end of {app}")

    # ---- running an example

    def check(self, group: str, example: str, capsys: pytest.CaptureFixture[str] | None = None) -> str:
        """Run one, in this process where that can be; what was wrong with it, or nothing."""
        special = SPECIAL.get(example, Special(""))
        folder = self.folder / ("settings" if group in OWN_SETTINGS else special.folder)
        if capsys is not None:
            # Logins and contexts of earlier examples are none of this one's.
            shutil.rmtree(self.folder / "home" / ".config" / "rafiki", ignore_errors=True)
            os.chdir(folder)
        before = [self._run(f"rafiki {self._put(line)}", folder, capsys)[1] for line in special.before]
        command = self._put(example, *special.puts)
        if special.types or special.shows:
            code, output = self._at_terminal(shlex.split(command)[1:], special, folder)
        else:
            code, output = self._run(command, folder, capsys)
        if code in (special.codes if not special.shows else (0, INTERRUPTED)):
            return ""
        return f"$ {example}\n({command}) ended with {code}:\n{output[-1500:]}\nbefore it:\n{''.join(before)}"

    def _put(self, text: str, old: str = "", new: str = "") -> str:
        text = text.replace(old, new, 1) if old else text
        for name, found in self.stands_for.items():
            text = text.replace(name, found)
        if "1f3a" in text:
            text = text.replace("1f3a", self.stack.client().get_environments()[0]["key"])
        return text

    def _run(self, command: str, folder: Path, capsys: pytest.CaptureFixture[str] | None) -> tuple[int, str]:
        if capsys is None or re.search(r"[|<>$]", command):
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True, check=False,
                timeout=120,
            )  # fmt: skip
            return done.returncode, done.stdout + done.stderr
        code = main(shlex.split(command)[1:])
        found = capsys.readouterr()
        return code, found.out + found.err

    def _at_terminal(self, arguments: list[str], special: Special, folder: Path) -> tuple[int, str]:
        terminal = PseudoTerminal(*arguments, columns=100, lines=40, folder=folder)
        try:
            for line in special.types:
                seen = len(terminal.raw)
                terminal.wait_for(
                    lambda text, seen=seen: len(terminal.raw) > seen and text.rstrip()[-1:] in ":]?", "a question"
                )
                terminal.type(f"{line}\n")
            if special.shows:
                terminal.wait_for(lambda text: special.shows in text, special.shows)
                terminal.interrupt()
            return terminal.wait(), terminal.text
        except AssertionError as e:
            return -1, str(e)
        finally:
            terminal.close()


def model(name: str, prediction: str = "[0.9, 0.1]") -> str:
    """The file of a model class of that name."""
    return MODEL.format(name=name, prediction=prediction)


def _write_images(file: Path, n: int) -> None:
    rows = [f"{i}.png,{i % 2}" for i in range(n)]
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(n):
            archive.writestr(f"{i}.png", png(6 * i))
        archive.writestr("images.csv", "\n".join(["path,class", *rows]) + "\n")


def _write_program(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def _all() -> list[tuple[Command, str]]:
    return [(command, example.partition("    # ")[0]) for command in walk() for example in examples(command)]


def _folder(example: tuple[Command, str]) -> str:
    return SPECIAL.get(example[1], Special("")).folder


def test_what_is_special_of_an_example_is_said_of_one_that_there_is() -> None:
    assert set(SPECIAL) <= {example for _, example in _all()}


@pytest.mark.timeout(600)
def test_every_example_of_every_help_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    world.write_files()
    world.stack.up()
    try:
        world.train()
        monkeypatch.chdir(tmp_path)
        for name in [n for n in os.environ if n.startswith("RAFIKI_")] + ["NO_COLOR"]:
            monkeypatch.delenv(name, raising=False)
        for name, value in world.environ.items():
            monkeypatch.setenv(name, value)
        apart = {folder: [e for e in _all() if _folder(e) == folder] for folder in ("first", "second")}
        with ThreadPoolExecutor() as pool:
            # Those with a stack of their own wait most of the time.
            others = [pool.submit(lambda es=es: [world.check("", e) for _, e in es]) for es in apart.values()]
            wrong = [world.check(c.path[0], e, capsys) for c, e in _all() if _folder((c, e)) not in apart]
            wrong += [fault for other in others for fault in other.result()]
    finally:
        monkeypatch.undo()
        for folder in ("first", "second"):
            subprocess.run(
                [sys.executable, "-m", "rafiki_cli", "down"], cwd=tmp_path / folder,
                env={**os.environ, **world.environ}, capture_output=True, check=False,
            )  # fmt: skip
        world.stack.down()
        world.provider.close()
        world.site.shutdown()
    assert not any(wrong), "\n\n".join(filter(None, wrong))
