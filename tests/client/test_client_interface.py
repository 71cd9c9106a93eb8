"""The published client against a real stack, with model files as they are in the wild."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client, predict
from rafiki.constants import BudgetOption, InferenceBudgetOption, ModelAccessRight, UserType
from rafiki.errors import UnauthorizedError
from rafiki.model import load_model_class

ARGUMENTS = {
    # None: found, as test_finding_admin.py shows; localhost and 3000 where nothing names another.
    "__init__": "admin_host=None, admin_port=None",
    "login": "email, password",
    "logout": "",
    "get_current_user": "",
    "create_user": "email, password, user_type",
    "get_users": "",
    "ban_user": "email",
    "create_dataset": "name, task, dataset_path=None, dataset_url=None",
    "get_datasets": "task=None",
    "create_model": (
        "name, task, model_file_path, model_class, dependencies=None, access_right='PRIVATE', docker_image=None"
    ),
    "get_model": "model_id",
    "download_model_file": "model_id, out_model_file_path",
    "get_available_models": "task=None",
    "delete_model": "model_id",
    "create_train_job": "app, task, train_dataset_id, val_dataset_id, budget, models=None, train_args=None",
    "get_train_jobs_by_user": "user_id",
    "get_train_jobs_of_app": "app",
    "get_train_job": "app, app_version=-1",
    "stop_train_job": "app, app_version=-1",
    "get_trial": "trial_id",
    "get_best_trials_of_train_job": "app, app_version=-1, max_count=2",
    "get_trials_of_train_job": "app, app_version=-1",
    "get_trial_logs": "trial_id",
    "get_trial_parameters": "trial_id",
    "load_trial_model": "trial_id, ModelClass",
    "create_inference_job": "app, app_version=-1, budget=None",
    "get_inference_jobs_by_user": "user_id",
    "get_inference_jobs_of_app": "app",
    "get_running_inference_job": "app, app_version=-1",
    "stop_inference_job": "app, app_version=-1",
    "stop_all_jobs": "",
}


@pytest.mark.parametrize("method", ARGUMENTS)
def test_a_method_takes_its_published_arguments(method: str) -> None:
    takes = list(inspect.signature(getattr(Client, method)).parameters.values())[1:]
    wanted = list(inspect.signature(eval(f"lambda {ARGUMENTS[method]}: 0")).parameters.values())
    assert [p.name for p in takes[: len(wanted)]] == [p.name for p in wanted]
    for taken, published in zip(takes, wanted, strict=False):
        # What had to be given may be left out by now; what could be left out means what it meant.
        assert published.default in (inspect.Parameter.empty, taken.default), taken
        assert taken.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert all(p.default is not inspect.Parameter.empty for p in takes[len(wanted) :])


# Habits of model files in the wild, all in one; SUPER stands for a call of super().__init__(), or for none.
WILD = """
import argparse, base64, json, os, pickle

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from rafiki.model import BaseModel, CategoricalKnob, FixedKnob, IntegerKnob, utils
from rafiki.model.dev import test_model_class

print("importing a model")
SEEN = {"marks": None, "n_rows": 0}


def read(path):
    rows = [line.split(",") for line in open(path).read().split()]
    return np.array([[float(v) for v in row[:-1]] for row in rows]), np.array([int(row[-1]) for row in rows])


def mark(what):
    if SEEN["marks"]:
        open(os.path.join(SEEN["marks"], f"{what}-{os.getpid()}"), "a").write(".")


