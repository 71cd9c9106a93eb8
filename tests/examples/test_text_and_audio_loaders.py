"""The loaders of examples/datasets for text, tables and recordings."""

from __future__ import annotations

import csv
import io
import re
import sys
import wave
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.data.dataset_loaders import load, load_loader, refuse, table, write
from support.data.task_files import make_zip, read_corpus, real_data, wav

from rafiki.model import utils

# Text

CONLLU = """\
# sent_id = 1
# text = It's "fine"
1-2\tIt's\t_\t_\t_\t_\t_\t_\t_\t_
1\tIt\tit\tPRON\tPRP\t_\t0\troot\t_\t_
2\t's\tbe\tAUX\tVBZ\t_\t0\troot\t_\t_
2.1\tsaid\tsay\tVERB\tVBD\t_\t_\t_\t_\t_
3\t"\t"\tPUNCT\t``\t_\t0\troot\t_\t_
4\tfine\tfine\tADJ\tJJ\t_\t0\troot\t_\t_
5\t"\t"\tPUNCT\t''\t_\t0\troot\t_\t_

1\t#\t#\tSYM\t#\t_\t0\troot\t_\t_
2\t\\n\t\\n\tX\tX\t_\t0\troot\t_\t_
"""
CONLL = """\
-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
# SYM B-NP O

rejects VBZ B-VP O
"""


def tagged(path: Path, names: list[str]) -> list[list[tuple[str, str]]]:
    """The sentences of a dataset, with names for tags."""
    return [[(token, names[tag]) for token, tag in s] for s in utils.dataset.load_dataset_of_corpus(str(path))]


@pytest.mark.parametrize(
    ("name", "text", "options", "sentences"),
    [
        pytest.param(
            "a.conllu", CONLLU, [],
            [
                [("It", "PRON"), ("'s", "AUX"), ('"', "PUNCT"), ("fine", "ADJ"), ('"', "PUNCT")],
                [("#", "SYM"), ("\\", "X")],
            ],
            id="CoNLL-U",
        ),
        pytest.param(
            "a.conllu", CONLLU, ["--tag-column", 5],
            [
                [("It", "PRP"), ("'s", "VBZ"), ('"', "``"), ("fine", "JJ"), ('"', "''")],
                [("#", "#"), ("\\", "X")],
            ],
            id="CoNLL-U with XPOS",
        ),
        pytest.param("a.txt", CONLL, [], [[("EU", "NNP"), ("#", "SYM")], [("rejects", "VBZ")]], id="CoNLL-2003"),
        pytest.param(
            "a.txt", "a\tb\r\nNN\tcat\r\n\r\n\r\nDT\tthe", ["--token-column", 2, "--tag-column", 1],
            [[("b", "a"), ("cat", "NN")], [("the", "DT")]],
            id="tag first",
        ),
    ],
)  # fmt: skip
def test_tagged_text_keeps_its_tokens_and_tags(
    tmp_path: Path, name: str, text: str, options: list[object], sentences: list[list[tuple[str, str]]]
) -> None:
    source = write(tmp_path, {name: text.encode()}) / name
    out = tmp_path / "out"
    (path,) = load("conll", out, source, "--split", "100,0,0", *options, task="POS_TAGGING")
    names = [row["name"] for row in table(path, "tags.csv")]
    assert names == sorted(names)
    assert tagged(path, names) == sentences


def test_real_english_comes_through_unchanged_with_one_numbering_for_all_parts(tmp_path: Path) -> None:
    sources = [real_data("ud_ewt_train_4000.tsv"), real_data("ud_ewt_dev.tsv")]
    paths = load("conll", tmp_path / "out", sources[0], "--val", sources[1], "--name", "ewt", task="POS_TAGGING")
    assert [path.name for path in paths] == ["ewt_train.zip", "ewt_val.zip"]
    names = [row["name"] for row in table(paths[0], "tags.csv")]
    assert len(names) == 17
    for path, source in zip(paths, sources, strict=True):
        assert tagged(path, names) == read_corpus(source)


