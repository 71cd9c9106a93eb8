"""Rafiki from Python, step by step: train two models on scans of handwritten digits, and serve the best of each.

    RAFIKI_PASSWORD=... python examples/quickstart.py --trials 5

The images and both models come from scikit-learn: pip install 'rafiki-ml[templates]'.
"""

from __future__ import annotations

from common import (
    START_GRACE_S,
    TEMPLATES,
    Template,
    add_budget,
    ask,
    convert,
    log_in,
    make_parser,
    most_probable,
    read_images,
    run,
    temporary_folder,
    upload_model,
    wait_for_predictor,
    wait_for_train_job,
)

from rafiki.client import PredictorClient
from rafiki.constants import BudgetOption, Task

TASK = Task.IMAGE_CLASSIFICATION
FOLDER = TEMPLATES / "image_classification"
MODELS = [
    Template(FOLDER / "decision_tree.py", "SkDt", {"scikit-learn": ">=1.4"}),
    Template(FOLDER / "svm.py", "SkSvm", {"scikit-learn": ">=1.4"}),
]


def main() -> None:
    parser = make_parser(__doc__)
    add_budget(parser, app="quickstart", hours=0.1)
    args = parser.parse_args()
    client = log_in(args)

    with temporary_folder() as folder:
        train_file, val_file, test_file = convert("load_digits.py", "--out", folder)
        images, classes = read_images(test_file)
        train_dataset = client.create_dataset("digits-train", TASK, train_file)
        val_dataset = client.create_dataset("digits-val", TASK, val_file)
    print(f"uploaded two datasets, {train_dataset['size_bytes']:,} and {val_dataset['size_bytes']:,} bytes")

    models = [upload_model(client, TASK, template) for template in MODELS]

    job = client.create_train_job(
        args.app,
        TASK,
        train_dataset["id"],
        val_dataset["id"],
        budget={BudgetOption.MODEL_TRIAL_COUNT: args.trials, BudgetOption.TIME_HOURS: args.hours},
        models=[model["id"] for model in models],
    )
    version = job["app_version"]
    print(f"training version {version} of {args.app}:")
    wait_for_train_job(client, job, timeout_s=args.hours * 3600 + START_GRACE_S)
    for trial in client.get_best_trials_of_train_job(args.app, version, max_count=2):
        print(f"among the best: {trial['model_name']} #{trial['no']}, score {trial['score']:.4f}")

    client.create_inference_job(args.app, version)
    try:
        host = wait_for_predictor(client, args.app, version)
        print(f"serving at http://{host}/predict")
        with PredictorClient(host) as predictor:
            probabilities = predictor.predict(images[0])
            print(
                f"the first image is a {most_probable(probabilities)}, with a probability of {max(probabilities):.2f}"
            )
            predictions = ask(predictor, images)
    finally:
        client.stop_inference_job(args.app, version)

    n_right = sum(most_probable(p) == c for p, c in zip(predictions, classes, strict=True))
    print(f"accuracy: {n_right / len(classes):.4f} ({n_right} of {len(classes)} held-out images)")


if __name__ == "__main__":
    run(main)
