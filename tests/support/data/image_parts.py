"""Parts of image datasets."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Collection
from pathlib import Path


def part_of_classes(whole: str | Path, out: Path, classes: Collection[int]) -> Path:
    """The images of some classes alone, whose numbers stay."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(out, "w") as part:
        rows = list(csv.DictReader(io.TextIOWrapper(source.open("images.csv"))))
        kept = [row for row in rows if int(row["class"]) in classes]
        table = io.StringIO()
        writer = csv.DictWriter(table, ["path", "class"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
        part.writestr("images.csv", table.getvalue())
        for row in kept:
            part.writestr(row["path"], source.read(row["path"]))
    return out