def test_a_corpus_is_split_by_sentences(tmp_path: Path) -> None:
    source = write(tmp_path, {"a.tsv": b"".join(b"w%d\tX\nend\tY\n\n" % i for i in range(50))}) / "a.tsv"
    paths = load("conll", tmp_path / "out", source, task="POS_TAGGING")
    parts = [list(utils.dataset.load_dataset_of_corpus(str(path))) for path in paths]
    assert [len(part) for part in parts] == [40, 5, 5]
    assert sorted(s[0][0] for part in parts for s in part) == sorted(f"w{i}" for i in range(50))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a\tX\nb\n", "line 2 has 1 column(s)"),
        (b"a\tX\nb\t\n", "line 2: the tag is empty"),
        (b"a\tX\n\xff\tX\n", "no UTF-8 text"),
        (b"\n\n", "no sentence"),
        (b"a\tX\n", "too few"),
    ],
)
def test_text_that_is_not_tagged_is_refused(tmp_path: Path, text: bytes, why: str) -> None:
    assert why in refuse("conll", tmp_path / "out", write(tmp_path, {"a.tsv": text}) / "a.tsv")


# Tables


def test_a_csv_file_is_split_row_by_row_in_equal_shares_of_the_target(tmp_path: Path) -> None:
    source = real_data("titanic.csv")
    paths = load("csv_split", tmp_path / "out", source, "--stratify", "survived", task="TABULAR_CLASSIFICATION")
    with source.open(newline="") as file:
        header, *rows = csv.reader(file)
    column = header.index("survived")
    share = Counter(row[column] for row in rows)["1"] / len(rows)
    written = []
    for path in paths:
        with path.open(newline="") as file:
            part_header, *part = csv.reader(file)
        assert part_header == header
        assert Counter(row[column] for row in part)["1"] / len(part) == pytest.approx(share, abs=0.01)
        written += part
    assert sorted(written) == sorted(rows)
    assert len(paths) == 3


def test_a_csv_file_of_other_signs_and_letters_is_read(tmp_path: Path) -> None:
    text = 'Stadt;Größe\n"Köln; am Rhein";1\n' + "Ulm;2\n" * 9
    source = write(tmp_path, {"a.csv": text.encode("latin-1")}) / "a.csv"
    options = ["--delimiter", ";", "--encoding", "latin-1", "--split", "100,0,0"]
    (path,) = load("csv_split", tmp_path / "out", source, *options, task="TABULAR_REGRESSION")
    assert path.read_text(encoding="utf-8").splitlines()[:2] == ["Stadt,Größe", "Köln; am Rhein,1"]


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        (b"x,y\n1,2\n1\n", [], "line 3 has 1 values"),
        (b"x;y\n1;2\n", [], "--delimiter"),
        (b"", [], "no header"),
        (b"x,y\n\xff,1\n", [], "--encoding"),
        (b'x,y\n"1,2\n', [], "cannot be read"),
        (b"x,y\n" + b"1,2\n" * 9 + b"1,3\n", ["--stratify", "y"], "'3' has 1 item"),
    ],
)
def test_a_csv_file_that_cannot_be_split_is_refused(tmp_path: Path, text: bytes, options: list[str], why: str) -> None:
    assert why in refuse("csv_split", tmp_path / "out", write(tmp_path, {"a.csv": text}) / "a.csv", *options)


# Recordings


def tone(hz: float, rate: int, seconds: float = 0.5) -> bytes:
    samples = 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return out.getvalue()


def samples_of(path: Path, name: str) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, wave.open(io.BytesIO(archive.read(name))) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100])
def test_recordings_of_any_rate_keep_their_length_and_pitch(tmp_path: Path, rate: int) -> None:
    source = write(tmp_path / "in", {"yes_1.wav": tone(1000, rate)})
    (path,) = load("wav_folder", tmp_path / "out", source, "--split", "1,0,0", task="SPEECH_RECOGNITION")
    (row,) = table(path, "audios.csv")
    samples = samples_of(path, row["wav_filename"])
    assert len(samples) == pytest.approx(8000, abs=2)
    assert np.abs(np.fft.rfft(samples, 16_000)).argmax() == pytest.approx(1000, abs=2)
    assert np.abs(samples[1000:-1000]).max() == pytest.approx(0.5 * 32767, rel=0.03)
    assert row["transcript"] == "yes"


