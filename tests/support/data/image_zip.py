"""Small zips of pictures, good ones and harmful ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from PIL import Image


def png(grey: int = 128, size: int = 2) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), (grey, grey, grey)).save(out, "PNG")
    return out.getvalue()


def image_zip(
    csv: str | bytes | None = "path,class\na.png,0\nb.png,1\n", files: Mapping[str, bytes] | None = None
) -> bytes:
    """A dataset for IMAGE_CLASSIFICATION; ``files`` are added to, or replace, two good pictures."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {"a.png": png(10), "b.png": png(200), **(files or {})}.items():
            archive.writestr(name, data)
        if csv is not None:
            archive.writestr("images.csv", csv)
    return out.getvalue()