class Wild(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"max_depth": IntegerKnob(1, 8), "criterion": CategoricalKnob(["gini", "entropy"]), "seed": FixedKnob(7)}

    def __init__(self, **knobs):
        SUPER
        self.__dict__.update(knobs)
        self._clf = DecisionTreeClassifier(max_depth=self.max_depth, criterion=self.criterion, random_state=self.seed)

    def train(self, dataset_path, shared_params=None, marks=None, **train_args):
        print("training", train_args)
        SEEN["marks"] = marks
        self._args = dict(train_args, shared=shared_params)
        utils.logger.define_loss_plot()
        utils.logger.define_plot("Rows", ["rows", "columns"])
        x, y = read(dataset_path)
        SEEN["n_rows"] = len(x)
        utils.logger.log("fitting a tree", rows=np.int64(len(x)), columns=x.shape[1])
        self._clf.fit(x, y)
        utils.logger.log_loss(np.float32(0.25), 1)

    def evaluate(self, dataset_path):
        x, y = read(dataset_path)
        return np.mean(self._clf.predict(x) == y)

    def predict(self, queries):
        return list(self._clf.predict_proba(np.array(queries)))

    def dump_parameters(self):
        estimator = base64.b64encode(pickle.dumps(self._clf)).decode("utf-8")
        text = json.dumps({"args": self._args, "n_rows": SEEN["n_rows"]})
        nested = {"names": ["a", "b"], "raw": bytes([0, 255])}
        return {"estimator": estimator, "text": text, "marks": SEEN["marks"] or "", "depth": self.max_depth,
                "rate": 0.5, "nothing": None, "nested": nested,
                "weights": np.arange(6, dtype=np.float32).reshape(2, 3)}

    def load_parameters(self, params):
        self._clf = pickle.loads(base64.b64decode(params["estimator"].encode("utf-8")))
        SEEN["marks"] = params["marks"]

    def destroy(self):
        mark("destroy")

    @staticmethod
    def teardown():
        mark("teardown")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_path", default=None)
    args, _ = parser.parse_known_args()
    test_model_class(
        model_file_path=__file__, model_class="Wild", task="WILD", dependencies={}, train_dataset_path=args.data_path,
        val_dataset_path=args.data_path, train_args={"epochs": 3}, queries=[[0.0, 1.0]],
    )
"""
LIGHT = (MODELS / "tiny.py", "Tiny")
"""A model that is only to be there: it loads no scikit-learn."""
SUPER = {"with": "super().__init__(**knobs)", "without": "pass"}
DATA = "".join(f"{a}.0,{b}.0,{int(a > 4)}\n" for a in range(10) for b in range(3))
QUERIES = [[9.0, 0.0], [0.0, 1.0], [5.0, 2.0]]
EXPECTED = [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
TRAIN_ARGS = {"epochs": 3, "text": "ü", "nested": {"list": [1, 2.5, None, True]}}


def wild(which: str) -> str:
    return WILD.replace("SUPER", SUPER[which])


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack in which all jobs may be stopped."""
    running = RunningStack(tmp_path_factory.mktemp("interface"))
    running.up()
    yield running
    running.down()


