"""The dataset format of part-of-speech tagging: a zip with ``corpus.tsv``, one token a row."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from rafiki.errors import InvalidDatasetError
from rafiki.tasks.table_files import find_columns, iter_rows, place
from rafiki.tasks.zip_files import open_member

CORPUS_TSV = "corpus.tsv"
SENTENCE_END = "\\n"
"""The two characters, a backslash and an n: the token of the row that ends a sentence."""
_MAX_TAG = 65_535

Sentence: TypeAlias = list[list[str | int]]
"""``[[token, tag, ...], ...]``: for each token its text and one integer for each column of tags."""


def _read_tag(text: str, row_no: int, column: str) -> int:
    where = place(CORPUS_TSV, row_no, column)
    text = text.strip()
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise InvalidDatasetError(
            f"{where}: {text[:80]!r} is not an integer; number the tags from 0 to k-1 and keep the list of names."
        )
    tag = int(text[:20])
    if not 0 <= tag <= _MAX_TAG:
        raise InvalidDatasetError(f"{where}: the tag {text[:20]} is not within 0 and {_MAX_TAG:,}.")
    return tag


def _check_token(token: str, row_no: int) -> None:
    where = place(CORPUS_TSV, row_no, "token")
    if not token:
        raise InvalidDatasetError(
            f"{where}: the token is empty; a sentence ends with a row whose token is {SENTENCE_END}."
        )


def _of_other_length(row_no: int, n_values: int, n_columns: int) -> InvalidDatasetError:
    return InvalidDatasetError(
        f"{place(CORPUS_TSV, row_no)} has {n_values} values where row 1 names {n_columns} columns."
    )


def _unquoted(cell: str) -> str:
    """What is inside a cell's quotes, as the dialect ``excel-tab`` writes them; any other cell as it is.

    A token holds neither tabs nor line feeds, so a quote at its beginning alone is one: ``"`` is written like that by
    whoever joins cells with tabs.
    """
    inner = cell[1:-1]
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell


def iter_sentences(
    archive: zipfile.ZipFile, tags: Sequence[str] = ("tag",), split_by: str = SENTENCE_END
) -> Iterator[Sentence]:
    """The sentences of ``corpus.tsv`` in their order: ``[[token, tag of each column ...], ...]``; none is empty.

    The file is tab-separated text with a header: as the dialect ``excel-tab`` of Python's csv writes it, or without
    any quoting. Columns besides
    ``token`` and ``tags`` are left out. The end of the file ends the last sentence.

    Args:
        archive: from :func:`rafiki.tasks.zip_files.open_dataset_zip`.
        tags: the columns of tags.
        split_by: the token of the rows that end a sentence; their tags mean nothing.

    Raises:
        InvalidDatasetError: says what is wrong, in which row and column.
    """
    with open_member(archive, CORPUS_TSV) as stream:
        rows = iter_rows(stream, CORPUS_TSV, delimiter="\t", has_quotes=False)
        header = next(rows, (1, []))[1]
        token_column, *tag_columns = find_columns(CORPUS_TSV, header, ("token", *tags))
        named_tags = list(zip(tags, tag_columns, strict=True))
        sentence: Sentence = []
        is_empty, empty_row_no = True, 0
        half: int | None = None
        for row_no, row in rows:
            if not row:
                empty_row_no = empty_row_no or row_no
                continue
            if empty_row_no:
                raise InvalidDatasetError(
                    f"{place(CORPUS_TSV, empty_row_no)} is empty. A sentence ends with a row whose token is the two "
                    f"characters {SENTENCE_END}."
                )
            if half is None and row == ['"']:
                # Of a line feed in quotes, which somebody took for the mark.
                half = row_no
                continue
            if half is not None:
                if row[0] != '"':
                    raise _of_other_length(half, 1, len(header))
                half, row[0] = None, split_by
            row = [_unquoted(cell) for cell in row]
            token = row[token_column] if token_column < len(row) else ""
            if token == split_by:
                if sentence:
                    yield sentence
                    sentence = []
                continue
            if len(row) != len(header):
                raise _of_other_length(row_no, len(row), len(header))
            _check_token(token, row_no)
            sentence.append([token, *(_read_tag(row[i], row_no, name) for name, i in named_tags)])
            is_empty = False
        if half is not None:
            raise _of_other_length(half, 1, len(header))
        if is_empty:
            raise InvalidDatasetError(f"{CORPUS_TSV} holds no token below the header.")
        if sentence:
            yield sentence
