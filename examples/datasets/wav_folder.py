"""Makes datasets for SPEECH_RECOGNITION of a folder (or zip) of wav files, of any rate.

    python wav_folder.py recordings/ --transcripts transcripts.csv        # with the columns file,transcript
    python wav_folder.py free-spoken-digit-dataset.zip --test-takes 5     # 7_jackson_32.wav says "seven"

Without --transcripts a file's name tells what it says: the part before the first `_` or `-`, where a digit stands for
its word. --test-takes 5 holds out, of every speaker and word, the recordings numbered 0 to 4 (`_<number>` at the
end of a name).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from _audio import AUDIO_COLUMNS, clean_transcript, to_wav
from _common import PARTS, make_parser, open_parts, open_source, run, split_by_class, track, zip_path

from rafiki.errors import InvalidDatasetError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def read_transcripts(path: Path) -> dict[str, str]:
    """File name -> transcript, from a csv file with the columns ``file`` and ``transcript``.

    Raises:
        InvalidDatasetError: when it has no such columns, or names a file twice.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        found: dict[str, str] = {}
        try:
            if not {"file", "transcript"} <= set(reader.fieldnames or ()):
                raise InvalidDatasetError(f"{path}, row 1: the header must name the columns file and transcript.")
            for row in reader:
                name = row["file"] or ""
                if name in found:
                    raise InvalidDatasetError(f"{path}, line {reader.line_num} names {name!r} once more.")
                found[name] = row["transcript"] or ""
        except (csv.Error, UnicodeDecodeError) as e:
            raise InvalidDatasetError(f"{path}, line {reader.line_num} cannot be read ({e}).") from e
    return found


def said_by_name(path: str) -> str:
    """What a file's name tells that it says."""
    label = re.split(r"[_-]", Path(path).stem)[0]
    return DIGITS[int(label)] if len(label) == 1 and label.isascii() and label.isdigit() else label


def take_of(path: str) -> int:
    """The number at the end of a file's name.

    Raises:
        InvalidDatasetError: when there is none.
    """
    match = re.search(r"[_-](\d{1,9})$", Path(path).stem)
    if match is None:
        raise InvalidDatasetError(f"{path}: the name ends in no number of a take, such as 7_jackson_32.wav.")
    return int(match.group(1))


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Writes the zips; returns their paths.

    Raises:
        InvalidDatasetError: says which file is wrong.
    """
    parser = make_parser(__doc__ or "", default_name="speech")
    parser.add_argument("source", type=Path, help="a folder or a zip")
    parser.add_argument("--transcripts", type=Path, metavar="CSV", help="with the columns file and transcript")
    parser.add_argument("--test-takes", type=int, default=0, metavar="N", help="test on the takes below N")
    parser.add_argument("--val-takes", type=int, default=0, metavar="N", help="validate on the N takes after those")
    args = parser.parse_args(argv)

    with open_source(args.source) as source:
        paths = source.names([".wav"])
        if args.transcripts is not None:
            said = read_transcripts(args.transcripts)
            # Named by their path in the folder, or by their bare name.
            pairs = [(p, said[p] if p in said else said[Path(p).name]) for p in paths if {p, Path(p).name} & set(said)]
            if missing := said.keys() - set(paths) - {Path(p).name for p in paths}:
                raise InvalidDatasetError(f"{args.transcripts} names {sorted(missing)[0]!r}, which is not there.")
        else:
            pairs = [(path, said_by_name(path)) for path in paths]
        if not pairs:
            raise InvalidDatasetError(f"{args.source} holds no wav files with transcripts.")
        if args.test_takes or args.val_takes:
            ends = (args.test_takes, args.test_takes + args.val_takes)
            takes = [take_of(path) for path, _ in pairs]
            assigned = ["test" if take < ends[0] else "val" if take < ends[1] else "train" for take in takes]
        else:
            assigned = split_by_class(["all"] * len(pairs), args.split, args.seed)
        parts = [part for part in PARTS if part in assigned]
        with open_parts(args.out, args.name, parts, "audios.csv", AUDIO_COLUMNS) as writers:
            steps = track(zip(pairs, assigned, strict=True), len(pairs), "recordings", args.quiet)
            for (path, text), part in steps:
                transcript = clean_transcript(text, path)
                wav = to_wav(source.read(path), path)
                writers[part].add_file(f"wav/{path}", wav)
                writers[part].add_row(f"wav/{path}", len(wav), transcript)
    return [zip_path(args.out, args.name, part) for part in parts]


if __name__ == "__main__":
    run(main)