@pytest.mark.parametrize(("bits", "channels"), [(8, 1), (16, 2), (24, 1), (32, 2)])
def test_recordings_of_any_width_and_channels_are_taken(tmp_path: Path, bits: int, channels: int) -> None:
    source = write(tmp_path / "in", {"a/no.wav": wav(500, bits=bits, channels=channels)})
    (path,) = load("wav_folder", tmp_path / "out", source, "--split", "1,0,0", task="SPEECH_RECOGNITION")
    assert len(samples_of(path, "wav/a/no.wav")) == 500


def test_takes_are_held_out_for_testing(tmp_path: Path) -> None:
    files = {f"recordings/{d}_{who}_{take}.wav": wav(80) for d in (0, 7) for who in "ab" for take in range(4)}
    source = make_zip(tmp_path / "in.zip", files)
    options = ["--test-takes", 1, "--val-takes", 1]
    paths = load("wav_folder", tmp_path / "out", source, *options, task="SPEECH_RECOGNITION")
    for path, takes in zip(paths, ({2, 3}, {1}, {0}), strict=True):
        rows = table(path, "audios.csv")
        assert {int(row["wav_filename"][-5]) for row in rows} == takes
        assert len(rows) == 4 * len(takes)
        for row in rows:
            assert row["transcript"] == {"0": "zero", "7": "seven"}[row["wav_filename"].split("/")[-1][0]]


def test_transcripts_come_from_a_table(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"a.wav": wav(), "b/c.wav": wav(), "unnamed.wav": wav()})
    said = write(tmp_path, {"said.csv": b'file,transcript\na.wav,"Hello, World!"\nb/c.wav,don\'t\n'}) / "said.csv"
    options = ["--transcripts", said, "--split", "1,0,0"]
    (path,) = load("wav_folder", tmp_path / "out", source, *options, task="SPEECH_RECOGNITION")
    assert [row["transcript"] for row in table(path, "audios.csv")] == ["hello world", "don't"]


@pytest.mark.parametrize(
    ("files", "said", "options", "why"),
    [
        ({"a.wav": wav()}, "file,transcript\nz.wav,a\n", [], "'z.wav', which is not there"),
        ({"a.wav": wav()}, "name,text\na.wav,a\n", [], "the header must name"),
        ({"a.wav": wav()}, "file,transcript\na.wav,a\na.wav,b\n", [], "'a.wav' once more"),
        ({"a.wav": wav()}, "file,transcript\na.wav,42\n", ["--split", "1,0,0"], "holds '4'"),
        ({"a.wav": wav()}, "file,transcript\na.wav,!\n", ["--split", "1,0,0"], "holds no letters"),
        ({"a.wav": wav()[:30]}, None, ["--split", "1,0,0"], "a.wav is not a readable wav file"),
        ({"a.wav": wav(0)}, None, ["--split", "1,0,0"], "a.wav holds no sound"),
        ({"a.wav": wav()}, None, ["--test-takes", "1"], "ends in no number"),
        ({"a.txt": b""}, None, [], "no wav files"),
    ],
)
def test_recordings_that_make_no_dataset_are_refused(
    tmp_path: Path, files: dict[str, bytes], said: str | None, options: list[str], why: str
) -> None:
    if said is not None:
        (tmp_path / "said.csv").write_text(said)
        options = [*options, "--transcripts", str(tmp_path / "said.csv")]
    assert why in refuse("wav_folder", tmp_path / "out", write(tmp_path / "in", files), *options)


def librispeech(n_speakers: int = 4, suffix: str = "wav") -> dict[str, bytes]:
    files = {}
    for speaker in range(10, 10 + n_speakers):
        folder = f"LibriSpeech/dev/{speaker}/7"
        files[f"{folder}/{speaker}-7.trans.txt"] = f"{speaker}-7-0000 HE DIDN'T\n{speaker}-7-0001 GO ON\n".encode()
        files |= {f"{folder}/{speaker}-7-000{i}.{suffix}": wav() for i in range(2)}
    return files


