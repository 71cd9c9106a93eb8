"""Names that Rafiki knows, and those that packages of others add."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rafiki.registry import BrokenEntry, Kind, Registry, UnknownNameError

GROUP = "rafiki.test_shapes"


class Shape:
    def __init__(self, corners: int) -> None:
        self.corners = corners


SQUARE = Shape(4)


def install(folder: Path, package: str, points: str, source: str) -> None:
    """What an installer leaves of a package: its module, and its entry points beside it."""
    (folder / f"{package}.py").write_text(source)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n")


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Shape]:
    monkeypatch.syspath_prepend(str(tmp_path))
    # Imported by this test's own name, whatever way the runner imported this file.
    monkeypatch.setitem(sys.modules, "shapes_of_rafiki", sys.modules[__name__])
    kind = Kind(
        what="shape",
        plural="shapes",
        group=GROUP,
        registry="shapes_of_rafiki:SHAPES",
        builtin={"square": "shapes_of_rafiki:SQUARE"},
    )
    found = Registry(kind, Shape)
    found.forget()
    monkeypatch.setattr(sys.modules[__name__], "SHAPES", found, raising=False)
    return found


def test_what_comes_with_rafiki_is_found_by_name(shapes: Registry[Shape]) -> None:
    assert shapes.find("square") is SQUARE
    assert shapes.names() == ["square"]
    assert "square" in shapes
    assert shapes.package_of("square") == "rafiki"


def test_a_package_adds_an_entry(shapes: Registry[Shape], tmp_path: Path) -> None:
    source = "import shapes_of_rafiki\nHEXAGON = shapes_of_rafiki.Shape(6)"
    install(tmp_path, "shapes_more", "hexagon = shapes_more:HEXAGON", source)
    assert shapes.get("hexagon").corners == 6
    assert dict(shapes.items()).keys() == {"square", "hexagon"}
    assert shapes.package_of("hexagon") == "shapes_more"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("raise SystemExit('no display')", "SystemExit: no display"),
        ("import a_module_that_is_not_there", "a_module_that_is_not_there"),
        ("OTHER = 1", "HEXAGON"),
        ("HEXAGON = 6", "a shape has to be a Shape, not a int"),
    ],
)
def test_an_entry_that_fails_to_load_is_named_and_left_out(
    shapes: Registry[Shape], tmp_path: Path, source: str, reason: str
) -> None:
    install(tmp_path, "shapes_broken", "hexagon = shapes_broken:HEXAGON", source)
    sys.modules.pop("shapes_broken", None)
    assert [name for name, _ in shapes.items()] == ["square"]
    [broken] = shapes.broken()
    assert (broken.name, broken.package) == ("hexagon", "shapes_broken")
    assert reason in broken.reason
    with pytest.raises(UnknownNameError, match="shapes_broken cannot be used"):
        shapes.get("hexagon")


def test_a_package_cannot_take_a_name_of_rafiki(shapes: Registry[Shape], tmp_path: Path) -> None:
    install(tmp_path, "shapes_thief", "square = shapes_thief:SQUARE", "SQUARE = None")
    assert shapes.find("square") is SQUARE
    assert shapes.names() == ["square"]
    assert shapes.broken() == [BrokenEntry("square", "shapes_thief", "rafiki has a shape of that name")]


def test_of_two_packages_with_one_name_the_first_counts(shapes: Registry[Shape], tmp_path: Path) -> None:
    for package, corners in (("shapes_b", 8), ("shapes_a", 6)):
        source = f"import shapes_of_rafiki\nMORE = shapes_of_rafiki.Shape({corners})"
        install(tmp_path, package, f"more = {package}:MORE", source)
    assert shapes.get("more").corners == 6
    assert shapes.broken() == [BrokenEntry("more", "shapes_b", "shapes_a has a shape of that name")]


def test_a_name_of_its_own_has_to_be_the_one_it_is_registered_under(shapes: Registry[Shape], tmp_path: Path) -> None:
    source = "import shapes_of_rafiki\nMORE = shapes_of_rafiki.Shape(6)\nMORE.name = 'hexagon'"
    install(tmp_path, "shapes_named", "more = shapes_named:MORE", source)
    assert shapes.names() == ["square"]
    [broken] = shapes.broken()
    assert broken.reason == "ValueError: it is registered as 'more', but its name is 'hexagon'"


def test_a_class_is_made_without_arguments(shapes: Registry[Shape], tmp_path: Path) -> None:
    source = (
        "import shapes_of_rafiki\nclass Dot(shapes_of_rafiki.Shape):\n    def __init__(self):\n        self.corners = 0"
    )
    install(tmp_path, "shapes_class", "dot = shapes_class:Dot", source)
    assert shapes.get("dot").corners == 0
    assert shapes.get("dot") is shapes.get("dot")


def test_a_malformed_list_of_one_package_leaves_the_others(shapes: Registry[Shape], tmp_path: Path) -> None:
    install(tmp_path, "shapes_malformed", "what is this", "")
    source = "import shapes_of_rafiki\nHEXAGON = shapes_of_rafiki.Shape(6)"
    install(tmp_path, "shapes_whole", "hexagon = shapes_whole:HEXAGON", source)
    assert shapes.names() == shapes.kind.names() == ["square", "hexagon"]


def test_an_unknown_name_is_refused_with_those_that_there_are(shapes: Registry[Shape]) -> None:
    assert shapes.find("circle") is None
    with pytest.raises(UnknownNameError, match=r"Unknown shape 'circle'\. There are: square"):
        shapes.get("circle")
