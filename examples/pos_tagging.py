"""Tagged text -> POS_TAGGING -> the tags of sentences that were held out.

    python examples/pos_tagging.py --data examples/data/ud_ewt_train_4000.tsv
    python examples/pos_tagging.py --data train.conllu --val dev.conllu --test test.conllu --network

A line of it is a token, a tab and a tag, and an empty line ends a sentence; or it is CoNLL-U.
`--network` trains a bidirectional LSTM beside the hidden Markov model; it needs torch: pip install 'rafiki-ml[torch]'.
"""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

from common import (
    TEMPLATES,
    Template,
    add_budget,
    ask,
    convert,
    log_in,
    make_parser,
    open_table,
    run,
    serve,
    temporary_folder,
    train,
)

from rafiki.constants import Task

FOLDER = TEMPLATES / "pos_tagging"
MARKOV_MODEL = Template(FOLDER / "bigram_hmm.py", "BigramHmm", {})
NETWORK = Template(FOLDER / "bilstm.py", "BiLstm", {"torch": ">=2.2"})


def read_sentences(path: Path) -> tuple[list[list[str]], list[list[int]], list[str]]:
    """The sentences of a dataset, their tags, and the tags' names."""
    tokens: list[list[str]] = [[]]
    tags: list[list[int]] = [[]]
    with zipfile.ZipFile(path) as archive:
        with open_table(archive, "tags.csv") as table:
            names = [row["name"] for row in csv.DictReader(table)]
        with open_table(archive, "corpus.tsv") as table:
            for row in csv.DictReader(table, delimiter="\t"):
                if row["token"] == "\\n":  # a backslash and an n: the end of a sentence
                    tokens.append([])
                    tags.append([])
                else:
                    tokens[-1].append(row["token"])
                    tags[-1].append(int(row["tag"]))
    return [sentence for sentence in tokens if sentence], [sentence for sentence in tags if sentence], names


def main() -> None:
    parser = make_parser(__doc__)
    add_budget(parser, app="tags")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="tagged text, one token a line")
    parser.add_argument("--val", type=Path, metavar="FILE", help="text to validate on; without, a part of --data")
    parser.add_argument("--test", type=Path, metavar="FILE", help="text to hold out; without, a part of --data")
    parser.add_argument("--network", action="store_true", help="train a bidirectional LSTM too (needs torch)")
    args = parser.parse_args()
    if (args.val is None) != (args.test is None):
        parser.error("give --val and --test, or neither")
    client = log_in(args)
    with temporary_folder() as folder:
        held_out = ["--val", args.val, "--test", args.test] if args.test else ["--split", "80,10,10"]
        train_file, val_file, test_file = convert("conll.py", args.data, *held_out, "--out", folder)
        sentences, wanted, names = read_sentences(test_file)
        templates = [MARKOV_MODEL, NETWORK] if args.network else [MARKOV_MODEL]
        job = train(client, args, Task.POS_TAGGING, train_file, val_file, templates)
    with serve(client, job) as predictor:
        found = ask(predictor, sentences)
    for tokens, tags in list(zip(sentences, found, strict=True))[:3]:
        print("  " + " ".join(f"{token}/{names[tag]}" for token, tag in zip(tokens, tags, strict=True)))
    hits = [f == w for s, t in zip(found, wanted, strict=True) for f, w in zip(s, t, strict=True)]
    print(
        f"accuracy: {sum(hits) / len(hits):.4f} ({sum(hits)} of {len(hits)} tokens of {len(found)} held-out sentences)"
    )


if __name__ == "__main__":
    run(main)
