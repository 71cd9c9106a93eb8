from pathlib import Path

import pytest
from support.data.task_files import make_zip, real_data, write_corpus

from rafiki.errors import InvalidDatasetError
from rafiki.model import utils

TEXT = 'token\ttag\tchunk\n"""Hi"""\t2\t0\nyou\t0\t5\n\\n\t0\t0\n\\n\t0\t0\nOK\t1\t1\n'


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(make_zip(tmp_path / "corpus.zip", {"corpus.tsv": TEXT}))


def test_sentences_come_with_their_tags_again_and_again(path: str) -> None:
    dataset = utils.dataset.load_dataset_of_corpus(path)
    for _ in range(2):
        assert list(dataset) == [[['"Hi"', 2], ["you", 0]], [["OK", 1]]]
    assert (len(dataset), dataset.size, dataset.tag_num_classes) == (2, 2, [3])
    assert (dataset.max_token_len, dataset.max_sent_len) == (4, 2)


def test_several_columns_of_tags_come_in_the_order_asked_for(path: str) -> None:
    dataset = utils.dataset.load_dataset_of_corpus(path, tags=["chunk", "tag"])
    assert dataset[0] == [['"Hi"', 0, 2], ["you", 5, 0]]
    assert dataset.tag_num_classes == [6, 3]
    with pytest.raises(InvalidDatasetError, match="token, case, each once"):
        utils.dataset.load_dataset_of_corpus(path, tags=["case"])


def test_sentences_may_end_with_another_token(path: str) -> None:
    assert [len(s) for s in utils.dataset.load_dataset_of_corpus(path, split_by="you")] == [1, 3]


def test_a_real_corpus_keeps_its_tokens(tmp_path: Path) -> None:
    tags: dict[str, int] = {}
    source = real_data("ud_ewt_dev.tsv").read_text(encoding="utf-8")
    dataset = utils.dataset.load_dataset_of_corpus(
        str(write_corpus(source.splitlines(), tmp_path / "corpus.zip", tags))
    )
    names = list(tags)
    found = "\n\n".join("\n".join(f"{token}\t{names[tag]}" for token, tag in sentence) for sentence in dataset)
    assert found == source.strip()
    assert dataset.tag_num_classes == [len(tags)]
