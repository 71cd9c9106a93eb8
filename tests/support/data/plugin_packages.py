"""Packages that add names to Rafiki, as an installer leaves them: modules, and their entry points beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def install_plugin(folder: Path, package: str, modules: Mapping[str, str], points: Mapping[str, list[str]]) -> None:
    """Lay a package into a folder of ``PYTHONPATH``.

    Args:
        modules: name -> source, of the modules in the package.
        points: group -> lines such as ``hill = rafiki_hills.hill:SCHEME``.
    """
    home = folder / package.replace("-", "_")
    home.mkdir(parents=True)
    for name, source in {"__init__": "", **modules}.items():
        (home / f"{name}.py").write_text(source)
    info = folder / f"{home.name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    sections = ["\n".join([f"[{group}]", *lines]) for group, lines in points.items()]
    (info / "entry_points.txt").write_text("\n\n".join(sections) + "\n")


def modules_of(page: str) -> dict[str, str]:
    """The Python files that a page shows, by the first word of their docstrings in lower case."""
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"))
    return {m[1].lower(): block for block in blocks if (m := re.match(r'"""(\w+)', block))}


def install_hills(folder: Path) -> None:
    """The package of docs/howto/plug-in-packages.md, made of the files that the guides show."""
    searches, tasks = modules_of("howto/add-a-search-scheme.md"), modules_of("howto/add-a-task.md")
    modules = {"hill": searches["hill"], "floor": searches["floor"], "series_forecast": tasks["series_forecast"]}
    text = (DOCS / "howto" / "plug-in-packages.md").read_text("utf-8")
    points = {
        group: [line.replace('"', "")]
        for group, line in re.findall(r'(?m)^\[project\.entry-points\."([\w.]+)"\]\n(.*)$', text)
    }
    install_plugin(folder, "rafiki-hills", modules, points)
