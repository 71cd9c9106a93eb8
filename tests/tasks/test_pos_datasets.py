import zipfile
from pathlib import Path

import pytest
from support.data.task_files import make_zip, real_data, write_corpus

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.pos_tagging import PosTaggingTask
from rafiki.tasks.zip_files import ZipLimits

TASK = PosTaggingTask()
GOOD = "token\ttag\nthe\t0\ncat\t1\n\\n\t0\nruns\t2\n\\n\t0\n"


def corpus(folder: Path, text: str | bytes) -> Path:
    return make_zip(folder / "corpus.zip", {"corpus.tsv": text})


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD + "no\t0\nend\t65535\n",
        "\ufefftag\tchunk\ttoken\n0\tB-NP\tthe\n\t\t\\n\n\n",
        'token\ttag\n""""\t0\n\'\t1\n5"\t2\n\\n\n\\n\n',
        'token\ttag\n"\t0\nthe\t1\n"a\t2\n',
        "token\ttag\n,\t0\n a b \t1\n",
    ],
    ids=["plain", "CRLF", "no last end", "BOM, other columns, blank end", "quotes", "no quoting", "commas and spaces"],
)
def test_a_good_corpus_is_taken(tmp_path: Path, text: str) -> None:
    TASK.validate_dataset(corpus(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "row 1: the header must name the columns token, tag"),
        ("the\tDET\n", "row 1: the header must name the columns token, tag, each once; it is 'the,DET'"),
        ("token,tag\nthe,0\n", "row 1: the header"),
        ("token\ttag\ttag\nthe\t0\t1\n", "row 1: the header"),
        ("token\ttag\n", "no token"),
        ("token\ttag\n\\n\t0\n", "no token"),
        (GOOD + '"\n', "row 7 has 1 values where row 1 names 2"),
        (GOOD + '"\ndog\t1\n', "row 7 has 1 values where row 1 names 2"),
        (GOOD + "dog\tNOUN\n", "row 7, column 'tag': 'NOUN' is not an integer; number the tags from 0 to k-1"),
        (GOOD + "dog\t\n", "row 7, column 'tag': '' is not an integer"),
        (GOOD + "dog\t1.0\n", "row 7, column 'tag': '1.0' is not an integer"),
        (GOOD + "dog\t-1\n", "row 7, column 'tag': the tag -1 is not within 0 and 65,535"),
        (GOOD + "dog\t99999999999999999999999999\n", "row 7, column 'tag'"),
        (GOOD + "\t1\n", "row 7, column 'token': the token is empty"),
        (GOOD + "dog\n", "row 7 has 1 values where row 1 names 2"),
        (GOOD + "dog\t1\t2\n", "row 7 has 3 values where row 1 names 2"),
        ("token\ttag\nthe\t0\n\ncat\t1\n", "row 3 is empty. A sentence ends with a row whose token"),
        ('token\ttag\n"a\tb"\t0\n', "row 2 has 3 values where row 1 names 2"),
        ('token\ttag\n"a\nb"\t0\n', "row 2 has 1 values where row 1 names 2"),
        ('token\ttag\n""\t0\n', "row 2, column 'token': the token is empty"),
        (b"token\ttag\n\xff\t0\n", "line 2 is no UTF-8 text"),
    ],
)
def test_a_wrong_corpus_is_refused_with_its_row_and_column(tmp_path: Path, text: str | bytes, why: str) -> None:
    with pytest.raises(InvalidDatasetError, match=r"^corpus\.tsv.*" + why.replace("(", r"\(")):
        TASK.validate_dataset(corpus(tmp_path, text))


def test_a_zip_without_a_corpus_or_a_damaged_or_harmful_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatasetError, match=r"no file 'corpus\.tsv'"):
        TASK.validate_dataset(make_zip(tmp_path / "none.zip", {"data/corpus.tsv": GOOD}))
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("corpus.tsv", GOOD)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"cat", b"dog", 1))
    with pytest.raises(InvalidDatasetError, match=r"'corpus\.tsv' in the zip is damaged"):
        TASK.validate_dataset(path)
    with pytest.raises(InvalidDatasetError, match="unpacks to"):
        TASK.validate_dataset(corpus(tmp_path, GOOD), ZipLimits(max_total_bytes=10))


def test_a_real_corpus_is_valid(tmp_path: Path) -> None:
    with real_data("ud_ewt_dev.tsv").open(encoding="utf-8") as lines:
        TASK.validate_dataset(write_corpus(lines, tmp_path / "corpus.zip", {}))
