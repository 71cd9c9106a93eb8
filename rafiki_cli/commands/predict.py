"""``rafiki predict``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rafiki.errors import InvalidRunningInferenceJobError
from rafiki_cli import session, terminal
from rafiki_cli.lazy import new_app
from rafiki_cli.render.output import Format, FormatOption, put_data

app = new_app("Predictions.")
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif"}


@app.command()
def predict(
    app: Annotated[str | None, typer.Argument(help="A deployed app.")] = None,
    query: Annotated[str | None, typer.Option(help="One query, as JSON.")] = None,
    query_file: Annotated[Path | None, typer.Option(help="One query: a JSON file, or an image.")] = None,
    queries_file: Annotated[Path | None, typer.Option(help="A JSON file with a list of queries.")] = None,
    host: Annotated[str | None, typer.Option(help="HOST:PORT of a predictor, instead of an app.")] = None,
    version: Annotated[int, typer.Option("--version", help="Version of the app; -1 = the latest.")] = -1,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 30.0,
    format: FormatOption = Format.JSON,
) -> None:
    """Ask a deployed app, and print the prediction (or the list of them) as JSON."""
    from rafiki.client import PredictorClient

    if (app is None) == (host is None):
        raise terminal.UsageError("Name an app, or a predictor with --host HOST:PORT.")
    given = [o for o in (query, query_file, queries_file) if o is not None]
    if len(given) != 1:
        raise terminal.UsageError("Give one of --query, --query-file and --queries-file.")
    one = parse_json(query, "--query") if query is not None else read_query(query_file) if query_file else None
    many = read_query(queries_file) if queries_file else None
    if queries_file and not isinstance(many, list):
        raise terminal.UsageError(f"{queries_file}: this must hold a JSON list of queries.")
    with PredictorClient(host or _predictor_of(str(app), version), timeout_s=timeout) as predictor:
        put_data(predictor.predict(one) if many is None else predictor.predict_many(many), format)


def _predictor_of(app: str, version: int) -> str:
    job = session.client().get_running_inference_job(app, version)
    if not job["predictor_host"]:
        raise InvalidRunningInferenceJobError(f"The inference job of {app} still starts. Try again in a moment.")
    return str(job["predictor_host"])


def parse_json(text: str, where: str) -> Any:
    """JSON of an option or a file.

    Raises:
        UsageError: saying where it is wrong.
    """
    try:
        return json.loads(text)
    except ValueError as e:
        raise terminal.UsageError(f"{where}: this is not JSON: {e}. Texts need double quotes.") from e


def read_query(file: Path) -> Any:
    """The query in a file: JSON, or an image as a nested list of its RGB values, rows first.

    Raises:
        UsageError: when the file cannot be read as what its name says.
    """
    try:
        if file.suffix.lower() not in _IMAGES:
            return parse_json(file.read_text("utf-8"), str(file))
        return read_image(file)
    except (OSError, UnicodeDecodeError) as e:
        raise terminal.UsageError(f"{file}: this query cannot be read: {e}.") from e


def read_image(file: Path) -> list[Any]:
    import numpy as np
    from PIL import Image

    with Image.open(file) as image:
        pixels: list[Any] = np.asarray(image.convert("RGB")).tolist()
    return pixels
