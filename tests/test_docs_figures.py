"""The figures of the documentation: they can be drawn and read, are shown, and say what the code says."""

from __future__ import annotations

import ast
import re
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from docs._generate import figures
from docs._generate.svg import WIDTH, width_of

ROOT = Path(__file__).resolve().parents[1]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", figures.names())
def test_a_figure_fits_a_phone_and_says_in_words_what_it_shows(name: str) -> None:
    root = ET.fromstring(figures.draw(name))
    assert root.get("role") == "img"
    assert [root.findtext(f"{SVG}title"), bool(root.findtext(f"{SVG}desc"))] == [figures.read(name)["title"], True]
    _, _, width, height = map(float, str(root.get("viewBox")).split())
    assert width == WIDTH
    for text in root.iter(f"{SVG}text"):
        found = width_of(str(text.text), is_code="code" in str(text.get("class")))
        start = float(str(text.get("x"))) - {"middle": found / 2, "end": found}.get(str(text.get("text-anchor")), 0.0)
        assert start >= -1, text.text
        assert start + found <= width + 1, text.text
        assert float(str(text.get("y"))) < height


@pytest.mark.parametrize("name", figures.names())
def test_a_figure_is_shown_on_a_page(name: str) -> None:
    pages = [path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md")]
    assert any(f"{{drawing}} {name}\n" in page for page in pages)


def test_a_figure_that_cannot_be_drawn_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    (tmp_path / "odd.yaml").write_text("{title: T, about: A, kind: pie}")
    (tmp_path / "lane.yaml").write_text(
        "{title: T, about: A, kind: sequence, lanes: [a, b], steps: [{'a -> c': hello}]}"
    )
    with pytest.raises(figures.FigureError, match=r"no kind 'pie'.*sequence"):
        figures.draw("odd")
    with pytest.raises(figures.FigureError, match="no lane 'c'"):
        figures.draw("lane")
    with pytest.raises(figures.FigureError, match=r"no figure gone\.yaml.*lane, odd"):
        figures.draw("gone")


# ---- walks


def _defined_in(file: Path) -> set[str]:
    """Functions, classes and constants of a module, and the methods of its classes as ``Class.method``."""
    found: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=body):
                methods = [n.name for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
                found |= {name, *(f"{name}.{method}" for method in methods)}
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


@pytest.mark.parametrize("name", figures.walk_names())
def test_every_hop_of_a_walk_is_there(name: str) -> None:
    for hop in figures.hops(figures.read(name)):
        assert hop.function in _defined_in(ROOT / hop.file), f"{hop.file}:{hop.function}"


@pytest.mark.parametrize("name", figures.walk_names())
def test_one_word_finds_every_file_of_a_walk(name: str) -> None:
    figure = figures.read(name)
    missed = {
        hop.file
        for hop in figures.hops(figure)
        if not re.search(figure["name"], (ROOT / hop.file).read_text("utf-8"), re.IGNORECASE)
    }
    assert not missed


# ---- floors


def _layers() -> list[set[str]]:
    """The floors that the import rule checks, from top to bottom."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(rule["layers"] for rule in rules if rule["type"] == "layers")
    return [set(re.findall(r"rafiki\.(\w+)", layer)) for layer in layers]


def test_the_floors_are_those_that_the_import_rule_checks() -> None:
    rows = [row for row in figures.read("floors")["rows"] if isinstance(row.get("name"), int)]
    shown = [{name for box in row["boxes"] for name in _names_of(box).split()} for row in rows]
    assert [row["name"] for row in rows] == list(range(len(rows)))[::-1]
    assert shown == _layers()


def _names_of(box: str | dict[str, str]) -> str:
    return next(iter(box)) if isinstance(box, dict) else box
