"""The files of an export that are written for people, and its two scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rafiki_cli.render import values

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

_QUERIES = {
    "IMAGE_CLASSIFICATION": "--query-file image.png",
    "POS_TAGGING": """--query '["The", "cat", "sleeps", "."]'""",
    "TABULAR_CLASSIFICATION": """--query '{"feature": 1.5, "other": "a"}'""",
    "TABULAR_REGRESSION": """--query '{"feature": 1.5, "other": "a"}'""",
    "SPEECH_RECOGNITION": "--query-file recording.json",
}
_FORMS = {
    "IMAGE_CLASSIFICATION": "A query is an image: nested lists of RGB values, rows first. A prediction is one "
    "probability a class.",
    "POS_TAGGING": "A query is a sentence: a list of tokens. A prediction is one tag (a number) a token.",
    "TABULAR_CLASSIFICATION": "A query is an object of feature -> value; a feature that is left out is missing. A "
    "prediction is one probability a class.",
    "TABULAR_REGRESSION": "A query is an object of feature -> value; a feature that is left out is missing. A "
    "prediction is a number.",
    "SPEECH_RECOGNITION": "A query is a wav file as base64 text (in a JSON string). A prediction is a text.",
}


def readme(view: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> str:
    """The export's README.md."""
    task = view["task"]
    query = _QUERIES.get(task, "--query '...'")
    lines = [
        f"# {view['app']}, version {view['app_version']}",
        "",
        f"A trained ensemble for {task}, exported from Rafiki {view['rafiki_version']}. The folder runs by itself: "
        f"neither Rafiki nor its stack is needed, but Python {view['python_version']} and what requirements.txt lists.",
        "",
        "```console",
        "python -m venv .venv && .venv/bin/pip install -r requirements.txt",
        f".venv/bin/python predict.py {query}",
        ".venv/bin/python serve.py --port 8080",
        """curl localhost:8080/predict -d '{"query": ...}'""",
        "```",
        "",
        _FORMS.get(task, "Queries and predictions are JSON values, of a form that the models alone define."),
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


def _row(m: Mapping[str, Any]) -> str:
    cells = [_cell(m["name"]), values.score(m["score"]), f"{m['weight']:.1%}", _cell(values.knobs(m["knobs"]))]
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
