"""What real services write into their logs, in both formats."""

from __future__ import annotations

import json
from typing import Any

from support.services.started_services import Services, of_this_version
from support.stacks.running_stack import eventually

from rafiki.constants import ExitCode
from rafiki.data_store.folder import FolderDataStore
from rafiki.messages import InferenceWorkerSpec, ModelSource, TrainOrder, TrainWorkerSpec
from rafiki.model.knobs import FloatKnob, to_knob_specs
from rafiki.param_store.folder import FolderParamStore
from rafiki.settings import LoggingConfig
from rafiki.store_location import folder_location
from rafiki.utils.ids import new_id
from rafiki.utils.trial_output import find_output

JSON = LoggingConfig(format="json")
LOGS = "import logging\nlogging.getLogger('rafiki.test').info('ready')\nlogging.getLogger('library').info('unheard')\n"
MODEL = b"""
import logging, warnings
from rafiki.model import BaseModel, FloatKnob

logging.basicConfig(level=logging.INFO, format="%(name)s says %(message)s")

class M(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0)}

    def __init__(self, **knobs):
        pass

    def train(self, dataset_path, shared_params=None, **train_args):
        print("printed")
        logging.getLogger("model").info("logged")
        raise ValueError("no\\nluck")

    def evaluate(self, dataset_path):
        return 0.5

    def predict(self, queries):
        return queries

    def dump_parameters(self):
        return {}

    def load_parameters(self, params):
        if params:
            raise ValueError("not these")

    def destroy(self):
        raise RuntimeError("stays")
"""


def entries(services: Services, spec: Any) -> list[dict[str, Any]]:
    """The records in a service's log; lines of the model are passed over."""
    return [json.loads(line) for line in services.log(spec).splitlines() if line.startswith("{")]


def test_each_line_of_json_names_the_service_its_kind_and_its_job(services: Services) -> None:
    spec = services.script(LOGS, logging=JSON)
    assert services.run(spec) == 0
    [entry] = entries(services, spec)
    assert {k: entry[k] for k in ("level", "logger", "message", "service", "kind", "job", "trial")} == {
        "level": "INFO", "logger": "rafiki.test", "message": "ready", "service": spec.service_id, "kind": "script",
        "job": services.job_id, "trial": None,
    }  # fmt: skip


def test_lines_for_people_are_short(services: Services) -> None:
    spec = services.script(LOGS)
    assert services.run(spec) == 0
    [line] = services.log(spec).splitlines()
    assert line[20:] == "INFO    ready"


def test_the_level_of_the_settings_holds_in_services(services: Services) -> None:
    spec = services.script(LOGS, logging=LoggingConfig(level="warning"))
    assert services.run(spec) == 0
    assert services.log(spec) == ""


def test_an_unexpected_failure_is_one_line_of_json(services: Services) -> None:
    spec = services.script("1 / 0", logging=JSON)
    assert services.run(spec) == ExitCode.FAILURE
    [line] = services.log(spec).splitlines()
    entry = json.loads(line)
    assert entry["message"] == "unexpected: ZeroDivisionError: division by zero"
    assert 'File "script.py", line 1' in entry["traceback"]


def train_worker(services: Services, **fields: Any) -> TrainWorkerSpec:
    datasets = FolderDataStore(services.folder / "datasets")
    store_id = datasets.save([b"examples"]).store_id
    return TrainWorkerSpec(
        service_id=new_id(), job_id=services.job_id, cache=services.job, heartbeat_s=0.05, sub_train_job_id="sub",
        model=ModelSource(file=MODEL, model_class="M", name="m.py"), datasets=datasets.location,
        train_store_id=store_id, val_store_id=store_id, train_args={}, params=folder_location(services.folder),
        knob_config=to_knob_specs({"x": FloatKnob(0.0, 1.0)}), **fields,
    )  # fmt: skip


def run_a_trial(services: Services, spec: TrainWorkerSpec) -> None:
    services.send_orders(spec, TrainOrder("t", 12, 1, {"x": 0.5}))
    child = services.start(spec, "rafiki.worker.train")
    services.wait_for_log(spec, "no\\nluck" if spec.logging.format == "json" else "no\nluck")
    eventually(lambda: services.report(spec) == of_this_version(state="running"), "a heartbeat")
    child.terminate()
    assert child.wait(30) == 0


def test_what_a_trial_logs_names_it_and_the_models_own_lines_stay_as_they_are(services: Services) -> None:
    spec = train_worker(services, logging=JSON)
    run_a_trial(services, spec)
    lines = services.log(spec).splitlines()
    assert [line for line in lines if not line.startswith("{")] == ["printed", "model says logged"]
    begun, destroyed, failed = entries(services, spec)
    assert (begun["message"], begun["trial"]) == ("begins (attempt 1)", 12)
    assert find_output(lines, 12, 1, 10) == (["printed", "model says logged", json.dumps(destroyed)], 0)
    assert all(
        (e["kind"], e["trial"], e["logger"]) == ("train", 12, "rafiki.worker.train") for e in (destroyed, failed)
    )
    assert destroyed["message"] == "destroy() failed: RuntimeError: stays (line 34 of m.py, in destroy)"
    assert failed["message"].startswith("failed: ValueError: no")
    assert failed["traceback"].rstrip().endswith("ValueError: no\nluck")


def test_what_a_trial_logs_is_readable_as_text(services: Services) -> None:
    spec = train_worker(services)
    run_a_trial(services, spec)
    lines = services.log(spec).splitlines()
    assert lines[0][20:] == "INFO    trial 12: begins (attempt 1)"
    assert lines[1:3] == ["printed", "model says logged"]
    assert find_output(lines, 12, 1, 10) == (lines[1:4], 0)
    assert find_output(lines, 12, 2, 10) is None
    assert lines[3][20:] == "WARNING trial 12: destroy() failed: RuntimeError: stays (line 34 of m.py, in destroy)"
    assert lines[4][20:].startswith("WARNING trial 12: failed: ValueError: no")


def test_an_inference_worker_names_its_trial(services: Services) -> None:
    params_id = FolderParamStore(services.folder).save({"w": 1})
    spec = InferenceWorkerSpec(
        service_id=new_id(), job_id=services.job_id, cache=services.job, heartbeat_s=0.05, logging=JSON, trial_id="t",
        trial_no=12, task="CUSTOM", model=ModelSource(file=MODEL, model_class="M", name="m.py"), knobs={"x": 0.5},
        params=folder_location(services.folder), params_id=params_id, batch_size=8,
    )  # fmt: skip
    assert services.run(spec, "rafiki.worker.inference") != 0
    [entry] = entries(services, spec)
    assert (entry["level"], entry["kind"], entry["trial"]) == ("ERROR", "inference", 12)
    assert "not these" in entry["message"]
