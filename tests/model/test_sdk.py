import contextlib
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from rafiki.contract.train_jobs import LogMessage, LogPlot, TrialLogsView
from rafiki.errors import ModelError
from rafiki.model import BaseModel, logger, utils
from rafiki.model.logger import ModelLogger, TrialEndedEarly
from rafiki.model.logs import parse_logs


@pytest.fixture
def entries() -> Any:
    """What the logger of model code sends while the test runs."""
    found: list[dict[str, Any]] = []
    logger.set_sink(found.append)
    yield found
    logger.set_sink(None)


def test_every_published_name_can_be_imported_and_the_light_ones_bring_no_numpy() -> None:
    code = """
import sys
import rafiki.model.knobs, rafiki.model.logs, rafiki.model_check.knob_reader
from rafiki.model import (BaseModel, BaseKnob, FixedKnob, CategoricalKnob, IntegerKnob, FloatKnob, ArchKnob,
    PolicyKnob, KnobValue, KnobConfig, Knobs, Params, utils, logger, load_model_class,
    LoggerUtils, CategoricalValue, serialize_knob_config, deserialize_knob_config, parse_model_install_command)
utils.logger.log
assert not {'numpy', 'PIL'} & sys.modules.keys()
utils.dataset.load_images
import rafiki.model.logger
assert utils.logger is logger is rafiki.model.logger
from rafiki.model import CorpusDataset, DatasetUtils, ImageFilesDataset
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_model_works_with_and_without_calling_super() -> None:
    class With(BaseModel):
        def __init__(self, **knobs: Any) -> None:
            super().__init__(**knobs)

    class Without(BaseModel):
        def __init__(self, **knobs: Any) -> None:
            self.__dict__.update(knobs)

    for model in (With(a=1), Without(a=1)):
        model.destroy()
        model.teardown()


@pytest.mark.parametrize(
    ("method", "args"),
    [("train", ["x"]), ("evaluate", ["x"]), ("predict", [[]]), ("dump_parameters", []), ("load_parameters", [{}])],
)
def test_a_method_that_is_missing_is_named(method: str, args: list[Any]) -> None:
    class Half(BaseModel):
        pass

    with pytest.raises(ModelError, match=rf"Half does not define {method}\(\)"):
        getattr(Half(), method)(*args)
    with pytest.raises(ModelError, match=r"get_knob_config\(\)"):
        Half.get_knob_config()


def test_what_is_logged_reads_back_by_kind(entries: list[dict[str, Any]]) -> None:
    utils.logger.define_loss_plot()
    utils.logger.define_loss_plot()
    utils.logger.define_plot("Both", ["a", "b"])
    utils.logger.log("hello", a=1)
    utils.logger.log_loss(0.5, 2)
    logs = parse_logs(json.loads(json.dumps(entries)))
    assert [m.message for m in logs.messages] == ["hello"]
    assert [{k: v for k, v in m.items() if k != "time"} for m in logs.metrics] == [
        {"a": 1},
        {"loss": 0.5, "epoch": 2},
    ]
    assert logs.plots == [
        LogPlot(title="Loss over epochs", metrics=["loss"], x_axis="epoch"),
        LogPlot(title="Both", metrics=["a", "b"], x_axis=None),
    ]
    assert all(str(time).endswith("+00:00") for time in [logs.messages[0].time, *(m["time"] for m in logs.metrics)])


MESSAGE = {"type": "MESSAGE", "time": "t", "message": "hello"}
METRICS = {"type": "METRICS", "time": "t", "metrics": {"a": 1.0, "b": "nan"}}
PLOT = {"type": "PLOT", "title": "A", "metrics": ["a"], "x_axis": None}


@pytest.mark.parametrize(
    "broken",
    [
        {}, {"type": "OTHER"}, {"type": "PLOT"}, {**MESSAGE, "message": 3}, {**MESSAGE, "time": None},
        {**METRICS, "metrics": ["a"]}, {**METRICS, "metrics": {"a": [1]}}, {**METRICS, "metrics": {"a": None}},
        {**METRICS, "time": 3}, {**PLOT, "metrics": "a"}, {**PLOT, "metrics": [1]}, {**PLOT, "x_axis": 3},
    ],
    ids=str,
)  # fmt: skip
def test_an_entry_of_broken_form_is_left_out_alone(broken: dict[str, Any]) -> None:
    assert parse_logs([broken, MESSAGE, METRICS, PLOT, broken]) == TrialLogsView(
        messages=[LogMessage(time="t", message="hello")],
        metrics=[{"a": 1.0, "b": "nan", "time": "t"}],
        plots=[LogPlot(title="A", metrics=["a"], x_axis=None)],
    )


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (True, 1.0),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3.0),
        (np.array(0.25), 0.25),
        (np.array([0.25]), 0.25),
        (float("nan"), "nan"),
        (np.float32("-inf"), "-inf"),
        (10**400, "inf"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_every_kind_of_number_is_a_metric_that_json_can_hold(entries: list[Any], value: Any, kept: Any) -> None:
    logger.log(metric=value)
    assert entries[0]["metrics"] == {"metric": kept}
    json.dumps(entries, allow_nan=False)


@pytest.mark.parametrize("value", ["0.5", None, [1], np.array([1, 2]), 1j, np.str_("x")])
def test_a_metric_that_is_no_number_is_an_error_that_names_it(entries: list[Any], value: Any) -> None:
    with pytest.raises(ModelError, match="'metric' must be a number"):
        logger.log("text", metric=value)
    with pytest.raises(ModelError, match="'time' is recorded by itself"):
        logger.log(time=1)
    assert entries == []


def test_without_a_sink_readable_lines_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    own = ModelLogger()
    own.define_plot("Loss", ["loss"], "epoch")
    own.log("hello", loss=0.5, epoch=1)
    assert capsys.readouterr().out == "Plot 'Loss': loss over epoch\nhello\nloss=0.5, epoch=1.0\n"


def test_a_reported_score_is_logged_and_judged(entries: list[dict[str, Any]]) -> None:
    judged: list[tuple[float, float]] = []
    logger.set_stopping_check(lambda step, score: judged.append((step, score)))
    try:
        utils.logger.report_score(np.float32(0.5), 1)
        utils.logger.report_score(float("nan"), 2)
        utils.logger.report_score(score=0.75, step=np.int64(3))
    finally:
        logger.set_stopping_check(None)
    utils.logger.report_score(0.9, 4)
    assert judged == [(1.0, 0.5), (3.0, 0.75)]
    assert [e["metrics"] for e in entries] == [
        {"score": 0.5, "step": 1.0}, {"score": "nan", "step": 2.0}, {"score": 0.75, "step": 3.0},
        {"score": 0.9, "step": 4.0},
    ]  # fmt: skip
    for wrong in (("high", 1), (0.5, None)):
        with pytest.raises(ModelError, match="must be a number"):
            utils.logger.report_score(*wrong)


def test_no_except_of_model_code_keeps_a_hopeless_trial_going() -> None:
    logger.set_sink(lambda entry: None)
    logger.set_stopping_check(lambda step, score: "too low" if step > 1 else None)
    steps = []
    try:
        with pytest.raises(TrialEndedEarly) as end:
            for step in (1, 2, 3):
                steps.append(step)
                with contextlib.suppress(Exception):
                    utils.logger.report_score(0.1, step)
    finally:
        logger.set_stopping_check(None)
        logger.set_sink(None)
    assert (steps, end.value.reason) == ([1, 2], "too low")
