"""From a task's name to its rules. A task's module is loaded when the task is first asked for."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import cast

from rafiki.constants import Task
from rafiki.tasks.base import TaskSpec
from rafiki.tasks.custom import CustomTask

_CLASSES = {
    Task.IMAGE_CLASSIFICATION: ("image_classification", "ImageClassificationTask"),
    Task.POS_TAGGING: ("pos_tagging", "PosTaggingTask"),
    Task.TABULAR_CLASSIFICATION: ("tabular", "TabularClassificationTask"),
    Task.TABULAR_REGRESSION: ("tabular", "TabularRegressionTask"),
    Task.SPEECH_RECOGNITION: ("speech_recognition", "SpeechRecognitionTask"),
}


@lru_cache(maxsize=256)
def get_task(name: str) -> TaskSpec:
    """The rules of the task ``name``; a name of no known task is a custom task."""
    home = _CLASSES.get(Task(name)) if name in list(Task) else None
    if home is None:
        return CustomTask(name)
    module = importlib.import_module(f"rafiki.tasks.{home[0]}")
    return cast(TaskSpec, getattr(module, home[1])())
