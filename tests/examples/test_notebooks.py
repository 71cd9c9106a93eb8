"""The notebooks of examples/ run from their first cell to their last, in a project whose stack runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from support.stacks.running_stack import RunningStack

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(path.name for path in (ROOT / "examples").glob("*.ipynb"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A project with the examples in it, as a checkout is."""
    stack = RunningStack(tmp_path_factory.mktemp("project"))
    (stack.folder / "examples").mkdir()
    shutil.copytree(ROOT / "examples" / "data", stack.folder / "examples" / "data")
    shutil.copytree(ROOT / "templates" / "models", stack.folder / "templates" / "models")
    for name in NOTEBOOKS:
        shutil.copy(ROOT / "examples" / name, stack.folder / "examples" / name)
    stack.up()
    yield stack
    stack.down()


def texts_of(cell: Any) -> list[str]:
    """What a cell shows, as text."""
    found = [o["text"] if "text" in o else o["data"].get("text/plain", "") for o in cell["outputs"]]
    return ["".join(part) for part in found]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_its_first_cell_to_its_last(
    project: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    folder = project.folder / "examples"
    notebook = nbformat.read(folder / name, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute(env={**project.environment, "IPYTHONDIR": str(tmp_path / "ipython")})
    shown = [text for cell in notebook.cells if cell.cell_type == "code" for text in texts_of(cell)]
    # The stack of this very project, found without a word.
    assert any(f"it is the stack of {project.folder}" in text for text in shown)
    # The line of the wait, in its place: one output, which ends with the end.
    progress = [text for text in shown if text.startswith("titanic-notebook/1 ")]
    assert len(progress) == 1, progress
    assert re.match(r"titanic-notebook/1 COMPLETED: 6 of 6 trials, best score 0\.\d+ ", progress[0])
    accuracy = next(m[1] for text in shown if (m := re.search(r"took no part: (0\.\d+)", text)))
    assert float(accuracy) > 0.7


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs(name: str) -> None:
    notebook = nbformat.read(ROOT / "examples" / name, as_version=4)
    nbformat.validate(notebook)
    assert [c.id for c in notebook.cells if c.cell_type == "code" and (c.outputs or c.execution_count)] == []


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS
