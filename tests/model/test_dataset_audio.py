import subprocess
import sys
import wave
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.data.task_files import make_zip, wav

from rafiki.errors import InvalidDatasetError
from rafiki.model import utils
from rafiki.model.row_table import RowTable

ONE, TWO = wav(160), wav(320)
TABLE = f"wav_filename,wav_filesize,transcript\na/1.wav,{len(ONE)},one\n2.wav,{len(TWO)},it's two\n"


@pytest.fixture
def path(tmp_path: Path) -> str:
    files = {"audios.csv": TABLE, "a/1.wav": ONE, "2.wav": TWO, "unlisted.wav": ONE}
    return str(make_zip(tmp_path / "audios.zip", files))


def test_recordings_are_unpacked_and_listed_with_their_transcripts(path: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    dataset = utils.dataset.load_dataset_of_audio_files(path, str(out))
    assert dataset.size == len(dataset) == len(dataset.df) == 2
    assert list(dataset.df["transcript"]) == list(dataset.df.transcript) == ["one", "it's two"]
    assert [str(name) for name in dataset.df["wav_filename"]] == [str(out / "a" / "1.wav"), str(out / "2.wav")]
    for row in dataset.df.itertuples():
        assert Path(row.wav_filename).stat().st_size == row.wav_filesize
        with wave.open(row.wav_filename) as recording:
            assert recording.getframerate() == 16_000
    assert not (out / "unlisted.wav").exists()


def test_the_folder_may_be_a_temporary_one_and_what_lies_in_it_is_replaced(path: str) -> None:
    with TemporaryDirectory() as folder, TemporaryDirectory() as same:
        (Path(same) / "2.wav").write_bytes(bytes(len(TWO)))
        utils.dataset.load_dataset_of_audio_files(path, same)
        assert (Path(same) / "2.wav").read_bytes() == TWO
    other = TemporaryDirectory()
    assert other.name in utils.dataset.load_dataset_of_audio_files(path, other).df["wav_filename"][0]
    other.cleanup()
    assert folder != same


def test_a_wrong_table_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "audios.zip", {"audios.csv": TABLE, "a/1.wav": ONE})
    with pytest.raises(InvalidDatasetError, match=r"row 3, column 'wav_filename': there is no file '2\.wav'"):
        utils.dataset.load_dataset_of_audio_files(str(path), tmp_path)


def test_a_table_without_pandas_reads_as_one_of_pandas() -> None:
    table = RowTable({"a": [1, 2], "b": ["x", "y"]})
    assert (len(table), table.columns, list(table), table["b"], table.a) == (
        2,
        ["a", "b"],
        ["a", "b"],
        ["x", "y"],
        [1, 2],
    )
    assert table.to_dict("records") == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert [(i, row["b"]) for i, row in table.iterrows()] == [(0, "x"), (1, "y")]
    assert [(row.Index, row.a) for row in table.itertuples()] == [(0, 1), (1, 2)]
    assert [tuple(row) for row in table.itertuples(index=False)] == [(1, "x"), (2, "y")]
    with pytest.raises(KeyError):
        table["c"]
    with pytest.raises(AttributeError, match="with pandas installed"):
        table.groupby  # noqa: B018
    with pytest.raises(ValueError, match="records"):
        table.to_dict("list")


def test_with_pandas_the_table_is_a_data_frame(path: str, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    assert isinstance(utils.dataset.load_dataset_of_audio_files(path, tmp_path).df, pandas.DataFrame)


def test_the_dataset_helpers_load_no_pandas_of_their_own() -> None:
    code = "import sys; from rafiki.model import utils; utils.dataset; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
