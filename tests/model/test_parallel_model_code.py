# ruff: noqa: E501 - model code
"""What a model file defines can be used in processes that it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
from rafiki.model import BaseModel, FloatKnob


def square(i):
    return i * i


class Kept:
    def __init__(self, i):
        self.i = i


def keep(i):
    return Kept(i)


class Model(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0)}

    def train(self, dataset_path, shared_params=None, **train_args):
"""
TAIL = """
    def evaluate(self, dataset_path):
        return 0.5

    def predict(self, queries):
        return [1 for _ in queries]

    def dump_parameters(self):
        return {"a": 1}

    def load_parameters(self, params):
        pass
"""
BODIES = {
    "a spawn pool": "import multiprocessing\nwith multiprocessing.get_context('spawn').Pool(2) as pool: assert pool.map(square, range(4)) == [0, 1, 4, 9]",
    "a fork pool": "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool: assert pool.map(square, range(4)) == [0, 1, 4, 9]",
    "a forkserver": "import multiprocessing\nwith multiprocessing.get_context('forkserver').Pool(2) as pool: assert pool.map(square, range(4)) == [0, 1, 4, 9]",
    "an executor": "from concurrent.futures import ProcessPoolExecutor\nimport multiprocessing\nwith ProcessPoolExecutor(2, multiprocessing.get_context('spawn')) as pool: assert list(pool.map(square, range(4))) == [0, 1, 4, 9]",
    "objects of its classes": "import multiprocessing\nwith multiprocessing.get_context('spawn').Pool(2) as pool: assert [k.i for k in pool.map(keep, range(4))] == [0, 1, 2, 3]",
    "joblib": "from joblib import Parallel, delayed\nassert Parallel(n_jobs=2)(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]",
    "a search of scikit-learn": "import numpy as np\nfrom sklearn.linear_model import Ridge\nfrom sklearn.model_selection import GridSearchCV\nGridSearchCV(Ridge(), {'alpha': [1, 2]}, n_jobs=2, cv=2, scoring=lambda m, x, y: square(2)).fit(np.eye(8), np.arange(8))",
}  # fmt: skip
RUN = """
import sys
from rafiki.model.loader import load_model_class, load_model_class_from_path

if __name__ == "__main__":
    path, way = sys.argv[1:]
    load = load_model_class_from_path if way == "path" else lambda p, c: load_model_class(open(p, "rb").read(), c)
    load(path, "Model")(x=0.5).train("nothing")
    print("trained")
"""


@pytest.mark.parametrize("way", ["bytes", "path"])
@pytest.mark.parametrize("name", BODIES)
def test_processes_that_a_model_starts_find_what_its_file_defines(tmp_path: Path, name: str, way: str) -> None:
    if "joblib" in name or "scikit" in name:
        pytest.importorskip("sklearn")
    body = "\n".join(f"        {line}" for line in BODIES[name].splitlines())
    file, run = tmp_path / "my_model.py", tmp_path / "run.py"
    file.write_text(HEAD + body + "\n" + TAIL)
    run.write_text(RUN)
    done = subprocess.run(
        [sys.executable, str(run), str(file), way], capture_output=True, text=True, check=False, timeout=120,
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr[-2000:]
