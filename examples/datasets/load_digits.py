"""Writes scikit-learn's handwritten digits as three datasets for IMAGE_CLASSIFICATION.

1,797 grey images of 8 x 8 pixels, classes 0 to 9: 60% to train on, 20% to validate, 20% to test.

    python examples/datasets/load_digits.py --out data/
"""

import argparse
import csv
import importlib.util
import io
import random
import zipfile
from pathlib import Path


def write_digits(out_dir, seed=0):
    """Writes ``digits_train.zip``, ``digits_val.zip`` and ``digits_test.zip`` into ``out_dir``; returns their paths.

    The same seed gives the same bytes.
    """
    images, classes = _read_digits()
    order = list(range(len(images)))
    random.Random(seed).shuffle(order)
    n_train, n_val = int(0.6 * len(order)), int(0.2 * len(order))
    parts = {
        "train": order[:n_train],
        "val": order[n_train : n_train + n_val],
        "test": order[n_train + n_val :],
    }
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    return tuple(
        _write_zip(out_dir / f"digits_{name}.zip", images[part], classes[part]) for name, part in parts.items()
    )


def _read_digits():
    """Images and classes."""
    file = _digits_file()
    if file is not None:
        import numpy as np

        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(int)
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target


def _digits_file():
    """The table that comes with scikit-learn, which takes a second to load; None where it is not in its usual place."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return file if file.is_file() else None


def _write_zip(path, images, classes):
    from PIL import Image

    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["path", "class"])
    with zipfile.ZipFile(path, "w") as archive:
        for i, (image, image_class) in enumerate(zip(images, classes, strict=True)):
            name = f"images/{i:04}.png"
            png = io.BytesIO()
            # The originals count from 0 to 16.
            Image.fromarray((image * 255 / 16).round().astype("uint8")).save(png, format="PNG")
            # ZipInfo's fixed date, instead of now, keeps the bytes the same from run to run.
            archive.writestr(zipfile.ZipInfo(name), png.getvalue())
            rows.writerow([name, int(image_class)])
        archive.writestr(zipfile.ZipInfo("images.csv"), table.getvalue())
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="data", help="the folder to write into")
    parser.add_argument("--seed", type=int, default=0, help="another seed splits the images otherwise")
    arguments = parser.parse_args()
    for zip_path in write_digits(arguments.out, arguments.seed):
        print(zip_path)
