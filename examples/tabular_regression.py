"""A csv file -> TABULAR_REGRESSION -> a number for each row that was held out.

    python examples/tabular_regression.py --data examples/data/concrete.csv --target compressive_strength

The models need scikit-learn: pip install 'rafiki-ml[templates]'.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from common import (
    TEMPLATES,
    Template,
    add_budget,
    ask,
    convert,
    log_in,
    make_parser,
    read_rows,
    run,
    serve,
    temporary_folder,
    train,
)

from rafiki.constants import Task

MODELS = [
    Template(
        TEMPLATES / "tabular" / "hist_gradient_boosting.py",
        "HistGradientBoostingRegressor",
        {"scikit-learn": ">=1.4"},
    )
]


def main() -> None:
    parser = make_parser(__doc__)
    add_budget(parser, app="regression")
    parser.add_argument("--data", type=Path, required=True, metavar="CSV", help="a csv file with a header")
    parser.add_argument("--target", default="compressive_strength", help="the column to predict (%(default)s)")
    args = parser.parse_args()
    client = log_in(args)
    with temporary_folder() as folder:
        train_file, val_file, test_file = convert("csv_split.py", args.data, "--split", "60,20,20", "--out", folder)
        rows, targets = read_rows(test_file, args.target)
        job = train(client, args, Task.TABULAR_REGRESSION, train_file, val_file, MODELS, target=args.target)
    with serve(client, job) as predictor:
        predictions = ask(predictor, rows)
    wanted = [float(target) for target in targets]
    errors = [found - truth for found, truth in zip(predictions, wanted, strict=True)]
    print(f"mean absolute error: {statistics.fmean(map(abs, errors)):.4f}")
    r2 = 1 - statistics.fmean(error**2 for error in errors) / statistics.pvariance(wanted)
    print(f"R2: {r2:.4f} ({len(rows)} held-out rows)")


if __name__ == "__main__":
    run(main)
