"""Makes datasets for POS_TAGGING of tagged text, one token a line, with an empty line after each sentence.

    python conll.py en_ewt-ud-train.conllu --val en_ewt-ud-dev.conllu --test en_ewt-ud-test.conllu --name ewt
    python conll.py train.txt --token-column 1 --tag-column 2 --split 80,10,10      # CoNLL-2000, CoNLL-2003

CoNLL-U (`.conllu`) gives FORM and UPOS; other files give, from columns separated by tabs or else by spaces, the first
and the second. Without --val and --test the sentences are split. Tags are numbered in the order of their names, the
same in all parts; `tags.csv` in each zip tells which is which.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from _common import PARTS, make_parser, names_table, open_parts, run, split_by_class, track, zip_path

from rafiki.errors import InvalidDatasetError

SENTENCE_END = "\\n"
"""The two characters, a backslash and an n: how the format of POS_TAGGING marks the end of a sentence."""


class Columns:
    """Where a line of a file has its token and its tag, counted from 0."""

    def __init__(self, path: Path, args: argparse.Namespace) -> None:
        self.is_conllu = path.suffix.lower() == ".conllu"
        self.token = (args.token_column or (2 if self.is_conllu else 1)) - 1
        self.tag = (args.tag_column or (4 if self.is_conllu else 2)) - 1


def iter_sentences(path: Path, columns: Columns) -> Iterator[list[tuple[str, str]]]:
    """The sentences of a file as ``(token, tag)``; none is empty.

    Raises:
        InvalidDatasetError: says what is wrong in which line.
    """
    sentence: list[tuple[str, str]] = []
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        line_no = 0
        try:
            for line_no, line in enumerate(file, 1):
                pair = _read_line(line.rstrip("\r\n"), columns, f"{path}, line {line_no}")
                if pair is not None:
                    sentence.append(pair)
                elif sentence and not line.strip():
                    yield sentence
                    sentence = []
        except UnicodeDecodeError as e:
            raise InvalidDatasetError(f"{path}, after line {line_no}: this is no UTF-8 text ({e}).") from e
    if sentence:
        yield sentence


def _read_line(line: str, columns: Columns, origin: str) -> tuple[str, str] | None:
    """The token and tag of a line; None for one without."""
    if not line.strip() or line.startswith("-DOCSTART-"):
        return None
    # A # begins a comment in CoNLL-U alone; elsewhere it is a token like any other.
    if columns.is_conllu and line.startswith("#"):
        return None
    cells = [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]
    # 3-4 stands for the tokens 3 and 4 written as one, 5.1 for a token left unsaid: neither has a tag of its own.
    if columns.is_conllu and not cells[0].isdigit():
        return None
    if len(cells) <= max(columns.token, columns.tag):
        raise InvalidDatasetError(
            f"{origin} has {len(cells)} column(s); the token was to be in column {columns.token + 1}, the tag in "
            f"column {columns.tag + 1}. See --token-column and --tag-column."
        )
    token, tag = cells[columns.token], cells[columns.tag]
    if not token or not tag:
        raise InvalidDatasetError(f"{origin}: the {'tag' if token else 'token'} is empty.")
    # The one token that the format of POS_TAGGING cannot hold.
    return (token if token != SENTENCE_END else "\\", tag)


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Writes the zips; returns their paths.

    Raises:
        InvalidDatasetError: says what is wrong in which line.
    """
    parser = make_parser(__doc__ or "", default_name="corpus")
    parser.add_argument("train", type=Path, nargs="+", help="files to train on; or all there is, to be split")
    parser.add_argument("--val", type=Path, nargs="+", default=[], metavar="FILE", help="files to validate on")
    parser.add_argument("--test", type=Path, nargs="+", default=[], metavar="FILE", help="files to test on")
    parser.add_argument("--token-column", type=int, metavar="N", help="counted from 1 (1; in CoNLL-U 2)")
    parser.add_argument("--tag-column", type=int, metavar="N", help="counted from 1 (2; in CoNLL-U 4: UPOS, 5: XPOS)")
    args = parser.parse_args(argv)
    for option in ("token_column", "tag_column"):
        if (number := getattr(args, option)) is not None and number < 1:
            parser.error(f"--{option.replace('_', '-')}: columns are counted from 1, not {number}")

    def sentences_of(paths: Iterable[Path]) -> Iterator[list[tuple[str, str]]]:
        return chain.from_iterable(iter_sentences(path, Columns(path, args)) for path in paths)

    given = {"train": args.train, "val": args.val, "test": args.test}
    tags: set[str] = set()
    counts = {}
    for part, paths in given.items():
        counts[part] = 0
        for sentence in sentences_of(paths):
            counts[part] += 1
            tags.update(tag for _, tag in sentence)
    if not tags:
        raise InvalidDatasetError(f"There is no sentence in {', '.join(map(str, args.train))}.")
    if args.val or args.test:
        assigned = [part for part in PARTS for _ in range(counts[part])]
    else:
        assigned = split_by_class(["all"] * counts["train"], args.split, args.seed)
    parts = [part for part in PARTS if part in assigned]
    tag_names = sorted(tags)
    numbers = {tag: i for i, tag in enumerate(tag_names)}

    with open_parts(args.out, args.name, parts, "corpus.tsv", ["token", "tag"], delimiter="\t") as writers:
        sentences = chain.from_iterable(map(sentences_of, given.values()))
        for sentence, part in track(zip(sentences, assigned, strict=True), len(assigned), "sentences", args.quiet):
            for token, tag in sentence:
                writers[part].add_row(token, numbers[tag])
            writers[part].add_row(SENTENCE_END, 0)
        for writer in writers.values():
            writer.add_file("tags.csv", names_table(["tag", "name"], tag_names))
    return [zip_path(args.out, args.name, part) for part in parts]


if __name__ == "__main__":
    run(main)