class Life:
    """What each method of the client answered in the life of an app, by name."""

    def __init__(self, stack: RunningStack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.client = Client("127.0.0.1", stack.port)
        self.answers: dict[str, Any] = {}
        self.files = {which: folder / f"wild_{which}.py" for which in SUPER}
        for which, file in self.files.items():
            file.write_text(wild(which))
        (folder / "data.csv").write_text(DATA)
        (folder / "marks").mkdir()

    def do(self, method: str, *args: Any, **kwargs: Any) -> Any:
        self.answers[method] = getattr(self.client, method)(*args, **kwargs)
        return self.answers[method]


@pytest.fixture(scope="module")
def life(own_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    made = Life(own_stack, tmp_path_factory.mktemp("life"))
    do, root = made.do, own_stack.client()
    root.create_user(email="dev@rafiki", password="a password", user_type=UserType.MODEL_DEVELOPER)
    root.create_user("other@rafiki", "a password", UserType.MODEL_DEVELOPER)
    other = own_stack.client("other@rafiki", "a password")
    # Neither another user's private model nor one of another task is among the available ones.
    for task in ("WILD", "OTHER"):
        right = ModelAccessRight.PRIVATE if task == "WILD" else ModelAccessRight.PUBLIC
        other.create_model(f"theirs of {task}", task, *LIGHT, access_right=right)

    me = do("login", email="dev@rafiki", password="a password")
    do("get_current_user")
    data = do("create_dataset", "data", "WILD", dataset_path=made.folder / "data.csv")
    do("get_datasets", task="WILD")
    rights = {"with": ModelAccessRight.PUBLIC, "without": ModelAccessRight.PRIVATE}
    models = {w: do("create_model", w, "WILD", made.files[w], "Wild", {}, rights[w])["id"] for w in SUPER}
    do("get_model", models["with"])
    do("download_model_file", models["with"], out_model_file_path=made.folder / "copy.py")
    do("get_available_models", task="WILD")

    budget = {BudgetOption.MODEL_TRIAL_COUNT: 2, BudgetOption.TIME_HOURS: 0.1, BudgetOption.GPU_COUNT: 0}
    train_args = {**TRAIN_ARGS, "marks": str(made.folder / "marks")}
    do("create_train_job", "wild", "WILD", data["id"], data["id"], budget, train_args=train_args)
    eventually(lambda: do("get_train_job", "wild")["status"] in ("STOPPED", "ERRORED"), "the end of the job")
    do("stop_train_job", "wild")
    do("get_train_jobs_by_user", me["user_id"])
    do("get_train_jobs_of_app", "wild")
    do("get_trials_of_train_job", "wild")
    best = do("get_best_trials_of_train_job", "wild")[0]
    for method in ("get_trial", "get_trial_logs", "get_trial_parameters"):
        do(method, best["id"])
    do("load_trial_model", best["id"], load_model_class(wild(best["model_name"]), "Wild"))

    host = do("create_inference_job", "wild", budget={InferenceBudgetOption.GPU_COUNT: 0})["predictor_host"]
    made.answers["predict"] = predict(host, queries=QUERIES)
    do("get_inference_jobs_by_user", me["user_id"])
    do("get_inference_jobs_of_app", "wild")
    do("get_running_inference_job", "wild")
    do("stop_inference_job", "wild")

    unused = made.client.create_model("unused", "WILD", *LIGHT)
    do("delete_model", unused["id"])
    light = made.client.create_model("light", "WILD", *LIGHT)["id"]
    made.client.create_train_job("endless", "WILD", data["id"], data["id"], {"TIME_HOURS": 1}, [light])
    do("logout")
    made.client.login("superadmin@rafiki", (own_stack.root / "superadmin-password").read_text().strip())
    do("stop_all_jobs")
    do("create_user", "third@rafiki", "a password", "APP_DEVELOPER")
    do("ban_user", "third@rafiki")
    do("get_users")
    yield made
    made.client.close()


NAMED = "id app app_version"
JOB = f"{NAMED} status task train_dataset_id val_dataset_id train_args budget datetime_started datetime_stopped"
TRIAL = "id no worker_id proposal status score model_name is_params_saved datetime_started datetime_stopped"
DEPLOYED = f"{NAMED} status train_job_id datetime_started datetime_stopped predictor_host"
MODEL = "id user_id name task datetime_created dependencies access_right"
# The published fields of each answer, or of each item of a list.
FIELDS = {
    "login": "id user_id user_type token",
    "get_current_user": "id email user_type",
    "create_user": "id email user_type",
    "get_users": "id email user_type banned_date",
    "ban_user": "id email user_type banned_date",
    "create_dataset": "id name task size_bytes",
    "get_datasets": "id name task datetime_created size_bytes",
    "create_model": "id user_id name",
    "get_model": MODEL,
    "download_model_file": MODEL,
    "get_available_models": MODEL,
    "delete_model": "id user_id name",
    "create_train_job": NAMED,
    "get_train_jobs_by_user": JOB,
    "get_train_jobs_of_app": JOB,
    "get_train_job": JOB,
    "stop_train_job": NAMED,
    "get_trial": TRIAL,
    "get_best_trials_of_train_job": TRIAL,
    "get_trials_of_train_job": TRIAL,
    "get_trial_logs": "messages metrics plots",
    "create_inference_job": f"{NAMED} train_job_id predictor_host",
    "get_inference_jobs_by_user": DEPLOYED,
    "get_inference_jobs_of_app": DEPLOYED,
    "get_running_inference_job": DEPLOYED,
    "stop_inference_job": f"{NAMED} train_job_id",
    "stop_all_jobs": "train_jobs inference_jobs",
}
LISTS = {"get_users", "get_datasets", "get_available_models"} | {m for m in FIELDS if "trials_of" in m or "jobs_" in m}


@pytest.mark.parametrize("method", FIELDS)
def test_a_method_answers_with_plain_values_that_hold_its_published_fields(life: Life, method: str) -> None:
    answer = life.answers[method]
    assert isinstance(answer, list) == (method in LISTS)
    items = answer if isinstance(answer, list) else [answer]
    assert items
    for item in items:
        assert set(FIELDS[method].split()) <= set(item)
    assert json.loads(json.dumps(answer)) == answer


def test_every_method_but_the_constructor_was_called(life: Life) -> None:
    assert ARGUMENTS.keys() - life.answers.keys() == {"__init__"}


def test_after_logout_nobody_is_logged_in(life: Life) -> None:
    assert life.answers["logout"] is None
    client = Client("127.0.0.1", life.stack.port)
    client.login("dev@rafiki", "a password")
    client.logout()
    with pytest.raises(UnauthorizedError):
        client.get_datasets()


def test_without_models_a_job_trains_every_available_one_of_its_task(life: Life) -> None:
    assert sorted(m["name"] for m in life.answers["get_available_models"]) == ["with", "without"]
    assert life.answers["get_train_job"]["status"] == "STOPPED", life.stack.logs()
    trials = life.answers["get_trials_of_train_job"]
    # MODEL_TRIAL_COUNT is for each model.
    assert sorted(t["model_name"] for t in trials) == ["with"] * 2 + ["without"] * 2


def test_the_best_trials_are_two_unless_more_are_asked_for(life: Life) -> None:
    trials = life.answers["get_trials_of_train_job"]
    best = life.answers["get_best_trials_of_train_job"]
    assert len(best) == 2
    assert [t["score"] for t in best] == sorted((t["score"] for t in trials), reverse=True)[:2]
    client = life.stack.client("dev@rafiki", "a password")
    assert len(client.get_best_trials_of_train_job("wild", -1, 3)) == 3


@pytest.mark.parametrize("which", SUPER)
def test_a_model_with_the_habits_of_the_wild_trains(life: Life, which: str) -> None:
    trials = [t for t in life.answers["get_trials_of_train_job"] if t["model_name"] == which]
    assert [(t["status"], t["error"], t["score"]) for t in trials] == [("COMPLETED", None, 1.0)] * 2
    assert all(set(t["proposal"]["knobs"]) == {"max_depth", "criterion", "seed"} for t in trials)


def test_a_model_with_the_habits_of_the_wild_serves(life: Life) -> None:
    assert life.answers["predict"] == {"prediction": None, "predictions": EXPECTED}


def test_train_args_and_a_local_path_reach_the_model(life: Life) -> None:
    told = json.loads(life.answers["get_trial_parameters"]["text"])
    assert told["args"] == {**TRAIN_ARGS, "shared": None}
    assert told["n_rows"] == len(DATA.splitlines())


def test_the_model_of_a_trial_is_loaded_with_its_whole_state(life: Life) -> None:
    model = life.answers["load_trial_model"]
    assert type(model).__name__ == "Wild"
    assert model.max_depth == life.answers["get_trial"]["proposal"]["knobs"]["max_depth"]
    assert [p.tolist() for p in model.predict(QUERIES)] == EXPECTED


def test_the_parameters_of_a_trial_are_what_its_model_dumped(life: Life) -> None:
    params = life.answers["get_trial_parameters"]
    depth = life.answers["get_trial"]["proposal"]["knobs"]["max_depth"]
    assert (params["depth"], params["rate"], params["nothing"]) == (depth, 0.5, None)
    assert params["nested"] == {"names": ["a", "b"], "raw": b"\x00\xff"}
    np.testing.assert_array_equal(params["weights"], np.arange(6, dtype=np.float32).reshape(2, 3))


def test_parameters_are_downloaded_in_a_safe_format_that_any_reader_takes(life: Life, tmp_path: Path) -> None:
    client = life.stack.client("dev@rafiki", "a password")
    client.download_trial_parameters(life.answers["get_trial"]["id"], tmp_path / "params.safetensors")
    tensors = load_tensors((tmp_path / "params.safetensors").read_bytes())
    np.testing.assert_array_equal(tensors["weights"], np.arange(6).reshape(2, 3))


def test_before_a_login_nobody_is_the_current_user_and_a_login_answers_with_the_id(life: Life) -> None:
    client = Client("127.0.0.1", life.stack.port)
    assert client.get_current_user() is None
    answer = client.login("dev@rafiki", "a password")
    me = client.get_current_user()
    assert me is not None
    assert (answer["id"], answer["user_type"]) == (me["id"], me["user_type"]) == (answer["user_id"], "MODEL_DEVELOPER")
    client.logout()
    assert client.get_current_user() is None


def test_the_text_of_an_error_names_its_class(life: Life) -> None:
    client = Client("127.0.0.1", life.stack.port)
    # Each as scripts of the first generation match it.
    with pytest.raises(Exception, match="UnauthorizedError"):
        client.get_datasets()
    with pytest.raises(Exception, match="InvalidPasswordError"):
        client.login("dev@rafiki", "another password")
    client.login("dev@rafiki", "a password")
    with pytest.raises(Exception, match="InvalidTrainJobError") as caught:
        client.get_train_job("no such app")
    assert "(" not in caught.value.message  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="UserExistsError"):
        life.stack.client().create_user("dev@rafiki", "a password", UserType.MODEL_DEVELOPER)


def test_the_logs_of_a_trial_read_back_in_their_published_shape(life: Life) -> None:
    logs = life.answers["get_trial_logs"]
    assert [sorted(m) for m in logs["messages"]] == [["message", "time"]]
    assert logs["messages"][0]["message"] == "fitting a tree"
    without_time = [{k: v for k, v in m.items() if k != "time"} for m in logs["metrics"]]
    assert without_time == [{"rows": 30, "columns": 2}, {"loss": 0.25, "epoch": 1}]
    assert all(m["time"] for m in logs["metrics"])
    assert logs["plots"] == [
        {"title": "Loss over epochs", "metrics": ["loss"], "x_axis": "epoch"},
        {"title": "Rows", "metrics": ["rows", "columns"], "x_axis": None},
    ]


def test_a_model_file_is_downloaded_as_it_was_uploaded(life: Life) -> None:
    assert (life.folder / "copy.py").read_bytes() == life.files["with"].read_bytes()
    assert life.answers["download_model_file"] == life.answers["get_model"]


def test_what_was_stopped_is_named(life: Life) -> None:
    assert [j["app"] for j in life.answers["stop_all_jobs"]["train_jobs"]] == ["endless"]
    assert life.stack.client("dev@rafiki", "a password").get_train_job("endless")["status"] == "STOPPED"


def test_each_instance_and_each_process_of_a_model_is_cleaned_up(life: Life) -> None:
    marks = life.folder / "marks"

    def found(what: str) -> dict[str, int]:
        return {f.name.partition("-")[2]: len(f.read_text()) for f in marks.glob(f"{what}-*")}

    # A train worker for each of the two models, and an inference worker for the best trial of each.
    eventually(lambda: len(found("teardown")) == 4, "the clean-up of four processes")
    assert sorted(found("destroy").values()) == [1, 1, 2, 2]
    assert found("destroy").keys() == found("teardown").keys()
    assert set(found("teardown").values()) == {1}


@pytest.mark.parametrize("which", SUPER)
def test_a_model_file_of_the_wild_runs_itself(tmp_path: Path, which: str) -> None:
    file, data = tmp_path / "wild.py", tmp_path / "data.csv"
    file.write_text(wild(which))
    data.write_text(DATA)
    command = [sys.executable, str(file), f"--data_path={data}", "--max_depth=3", "--MODEL_TRIAL_COUNT=2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert done.stdout.count("max_depth=3") == 2
    assert "Prediction: [1.0, 0.0]" in done.stdout
