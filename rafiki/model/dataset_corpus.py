"""``utils.dataset``: sentences of tagged tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.corpus_file import CORPUS_TSV, SENTENCE_END, Sentence, iter_sentences
from rafiki.tasks.zip_files import open_dataset_zip


class CorpusDataset:
    """The sentences of a POS_TAGGING dataset, in memory. Iterating gives one after another; none is empty.

    Attributes:
        path: where it was read from.
        tags: the columns of tags, in the order asked for.
        tag_num_classes: for each column of tags, in the order asked for, 1 + the highest tag in it.
        max_token_len: the characters of the longest token.
        max_sent_len: the tokens of the longest sentence.
        size: the number of sentences.
    """

    def __init__(self, path: str, tags: Sequence[str] = ("tag",), split_by: str = SENTENCE_END) -> None:
        self.path, self.tags = path, list(tags)
        with open_dataset_zip(path) as archive:
            self._sentences: list[Sentence] = list(iter_sentences(archive, tags, split_by))
        if not self._sentences:
            raise InvalidDatasetError(f"{CORPUS_TSV} holds no sentence.")
        self.size = len(self._sentences)
        self.max_sent_len = max(map(len, self._sentences))
        self.max_token_len = max(len(str(row[0])) for sentence in self._sentences for row in sentence)
        self.tag_num_classes = [
            1 + max(int(row[i]) for sentence in self._sentences for row in sentence) for i in range(1, 1 + len(tags))
        ]

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Sentence]:
        return iter(self._sentences)

    def __getitem__(self, index: int) -> Sentence:
        return self._sentences[index]


def load_dataset_of_corpus(path: str, tags: Sequence[str] | None = None, split_by: str = SENTENCE_END) -> CorpusDataset:
    r"""The dataset at ``path`` in the format of POS_TAGGING.

    Args:
        path: a zip with ``corpus.tsv``.
        tags: the columns of tags; ``["tag"]`` when None.
        split_by: the token of the rows that end a sentence: the two characters ``\n`` unless said otherwise.

    Raises:
        InvalidDatasetError: says what is wrong, in which row and column.
    """
    return CorpusDataset(str(path), ["tag"] if tags is None else list(tags), split_by)
