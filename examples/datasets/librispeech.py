"""Makes datasets for SPEECH_RECOGNITION of corpora in the layout of LibriSpeech.

    python librispeech.py LibriSpeech/train-clean-100 --val LibriSpeech/dev-clean --test LibriSpeech/test-clean

In `<speaker>/<chapter>/` lie recordings and one `<speaker>-<chapter>.trans.txt`; each line of it is a recording's name
and its transcript. Flac files take the package soundfile (pip install soundfile); wav files take nothing. Without --val
and --test the recordings are split by speaker, so that a model is judged by voices that it has never heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from _audio import AUDIO_COLUMNS, clean_transcript, to_wav
from _common import PARTS, Source, make_parser, open_parts, run, split_by_group, track, zip_path

from rafiki.errors import InvalidDatasetError

_MAX_TRANSCRIPT_BYTES = 16 << 20


class Utterance(NamedTuple):
    """One recording."""

    folder: Path
    path: str
    """In the folder."""
    speaker: str
    transcript: str


def iter_utterances(folder: Path) -> Iterator[Utterance]:
    """The recordings that the transcripts in ``folder`` name, in their order.

    Raises:
        InvalidDatasetError: when there is no transcript, or a recording is missing.
    """
    if not folder.is_dir():
        raise InvalidDatasetError(f"There is no folder {folder}; unpack the corpus first (tar -xf ...).")
    source = Source(folder, None)
    lists = source.names([".trans.txt"])
    if not lists:
        raise InvalidDatasetError(f"There is no *.trans.txt in {folder} or below; is it in the layout of LibriSpeech?")
    recordings = {path.rsplit(".", 1)[0]: path for path in source.names([".flac", ".wav"])}
    for name in lists:
        try:
            text = source.read(name, _MAX_TRANSCRIPT_BYTES).decode()
        except UnicodeDecodeError as e:
            raise InvalidDatasetError(f"{folder / name} is no UTF-8 text ({e}).") from e
        for line_no, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            recording, _, said = line.strip().partition(" ")
            origin = f"{folder / name}, line {line_no}"
            path = recordings.get(str(Path(name).with_name(recording).as_posix()))
            if path is None:
                raise InvalidDatasetError(f"{origin}: there is no {recording}.flac or {recording}.wav beside it.")
            yield Utterance(folder, path, recording.split("-")[0], clean_transcript(said, origin))


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Writes the zips; returns their paths.

    Raises:
        InvalidDatasetError: says which file or line is wrong.
    """
    parser = make_parser(__doc__ or "", default_name="librispeech")
    parser.add_argument("train", type=Path, help="a folder to train on; or all there is, to be split")
    parser.add_argument("--val", type=Path, metavar="FOLDER", help="a folder to validate on")
    parser.add_argument("--test", type=Path, metavar="FOLDER", help="a folder to test on")
    args = parser.parse_args(argv)

    given = {part: list(iter_utterances(folder)) for part in PARTS if (folder := getattr(args, part)) is not None}
    utterances = [utterance for part in given.values() for utterance in part]
    if len(given) > 1:
        assigned = [part for part, of_part in given.items() for _ in of_part]
    else:
        try:
            assigned = split_by_group([utterance.speaker for utterance in utterances], args.split, args.seed)
        except InvalidDatasetError as e:
            raise InvalidDatasetError(f"{args.train} has too few speakers to be split by speaker.") from e
    parts = [part for part in PARTS if part in assigned]
    with open_parts(args.out, args.name, parts, "audios.csv", AUDIO_COLUMNS) as writers:
        steps = track(zip(utterances, assigned, strict=True), len(utterances), "recordings", args.quiet)
        for utterance, part in steps:
            path = utterance.folder / utterance.path
            wav = to_wav(Source(utterance.folder, None).read(utterance.path), str(path))
            name = f"wav/{utterance.path.rsplit('.', 1)[0]}.wav"
            writers[part].add_file(name, wav)
            writers[part].add_row(name, len(wav), utterance.transcript)
    return [zip_path(args.out, args.name, part) for part in parts]


if __name__ == "__main__":
    run(main)
