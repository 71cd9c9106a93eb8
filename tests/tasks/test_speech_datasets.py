from pathlib import Path

import pytest
from support.data.task_files import make_zip, wav

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.speech_recognition import SpeechRecognitionTask

TASK = SpeechRecognitionTask()
GOOD = wav()
HEADER = "wav_filename,wav_filesize,transcript\n"
ROW = f"a.wav,{len(GOOD)},it's one\n"


def recordings(folder: Path, table: str, b: bytes = GOOD) -> Path:
    return make_zip(folder / "audios.zip", {"audios.csv": table, "a.wav": GOOD, "b/b.wav": b})


@pytest.mark.parametrize(
    "table",
    [
        HEADER + ROW + f"b/b.wav,{len(GOOD)},two\n",
        "\ufefftranscript,speaker,wav_filename,wav_filesize\r\n" + f"one two,x,a.wav,{len(GOOD)}\r\n\r\n",
    ],
)
def test_good_recordings_are_taken(tmp_path: Path, table: str) -> None:
    TASK.validate_dataset(recordings(tmp_path, table))


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("", "lists no recordings"),
        (ROW + f"c.wav,{len(GOOD)},two\n", "row 3, column 'wav_filename': there is no file 'c.wav'"),
        (ROW + f"../a.wav,{len(GOOD)},two\n", "row 3, column 'wav_filename': there is no file"),
        (ROW + "b/b.wav,big,two\n", "row 3, column 'wav_filesize': 'big' came, where a number of bytes belongs"),
        (ROW + "b/b.wav,,two\n", "row 3, column 'wav_filesize': '' came"),
        (ROW + f"b/b.wav,{len(GOOD)},Two\n", "row 3, column 'transcript': 'Two' holds 'T'"),
        (ROW + f"b/b.wav,{len(GOOD)},2\n", "row 3, column 'transcript': '2' holds '2'"),
        (ROW + f"b/b.wav,{len(GOOD)}, \n", "row 3, column 'transcript': the transcript is empty"),
        (ROW + f"b/b.wav,{len(GOOD)}\n", "row 3 has 2 values where row 1 names 3"),
        (ROW + f"b/b.wav,{len(GOOD)},one,two\n", "row 3 has 4 values where row 1 names 3"),
    ],
)
def test_a_wrong_row_is_refused_with_its_column(tmp_path: Path, rows: str, why: str) -> None:
    with pytest.raises(InvalidDatasetError, match=r"audios\.csv.*" + why):
        TASK.validate_dataset(recordings(tmp_path, HEADER + rows))


@pytest.mark.parametrize("header", ["", "wav_filename,transcript\n", "a.wav,1,one\n"])
def test_another_header_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(InvalidDatasetError, match=r"audios\.csv, row 1: the header must name the columns wav_filename"):
        TASK.validate_dataset(recordings(tmp_path, header))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a readable PCM wav file"),
        (b"ID3\0 an mp3", "not a readable PCM wav file"),
        (GOOD[:30], "not a readable PCM wav file"),
        (GOOD[:20] + b"\x03\x00" + GOOD[22:], "its samples are floating point numbers"),
        (wav(rate=8_000), "1 channel.*8000 Hz and 16 bits a sample; recordings have 1 channel, 16000 Hz"),
        (wav(channels=2), r"2 channel\(s\)"),
        (wav(bits=8), "8 bits a sample"),
        (wav(0), "holds no sound"),
        (GOOD[:-100], "110 samples where its header says 160"),
    ],
    ids=["empty", "mp3", "header cut off", "float", "8 kHz", "stereo", "8 bits", "no samples", "cut off"],
)
def test_a_file_that_is_no_16_khz_mono_recording_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    table = HEADER + ROW + f"b/b.wav,{len(data)},two\n"
    with pytest.raises(InvalidDatasetError, match=rf"audios\.csv, row 3: 'b/b\.wav' .*{why}"):
        TASK.validate_dataset(recordings(tmp_path, table, data))


def test_a_long_recording_is_read_in_parts(tmp_path: Path) -> None:
    long = wav(200_000)
    TASK.validate_dataset(recordings(tmp_path, HEADER + f"b/b.wav,{len(long)},two\n", long))


def test_a_zip_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatasetError, match=r"no file 'audios\.csv'"):
        TASK.validate_dataset(make_zip(tmp_path / "audios.zip", {"a.wav": GOOD}))


def test_a_size_of_before_a_conversion_is_taken_and_told(tmp_path: Path) -> None:
    path = recordings(tmp_path, HEADER + "a.wav,70.0,one\nb/b.wav,7,two\n")
    TASK.validate_dataset(path)
    told = (
        f"audios.csv, row 2: wav_filesize is 70, but 'a.wav' has {len(GOOD)} bytes. The size of the file counts; "
        "2 rows in all tell another."
    )
    assert TASK.find_oddities(path) == [told]
    path.unlink()
    assert TASK.find_oddities(recordings(tmp_path, HEADER + ROW)) == []
