"""``predict.py`` of an export: queries from an option, a file or stdin; predictions as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from rafiki.constants import ExitCode
from rafiki.data.images import as_seen
from rafiki.errors import InvalidQueryError, RafikiError
from rafiki.exported.ensemble import Answer, Ensemble
from rafiki.predictor.array_bodies import read_arrays
from rafiki.utils.json_text import why_not_json
from rafiki.utils.logs import set_up_logging
from rafiki.utils.values import JsonValue

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif"}
_BATCH_SIZE = 64
_MOST_QUERIES, _MOST_BYTES = 1 << 24, 1 << 40


def main(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """Predict as the command line says; returns the exit code."""
    options = _parser(folder).parse_args(arguments)
    set_up_logging("messages", runs_model_code=True)
    try:
        if options.query is not None:
            return _one(folder, options.query.encode(), "--query")
        if options.query_file is not None:
            return _one(folder, _read(options.query_file), str(options.query_file))
        if options.queries_file is not None:
            return _many(folder, options.queries_file)
        return _lines(folder)
    except RafikiError as e:
        sys.stderr.write(f"error: {e.message}\n")
        return e.exit_code
    except BrokenPipeError:
        # Whoever read the predictions has gone.
        sys.stderr.close()
        return ExitCode.FAILURE


def _parser(folder: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="predict.py",
        description=f"Predict with the models in {folder.name}. Without an option, each line of stdin is one query "
        "as JSON, and each line of stdout the prediction for it.",
    )
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--query", help="one query, as JSON")
    given.add_argument("--query-file", type=Path, help="one query: a JSON file, an image, or an npy array")
    given.add_argument(
        "--queries-file", type=Path, help="queries: a JSON list, an npy array (along its first axis), or npz arrays"
    )
    return parser


def _one(folder: Path, query: bytes, where: str) -> int:
    if not where.lower().endswith(".npy"):
        _check_json(query, where)
    [answer] = Ensemble(folder).answer([query])
    if answer.error is not None:
        raise answer.error
    _put(answer)
    _warn(answer.left_out)
    return ExitCode.OK


def _many(folder: Path, file: Path) -> int:
    queries = _read_queries(file)
    ensemble = Ensemble(folder)
    answers = [a for part in _parts(iter(queries)) for a in ensemble.answer(part)]
    for i, answer in enumerate(answers):
        if answer.error is not None:
            raise type(answer.error)(f"Query {i}: {answer.error.message}")
    sys.stdout.write("[" + ",".join((a.prediction or b"null").decode() for a in answers) + "]\n")
    _warn(sorted({trial_id for a in answers for trial_id in a.left_out}))
    return ExitCode.OK


def _read_queries(file: Path) -> list[bytes]:
    if file.suffix.lower() in (".npy", ".npz"):
        try:
            return read_arrays(_read(file), is_batch=True, most_queries=_MOST_QUERIES, most_bytes=_MOST_BYTES)
        except RafikiError as e:
            raise InvalidQueryError(f"{file}: {e.message}") from e
    queries = _check_json(_read(file), str(file))
    if not isinstance(queries, list):
        raise InvalidQueryError(f"{file}: this must hold a JSON list of queries.")
    return [json.dumps(query).encode() for query in queries]


def _lines(folder: Path) -> int:
    """A query a line. One that fails gives ``null``, and its reason on stderr; the others go on."""
    ensemble = Ensemble(folder)
    code = ExitCode.OK
    line_no = 0
    for part in _parts(line for line in sys.stdin.buffer if line.strip()):
        for answer in ensemble.answer(part):
            line_no += 1
            if answer.error is not None:
                sys.stderr.write(f"error: query {line_no}: {answer.error.message}\n")
                code = answer.error.exit_code
            _put(answer)
    return code


def _parts(queries: Iterator[bytes]) -> Iterator[list[bytes]]:
    while part := list(islice(queries, _BATCH_SIZE)):
        yield part


def _put(answer: Answer) -> None:
    sys.stdout.write((answer.prediction or b"null").decode() + "\n")


def _warn(left_out: Sequence[str]) -> None:
    if left_out:
        sys.stderr.write(f"warning: without {', '.join(left_out)}: these members failed.\n")


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _check_json(data: bytes, where: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(data)
    except ValueError as e:
        raise InvalidQueryError(f"{where}: this is not JSON: {why_not_json(data)}. Texts need double quotes.") from e
    return value


def _read(file: Path) -> bytes:
    """The query in a file: its JSON, or an image as a nested list of its RGB values, rows first."""
    try:
        if file.suffix.lower() not in _IMAGES:
            return file.read_bytes().removeprefix(_BYTE_ORDER_MARK)
        import numpy as np
        from PIL import Image

        with Image.open(file) as image:
            return json.dumps(np.asarray(as_seen(image).convert("RGB")).tolist()).encode()
    except OSError as e:
        raise InvalidQueryError(f"{file}: cannot be read: {e.strerror or 'it is damaged'}.") from e
