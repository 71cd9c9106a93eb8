"""pip as one compressed file: it installs the packages of models, and is imported by nobody."""

from __future__ import annotations

import zipfile
from importlib import metadata
from pathlib import Path

from rafiki_cli.images.site_files import files_of

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


def write_pip_archive(pip: metadata.Distribution, out: Path) -> None:
    """The same file whenever pip is the same. Python runs it as it is: ``python pip.zip/pip install ...``."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, file in sorted(files_of(pip)):
            entry = zipfile.ZipInfo(path, _LONG_AGO)
            entry.external_attr = _READABLE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
