"""Writes two tables of points with labels, two classes that no straight line divides: xor_train.csv and xor_val.csv."""

import csv

import numpy as np

generator = np.random.default_rng(1)
for name, size in (("train", 400), ("val", 200)):
    points = generator.uniform(-1, 1, size=(size, 2))
    labels = (points[:, 0] * points[:, 1] > 0) ^ (generator.random(size) < 0.1)
    with open(f"xor_{name}.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("x", "y", "label"), *((*p, int(label)) for p, label in zip(points, labels, strict=True))]
        )
