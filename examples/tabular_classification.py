"""A csv file -> TABULAR_CLASSIFICATION -> the classes of rows that were held out.

    python examples/tabular_classification.py --data examples/data/titanic.csv --target survived

The models need scikit-learn: pip install 'rafiki-ml[templates]'.
"""

from __future__ import annotations

import csv
from pathlib import Path

from common import (
    TEMPLATES,
    Template,
    add_budget,
    ask,
    convert,
    log_in,
    make_parser,
    most_probable,
    read_rows,
    run,
    serve,
    temporary_folder,
    to_value,
    train,
)

from rafiki.constants import Task

FOLDER = TEMPLATES / "tabular"
MODELS = [
    Template(FOLDER / "hist_gradient_boosting.py", "HistGradientBoostingClassifier", {"scikit-learn": ">=1.4"}),
    Template(FOLDER / "linear.py", "LogisticClassifier", {"scikit-learn": ">=1.4"}),
]


def read_classes(path: Path, target: str) -> list[str]:
    """The classes in the order of a prediction's probabilities: numbers by size, then texts by alphabet."""
    with path.open(encoding="utf-8", newline="") as file:
        found = {row[target] for row in csv.DictReader(file)}

    def order(name: str) -> tuple[bool, float, str]:
        value = to_value(name)
        return (False, value, "") if isinstance(value, float) else (True, 0.0, name)

    return sorted(found, key=order)


def main() -> None:
    parser = make_parser(__doc__)
    add_budget(parser, app="table")
    parser.add_argument("--data", type=Path, required=True, metavar="CSV", help="a csv file with a header")
    parser.add_argument("--target", default="survived", help="the column to predict (survived)")
    args = parser.parse_args()
    client = log_in(args)
    with temporary_folder() as folder:
        train_file, val_file, test_file = convert(
            "csv_split.py", args.data, "--stratify", args.target, "--split", "60,20,20", "--out", folder
        )
        rows, targets = read_rows(test_file, args.target)
        classes = read_classes(train_file, args.target)
        job = train(client, args, Task.TABULAR_CLASSIFICATION, train_file, val_file, MODELS, target=args.target)
    with serve(client, job) as predictor:
        predictions = [classes[most_probable(p)] for p in ask(predictor, rows)]
    for row, found, wanted in list(zip(rows, predictions, targets, strict=True))[:3]:
        print(f"  {row}: {found} (in truth {wanted})")
    n_right = sum(found == wanted for found, wanted in zip(predictions, targets, strict=True))
    print(f"accuracy: {n_right / len(rows):.4f} ({n_right} of {len(rows)} held-out rows)")


if __name__ == "__main__":
    run(main)
