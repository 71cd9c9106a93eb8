"""``rafiki predict``."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.errors import InvalidRunningInferenceJobError, RafikiError
from rafiki.utils.npy import NpyError, NpyHeader, read_header, split_first_axis
from rafiki.utils.values import JsonValue
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.completion.arguments import VersionOption
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render.output import Format, put_data
from rafiki_cli.target import resolve, session

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.client.trust import Trust

app = new_app("Predictions.")
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif"}
_REASONS = {
    "shed": "not asked: it would have been too late",
    "late": "too late",
    "absent": "no worker serves it",
    "failed": "its predict() failed",
}
"""Why a member is left out, as people are told."""


@app.command(
    epilog=examples(
        "rafiki predict digits --query-file image.png",
        "rafiki predict digits --query-file image.npy",
        'rafiki predict houses --query \'{"area": 96, "rooms": 4}\'',
        "rafiki predict digits --queries-file queries.json -o json",
        "rafiki predict --host localhost:41234 --query-file query.json",
    )
)
def predict(
    cli: Application,
    app: Annotated[str | None, typer.Argument(help="A deployed app.", autocompletion=completers.served_apps)] = None,
    query: Annotated[str | None, typer.Option(help="One query, as JSON.")] = None,
    query_file: Annotated[Path | None, typer.Option(help="One query: a JSON file, an image, or an npy array.")] = None,
    queries_file: Annotated[
        Path | None,
        typer.Option(help="A file of queries: a JSON list, an npy array (along its first axis), or npz arrays."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="HOST:PORT of a predictor, instead of an app.")] = None,
    version: VersionOption = -1,
    key_file: Annotated[
        Path | None,
        typer.Option(help="A file that holds a key, where one is asked for. [default: RAFIKI_KEY]"),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the whole answer.")] = 30.0,
    format: Annotated[
        Format | None,
        typer.Option(
            "--output", "-o", help="table, json, jsonl or yaml: the whole answer. The prediction alone if left out."
        ),
    ] = None,
) -> None:
    """Ask a deployed app, and print the prediction (or the list of them) as JSON."""
    from rafiki.client.prediction import BriefPredictorClient

    terminal.check_number("--timeout", timeout)
    if (app is None) == (host is None):
        raise terminal.UsageError("Name an app, or a predictor with --host HOST:PORT.")
    given = [o for o in (query, query_file, queries_file) if o is not None]
    if len(given) != 1:
        raise terminal.UsageError("Give one of --query, --query-file and --queries-file.")
    if queries_file and queries_file.suffix.lower() in _IMAGES:
        raise terminal.UsageError(f"{queries_file}: an image is one query. Give it with --query-file.")
    if host:
        session.parse_address(host, "--host", "a predictor")
    array = _read_npy(query_file)[0] if query_file and query_file.suffix.lower() == ".npy" else None
    one = parse_json(query, "--query") if query is not None else None
    if query_file and array is None:
        one = read_query(query_file)
    many = read_queries(queries_file) if queries_file else None
    client = cli.client() if app is not None else None
    address = host or _predictor_of(client, app, version)
    with BriefPredictorClient(address, timeout_s=timeout, trust=_trust(cli, host), key=_key(key_file)) as predictor:
        if many is not None:
            answer = predictor.ask_raws(many)
        else:
            answer = predictor.post({"query": one}) if array is None else predictor.ask_raw(array)
    answer.setdefault("left_out", [])
    if format is Format.TABLE:
        for prediction in [answer["prediction"]] if many is None else answer["predictions"]:
            terminal.put(prediction_text(prediction))
    else:
        alone = answer["prediction"] if many is None else answer["predictions"]
        put_data(alone if format is None else answer, format or Format.JSON)
    if answer["left_out"]:
        reasons = answer.get("left_out_reasons", {})
        names = ", ".join(
            _name_of(client, trial_id) + (f" ({_REASONS[why]})" if (why := reasons.get(trial_id)) in _REASONS else "")
            for trial_id in answer["left_out"]
        )
        they = "these members" if len(answer["left_out"]) > 1 else "this member"
        terminal.warn(
            f"Without {names}: {they} of the ensemble took no part. See `rafiki infer show` and `rafiki logs`."
        )


def _key(file: Path | None) -> str | None:
    from rafiki.user_environment import key_from_environment

    return key_from_environment() if file is None else terminal.read_password("Key", file, False)


def _trust(cli: Application, host: str | None) -> Trust | None:
    """Of the app's admin; of a predictor that is named, what the command line and the environment say."""
    from rafiki.client.trust import told_trust

    return cli.target().trust if host is None else told_trust(cli.options.ca)