def test_librispeech_is_split_by_speaker(tmp_path: Path) -> None:
    source = write(tmp_path / "in", librispeech())
    paths = load("librispeech", tmp_path / "out", source, "--split", "50,25,25", task="SPEECH_RECOGNITION")
    speakers = []
    for path, n_speakers in zip(paths, (2, 1, 1), strict=True):
        rows = table(path, "audios.csv")
        assert len(rows) == 2 * n_speakers
        assert {row["transcript"] for row in rows} == {"he didn't", "go on"}
        speakers += sorted({row["wav_filename"].split("/")[-1].split("-")[0] for row in rows})
    assert sorted(speakers) == ["10", "11", "12", "13"]


def test_parts_of_librispeech_are_taken_as_they_are_given(tmp_path: Path) -> None:
    source = write(tmp_path / "in", librispeech(1))
    options = [source, "--test", source]
    paths = load("librispeech", tmp_path / "out", *options, task="SPEECH_RECOGNITION")
    assert [path.name for path in paths] == ["librispeech_train.zip", "librispeech_test.zip"]


def flac(samples: np.ndarray, rate: int) -> bytes:
    soundfile = pytest.importorskip("soundfile")
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="FLAC", subtype="PCM_16")
    return out.getvalue()


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (8_000, 1), (44_100, 2)])
def test_flac_of_librispeech_is_decoded(tmp_path: Path, rate: int, channels: int) -> None:
    sine = np.sin(2 * np.pi * 1000 * np.arange(rate // 2) / rate)
    # One channel is silent where there are two: both together are half as loud.
    samples = np.stack([0.5 * sine, 0 * sine][:channels], axis=1)
    files = librispeech(2, suffix="flac")
    files |= {name: flac(samples, rate) for name in files if name.endswith(".flac")}
    source = write(tmp_path / "in", files)
    paths = load("librispeech", tmp_path / "out", source, "--split", "50,50,0", task="SPEECH_RECOGNITION")
    for path in paths:
        for row in table(path, "audios.csv"):
            heard = samples_of(path, row["wav_filename"])
            assert len(heard) == pytest.approx(8000, abs=2)
            assert np.abs(np.fft.rfft(heard, 16_000)).argmax() == pytest.approx(1000, abs=2)
            assert np.abs(heard[1000:-1000]).max() == pytest.approx(0.5 / channels * 32767, rel=0.03)
    assert [len(table(path, "audios.csv")) for path in paths] == [2, 2]


def test_flac_of_16_khz_keeps_every_sample(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32767, 4000, dtype=np.int16, endpoint=True)
    files = librispeech(1, suffix="flac")
    files |= {name: flac(samples, 16_000) for name in files if name.endswith(".flac")}
    source = write(tmp_path / "in", files)
    (path,) = load("librispeech", tmp_path / "out", source, "--split", "1,0,0", task="SPEECH_RECOGNITION")
    for row in table(path, "audios.csv"):
        assert np.array_equal(samples_of(path, row["wav_filename"]), samples)


def test_damaged_flac_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    files = {name: data if name.endswith("txt") else b"fLaC" for name, data in librispeech(suffix="flac").items()}
    said = refuse("librispeech", tmp_path / "out", write(tmp_path / "in", files))
    assert re.search(r"\.flac is not a readable audio file", said)


def test_flac_without_a_decoder_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)  # as Python marks what cannot be imported
    files = {name: data if name.endswith("txt") else b"fLaC" for name, data in librispeech(suffix="flac").items()}
    assert "pip install soundfile" in refuse("librispeech", tmp_path / "out", write(tmp_path / "in", files))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"a.wav": wav()}, "no *.trans.txt"),
        ({"1/1/1-1.trans.txt": b"1-1-0000 A\n"}, "line 1: there is no 1-1-0000.flac"),
        (librispeech(2), "too few speakers"),
    ],
)
def test_a_folder_in_no_layout_of_librispeech_is_refused(tmp_path: Path, files: dict[str, bytes], why: str) -> None:
    assert why in refuse("librispeech", tmp_path / "out", write(tmp_path / "in", files))


@pytest.mark.parametrize("split", ["80,20", "a,b,c", "0,0,0", "-1,1,1", "nan,1,1", "inf,1,1"])
def test_a_split_that_is_no_three_shares_is_refused(tmp_path: Path, split: str) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(SystemExit) as caught:
        load_loader("csv_split").main([str(tmp_path / "a.csv"), f"--split={split}"])
    assert caught.value.code == 2
