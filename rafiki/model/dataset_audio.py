"""``utils.dataset``: recordings and their transcripts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rafiki.data.sounds import plain_wav
from rafiki.errors import InvalidDatasetError
from rafiki.model.row_table import make_table
from rafiki.tasks.audio_files import AudioRow, iter_audio_rows
from rafiki.tasks.zip_files import open_dataset_zip, read_member


class AudioFilesDataset:
    """The recordings of a SPEECH_RECOGNITION dataset, unpacked into a folder.

    Attributes:
        df: one row a recording, in the order of ``audios.csv``: ``wav_filename`` (the path of the unpacked file),
            ``wav_filesize`` (bytes) and ``transcript``. A pandas DataFrame where pandas is installed; elsewhere a
            table with ``df[column]``, ``df.column``, ``len``, ``iterrows``, ``itertuples`` and ``to_dict("records")``.
        size: the number of recordings.
    """

    def __init__(self, path: str, folder: Path) -> None:
        paths: list[str] = []
        rows: list[AudioRow] = []
        with open_dataset_zip(path) as archive:
            for row in iter_audio_rows(archive):
                # Safe to join: no path of a checked zip leaves its folder.
                target = (folder / row.wav_filename).resolve()
                paths.append(str(target))
                rows.append(row)
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # With a header that every Python reads.
                    target.write_bytes(plain_wav(read_member(archive, row.wav_filename, row.wav_filesize)))
                except OSError as e:
                    raise InvalidDatasetError(f"{target} cannot be written: {e.strerror}.") from e
        self.size = len(rows)
        self.df: Any = make_table(  # type: ignore[explicit-any]
            {
                "wav_filename": paths,
                "wav_filesize": [row.wav_filesize for row in rows],
                "transcript": [row.transcript for row in rows],
            }
        )

    def __len__(self) -> int:
        return self.size


def load_dataset_of_audio_files(path: str, dataset_dir: str | Path | TemporaryDirectory[str]) -> AudioFilesDataset:
    """The dataset at ``path`` in the format of SPEECH_RECOGNITION.

    Args:
        path: a zip with ``audios.csv`` and wav files.
        dataset_dir: the folder to unpack the listed files into. It may be given as a ``TemporaryDirectory``.

    Raises:
        InvalidDatasetError: says what is wrong, in which file, row and column.
    """
    folder = Path(dataset_dir.name if isinstance(dataset_dir, TemporaryDirectory) else dataset_dir)
    return AudioFilesDataset(str(path), folder)