def _name_of(client: AdminClient | None, trial_id: str) -> str:
    """Model and number of a trial where they can be looked up."""
    if client is not None:
        with contextlib.suppress(RafikiError):
            return f"{resolve.trial_name(client.get_trial(trial_id))} (trial {trial_id})"
    return f"trial {trial_id}"


def prediction_text(prediction: JsonValue) -> str:
    """A prediction in one line; of a list of probabilities the most probable class first."""
    text = json.dumps(prediction, ensure_ascii=False)
    if not isinstance(prediction, list) or len(prediction) < 2:
        return text
    shares = [p for p in prediction if isinstance(p, (int, float)) and 0 <= p <= 1]
    if len(shares) < len(prediction) or abs(sum(shares) - 1) > 0.01:
        return text
    best = max(range(len(shares)), key=shares.__getitem__)
    return f"class {best}  {shares[best]:.4f}  of {' '.join(f'{p:.4f}' for p in shares)}"


def _predictor_of(client: AdminClient | None, app: str | None, version: int) -> str:
    if client is None or app is None:
        raise terminal.UsageError("Name an app, or a predictor with --host HOST:PORT.")
    job = client.get_running_inference_job(app, resolve.served_version(client, app, version))
    if not job.predictor_host:
        raise InvalidRunningInferenceJobError(f"The inference job of {app} still starts. Try again in a moment.")
    return str(job.predictor_host)


def parse_json(text: str, where: str) -> JsonValue:
    """JSON of an option or a file.

    Raises:
        UsageError: saying where it is wrong.
    """
    try:
        value: JsonValue = json.loads(text)
    except ValueError as e:
        from rafiki.utils.json_text import why_not_json

        raise terminal.UsageError(f"{where}: this is not JSON: {why_not_json(text)}. Texts need double quotes.") from e
    return value


def read_query(file: Path) -> JsonValue:
    """The query in a file: JSON, or an image as a nested list of its RGB values, rows first.

    Raises:
        UsageError: when the file cannot be read as what its name says.
    """
    try:
        if file.suffix.lower() not in _IMAGES:
            return parse_json(terminal.read_text(file, "this query"), str(file))
        terminal.check_file(file)
        return read_image(file)
    except OSError as e:
        raise terminal.UsageError(f"{file}: this image cannot be read: {e.strerror or 'it is damaged'}.") from e


def read_queries(file: Path) -> list[bytes]:
    """The queries in a file, as they travel: those of a JSON list, the parts of an array (npy) along its first axis, or
    the arrays of an npz file.

    Raises:
        UsageError: when the file cannot be read, or holds something else.
    """
    match file.suffix.lower():
        case ".npy":
            data, header = _read_npy(file)
            try:
                return list(split_first_axis(data, header))
            except NpyError as e:
                raise terminal.UsageError(f"{file}: this array holds no queries: {e}.") from e
        case ".npz":
            return _read_npz(file)
    found = read_query(file)
    if not isinstance(found, list):
        raise terminal.UsageError(f"{file}: this must hold a JSON list of queries.")
    return [json.dumps(query).encode() for query in found]


def _read_npy(file: Path) -> tuple[bytes, NpyHeader]:
    terminal.check_file(file)
    try:
        data = file.read_bytes()
        return data, read_header(data)
    except OSError as e:
        raise terminal.UsageError(f"{file}: this array cannot be read: {e.strerror}.") from e
    except NpyError as e:
        raise terminal.UsageError(f"{file}: this array cannot be read: {e}.") from e


def _read_npz(file: Path) -> list[bytes]:
    import zipfile

    terminal.check_file(file)
    try:
        with zipfile.ZipFile(file) as archive:
            arrays = [archive.read(info) for info in archive.infolist()]
        for array in arrays:
            read_header(array)
    except (OSError, zipfile.BadZipFile, NpyError, RuntimeError) as e:
        raise terminal.UsageError(f"{file}: these arrays cannot be read: {e}.") from e
    return arrays


def read_image(file: Path) -> list[JsonValue]:
    import numpy as np
    from PIL import Image

    from rafiki.data.images import as_seen

    with Image.open(file) as image:
        pixels: list[JsonValue] = np.asarray(as_seen(image).convert("RGB")).tolist()
    return pixels
