"""The files of an export that are written for people, and its two scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rafiki.tasks.base import TaskSpec
from rafiki.tasks.registry import get_task
from rafiki_cli.export.manifest import Member
from rafiki_cli.render import values

if TYPE_CHECKING:
    from rafiki.contract.exports import ExportView

_SCRIPT = '''\
#!/usr/bin/env python3
"""{about}

    {example}
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# First of all: the copy of Rafiki in this folder goes before an installed one.
sys.path.insert(0, str(FOLDER))
sys.dont_write_bytecode = True

try:
    from rafiki.exported.{module} import main
except ModuleNotFoundError as e:
    sys.exit(f"error: the package {{e.name!r}} is not installed: pip install -r {{FOLDER}}/requirements.txt")

if __name__ == "__main__":
    sys.exit(main(FOLDER))
'''

PREDICT = _SCRIPT.format(
    about="Predict with the models in this folder: --query, --query-file, --queries-file, or a query a line on stdin.",
    example="python predict.py --query '...'",
    module="predict",
)
SERVE = _SCRIPT.format(
    about="Serve the models in this folder over HTTP: POST /predict and GET /.",
    example="python serve.py --port 8080",
    module="serve",
)

DOCKERFILE = """\
# docker build -t {image} . && docker run --rm -p 8080:8080 {image}
FROM python:{python}-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
RUN useradd --system app
USER app
EXPOSE 8080
CMD ["python", "serve.py", "--host", "0.0.0.0", "--port", "8080"]
"""


def _option(task: TaskSpec) -> str:
    """The option of `predict.py` that gives it a query of the task."""
    if task.sample_query is not None:
        return f"--query '{json.dumps(task.sample_query)}'"
    return f"--query-file {task.query_file}" if task.query_file is not None else "--query '...'"


def readme(view: ExportView, members: Sequence[Member]) -> str:
    """The export's README.md."""
    task = get_task(view.task)
    lines = [
        f"# {view.app}, version {view.app_version}",
        "",
        f"A trained ensemble for {task.name}, exported from Rafiki {view.rafiki_version}. The folder runs by "
        f"itself: neither Rafiki nor its stack is needed, but Python {view.python_version} and what "
        "requirements.txt lists.",
        "",
        "```console",
        "python -m venv .venv && .venv/bin/pip install -r requirements.txt",
        f".venv/bin/python predict.py {_option(task)}",
        ".venv/bin/python serve.py --port 8080",
        """curl localhost:8080/predict -d '{"query": ...}'""",
        "```",
        "",
        task.about_queries,
        "`predict.py` without an option reads one query a line from stdin. `serve.py` answers `POST /predict` "
        '(`{"query": ...}` or `{"queries": [...]}`) and `GET /`, as a predictor of Rafiki does. '
        "Or build the Dockerfile.",
        "",
        "| model | score | weight | knobs |",
        "|---|---|---|---|",
        *map(_row, members),
        "",
        "`manifest.json` tells all of it, with the SHA-256 of every file of a model; both scripts check them when they "
        "start. `rafiki/` is the part of Rafiki that the models run by. The models' files are code: run exports of "
        "people you trust.",
        "",
    ]
    return "\n".join(lines)


def _row(m: Member) -> str:
    cells = [_cell(m["name"]), values.score(m["score"]), f"{m['weight']:.1%}", _cell(values.knobs(m["knobs"]))]
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
