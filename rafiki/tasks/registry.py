"""From a task's name to its rules. A task's module is loaded when the task is first asked for."""

from __future__ import annotations

from rafiki import registries
from rafiki.errors import RafikiError
from rafiki.registry import Registry, UnknownNameError
from rafiki.tasks.base import TaskSpec
from rafiki.tasks.custom import CustomTask

TASKS: Registry[TaskSpec] = Registry(registries.TASKS, TaskSpec)  # type: ignore[type-abstract]


def get_task(name: str) -> TaskSpec:
    """The rules of the task ``name``; a name that nobody registered is a custom task.

    Raises:
        RafikiError: when a package brings the task, and it cannot be used.
    """
    try:
        return TASKS.get(name)
    except UnknownNameError as e:
        # Taken for a custom task, its datasets and queries would go unchecked.
        if TASKS.is_broken(name):
            raise RafikiError(str(e)) from e
        return CustomTask(name)
