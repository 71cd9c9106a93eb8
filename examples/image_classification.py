"""Images in one folder a class -> IMAGE_CLASSIFICATION -> the classes of images that were held out.

    python examples/image_classification.py                                  # the digits of scikit-learn, as folders
    python examples/image_classification.py --data flowers/ --network        # flowers/<class>/*.jpg

`--network` trains a convolutional network too, which needs torch: pip install 'rafiki-ml[torch]'.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from common import (
    TEMPLATES,
    ExampleError,
    Template,
    add_budget,
    ask,
    convert,
    log_in,
    make_parser,
    most_probable,
    read_images,
    run,
    serve,
    temporary_folder,
    train,
)

from rafiki.constants import Task

FOLDER = TEMPLATES / "image_classification"
SVM = Template(FOLDER / "svm.py", "SkSvm", {"scikit-learn": ">=1.4"})
NETWORK = Template(FOLDER / "cnn.py", "TorchCnn", {"torch": ">=2.2"})


def write_digits(folder: Path) -> Path:
    """scikit-learn's 1,797 scans of digits, as ``<folder>/<digit>/<number>.png``; returns ``folder``."""
    if importlib.util.find_spec("sklearn") is None:
        raise ExampleError("The digits come with scikit-learn: pip install 'rafiki-ml[templates]', or give --data.")
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for i, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(digit) / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        # They count from 0 to 16.
        Image.fromarray((image * 255 / 16).round().astype("uint8")).save(path)
    return folder


def main() -> None:
    parser = make_parser(__doc__)
    add_budget(parser, app="images")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a folder or a zip with one folder a class")
    parser.add_argument("--network", action="store_true", help="train a convolutional network too (needs torch)")
    args = parser.parse_args()
    client = log_in(args)
    with temporary_folder() as folder:
        raw = args.data or write_digits(folder / "raw")
        train_file, val_file, test_file = convert("image_folders.py", raw, "--split", "60,20,20", "--out", folder)
        images, classes = read_images(test_file)
        templates = [SVM, NETWORK] if args.network else [SVM]
        job = train(client, args, Task.IMAGE_CLASSIFICATION, train_file, val_file, templates)
    with serve(client, job) as predictor:
        predictions = ask(predictor, images)
    n_right = sum(most_probable(p) == c for p, c in zip(predictions, classes, strict=True))
    print(f"accuracy: {n_right / len(classes):.4f} ({n_right} of {len(classes)} held-out images)")


if __name__ == "__main__":
    run(main)
