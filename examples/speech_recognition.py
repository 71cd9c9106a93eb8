"""Recordings -> SPEECH_RECOGNITION -> what was said in recordings that were held out.

    python examples/speech_recognition.py --data examples/data/fsdd_4_speakers.zip --quick
    python examples/speech_recognition.py --data recordings/ --transcripts said.csv --trials 3 --hours 2

Without --transcripts a file's name tells what it says: 7_jackson_32.wav says "seven".
The model is a network in torch: pip install 'rafiki-ml[torch]' where the stack runs. A search takes its time without a
GPU; `--quick` leaves it out and trains once, with knobs that suit short words.
"""

from __future__ import annotations

import base64
import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path

from common import (
    TEMPLATES,
    Template,
    add_budget,
    ask,
    convert,
    log_in,
    make_parser,
    open_table,
    run,
    serve,
    temporary_folder,
    train,
    with_fixed_knobs,
)

from rafiki.constants import Task

MODEL = Template(TEMPLATES / "speech_recognition" / "ctc.py", "SpeechCtc", {"torch": ">=2.2"})
QUICK_KNOBS = {
    "filters": 48, "hidden_size": 96, "layers": 1, "dropout": 0.1, "learning_rate": 5e-3, "batch_size": 16,
    "max_epochs": 12, "known_words_only": True,
}  # fmt: skip


def read_recordings(path: Path) -> tuple[list[str], list[str]]:
    """The recordings of a dataset as queries (wav files in base64), and what they say."""
    with zipfile.ZipFile(path) as archive, open_table(archive, "audios.csv") as table:
        rows = list(csv.DictReader(table))
        queries = [base64.b64encode(archive.read(row["wav_filename"])).decode() for row in rows]
    return queries, [row["transcript"] for row in rows]


def count_errors(heard: Sequence[str], said: Sequence[str]) -> int:
    """How many words must be put in, taken out or replaced to make ``said`` of ``heard`` (Levenshtein)."""
    row = list(range(len(said) + 1))
    for i, word in enumerate(heard, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(said, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def main() -> None:
    parser = make_parser(__doc__)
    add_budget(parser, app="speech", trials=2, hours=1)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="a folder or a zip of wav files")
    parser.add_argument("--transcripts", type=Path, metavar="CSV", help="columns file,transcript; else names tell")
    parser.add_argument("--quick", action="store_true", help="one trial of fixed knobs instead of a search")
    args = parser.parse_args()
    client = log_in(args)
    with temporary_folder() as folder:
        transcripts = ["--transcripts", args.transcripts] if args.transcripts else []
        train_file, val_file, test_file = convert("wav_folder.py", args.data, *transcripts, "--out", folder)
        recordings, said = read_recordings(test_file)
        template = with_fixed_knobs(MODEL, QUICK_KNOBS, folder) if args.quick else MODEL
        job = train(client, args, Task.SPEECH_RECOGNITION, train_file, val_file, [template])
    with serve(client, job) as predictor:
        heard = ask(predictor, recordings)
    for found, wanted in zip(heard, said, strict=True):
        print(f"  heard {found!r}, said {wanted!r}")
    n_errors = sum(count_errors(f.split(), w.split()) for f, w in zip(heard, said, strict=True))
    n_words = sum(len(words.split()) for words in said)
    print(f"word error rate: {n_errors / n_words:.4f} ({n_errors} errors in {n_words} words of held-out recordings)")


if __name__ == "__main__":
    run(main)
