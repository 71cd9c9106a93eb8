"""What dependencies mean, and when they are there already."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import time
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from rafiki.environments.requirements import (
    RequirementReader,
    are_satisfied,
    key_of,
    lines_for_pip,
    lines_of,
    parse_dependencies,
    parse_lines,
)
from rafiki.errors import EnvironmentBuildError, InvalidModelError

NUMPY = importlib.metadata.version("numpy")


@pytest.mark.parametrize(
    ("name", "version", "line"),
    [
        ("scikit-learn", "1.4.2", "scikit-learn==1.4.2"),
        ("Scikit_Learn", "1.4.2", "scikit-learn==1.4.2"),
        ("scikit-learn", ">=1.4,<2", "scikit-learn<2,>=1.4"),
        ("scikit-learn", ">= 1.4 , < 2", "scikit-learn<2,>=1.4"),
        ("scikit-learn", "~=1.4", "scikit-learn~=1.4"),
        ("scikit-learn", "1.4.*", "scikit-learn==1.4.*"),
        ("scikit-learn", "==1.4", "scikit-learn==1.4"),
        ("Keras", "", "keras"),
        ("Keras", "latest", "keras"),
        ("Keras", "*", "keras"),
        ("uvicorn[Standard]", ">=0.30", "uvicorn[standard]>=0.30"),
        ("torch", "2.2.0+cpu", "torch==2.2.0+cpu"),
        ("torch", "2.0rc1", "torch==2.0rc1"),
    ],
)
def test_a_dependency_is_a_name_and_a_version_a_range_or_nothing(name: str, version: str, line: str) -> None:
    assert lines_of(parse_dependencies({name: version})) == [line]


@pytest.mark.parametrize(
    ("dependencies", "says"),
    [
        ({"": "1"}, "no name of a PyPI package"),
        ({"-r secrets.txt": ""}, "no name"),
        ({"--index-url=http://x": "1"}, "no name"),
        ({"../evil": ""}, "no name"),
        ({"a b": "1"}, "no name"),
        ({"numpy>=1": ""}, "no name"),
        ({"numpy; python_version > '3'": ""}, "no name"),
        ({"numpy @ https://example.org/numpy.zip": ""}, "no name"),
        ({"numpy": "one"}, "no version of 'numpy'"),
        ({"numpy": "1.0 --no-deps"}, "no version"),
        ({"numpy": ">=1 ; x"}, "no version"),
        ({"numpy": "@ file:///etc"}, "no version"),
        ({"numpy": "=>1"}, "no version"),
        ({"numpy": "===--index-url=http://x"}, "no version of 'numpy'"),
        ({"numpy": "===1.0"}, "no version"),
        ({"numpy": ">=1,===--pre"}, "no version"),
        ({"numpy": "=== 1.0"}, "no version"),
        ({"numpy": "===file:///etc/passwd"}, "no version"),
        ({"numpy": "===${HOME}"}, "no version"),
        ({"numpy": "==1\n--index-url=http://x"}, "no version"),
        ({"numpy": "1.0\n"}, "no version"),
        ({"numpy": "1.0\r-e ."}, "no version"),
        ({"numpy": "1.0\u2028-e ."}, "no version"),
        ({"numpy": "1.0\x00"}, "no version"),
        ({"numpy": "1.0 # x"}, "no version"),
        ({"numpy": "1.0 \\"}, "no version"),
        ({"numpy": ">=1; os_name=='posix'"}, "no version"),
        ({"numpy": "1.0+a.zip"}, "no version"),
        ({"numpy": "==1.0+local.tar.gz"}, "no version"),
        ({"numpy": "1" * 5000}, "no version"),
        ({"numpy": ",".join([">=1"] * 500)}, "no version"),
        ({"numpy": "\u0661.0"}, "no version"),
        ({"numpy\n--index-url=http://x": ""}, "no name"),
        ({"numpy\n": ""}, "no name"),
        ({"n\u016bmpy": ""}, "no name"),
        ({"numpy[a]; x": ""}, "no name"),
        ({"numpy[--pre]": ""}, "no name"),
        ({"numpy[a,\nb]": ""}, "no name"),
        ({"numpy[x] @ file:///x": ""}, "no name"),
        ({"./numpy": ""}, "no name"),
        ({"git+https://x/y": ""}, "no name"),
        ({"-e": ""}, "no name"),
        ({"$HOME": ""}, "no name"),
        ({"x" * 201: ""}, "no name"),
        ({"scikit-learn": "1", "Scikit_Learn": "2"}, "same package"),
        ({f"p{i}": "" for i in range(101)}, "101 packages"),
    ],
)
def test_what_is_no_dependency_is_refused_by_name(dependencies: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidModelError, match=r"Field 'dependencies'") as refusal:
        parse_dependencies(dependencies)
    assert says in refusal.value.message


@pytest.mark.parametrize(
    "line",
    [
        "numpy===--index-url=http://x", "numpy===1.0", "numpy @ https://example.org/numpy.zip", "numpy==1.0+a.zip",
        "numpy; python_version > '3'", "--pre", "-e .", "", "numpy==1\n-e .", "./numpy", "numpy==1 --hash=x:y",
    ],
)  # fmt: skip
def test_no_line_but_a_name_and_a_version_reaches_pip(line: str) -> None:
    with pytest.raises(EnvironmentBuildError, match="more than a package's name and version"):
        parse_lines([line])
    if line.startswith("numpy") and " --" not in line and "\n" not in line:
        with pytest.raises(EnvironmentBuildError, match="more than a package's name and version"):
            lines_for_pip([Requirement(line)])


def test_what_is_written_for_pip_is_read_back_on_a_node() -> None:
    wanted = {"scikit-learn": ">=1.4,<2", "uvicorn[standard,x-y]": "", "torch": "2.2.0+cpu", "keras": "1!2.*"}
    requirements = parse_dependencies(wanted)
    lines = lines_for_pip(requirements)
    assert lines_of(parse_lines(lines)) == lines == lines_of(requirements)


@pytest.mark.parametrize(("name", "says"), [("rafiki", "a package of others"), ("Rafiki_ML", "Rafiki itself")])
def test_rafiki_is_no_dependency_of_a_model(name: str, says: str) -> None:
    with pytest.raises(InvalidModelError, match=says):
        parse_dependencies({"numpy": "", name: ">=0.1"})


@pytest.mark.parametrize(
    ("dependencies", "is_satisfied"),
    [
        ({}, True),
        ({"numpy": ""}, True),
        ({"NumPy": NUMPY}, True),
        ({"numpy": ">=1.26"}, True),
        ({"numpy": "0.1"}, False),
        ({"numpy": "<1"}, False),
        ({"no-such-package-anywhere": ""}, False),
        ({"numpy": "", "no-such-package-anywhere": ""}, False),
        # The extra of a package that is there: redis[hiredis] is one of Rafiki's own dependencies.
        ({"redis[hiredis]": ""}, True),
        ({"redis[ocsp]": ""}, False),
    ],
)
def test_what_is_installed_beside_rafiki_satisfies(dependencies: dict[str, str], is_satisfied: bool) -> None:
    assert are_satisfied(parse_dependencies(dependencies)) is is_satisfied


def test_another_build_of_the_same_package_satisfies() -> None:
    version = importlib.metadata.version("xgboost-cpu")
    assert are_satisfied(parse_dependencies({"xgboost": version}))
    assert not are_satisfied(parse_dependencies({"xgboost": "0.1"}))


def test_the_same_set_has_one_key_however_it_is_written() -> None:
    def key(**dependencies: str) -> str:
        return key_of(parse_dependencies(dependencies))

    assert key(numpy=">=1,<3", keras="2.0") == key(Keras="==2.0", NumPy="<3,>=1")
    assert key(numpy=">=1") != key(numpy=">=2")
    assert key(numpy="") != key(keras="")


def test_what_was_read_is_forgotten_when_a_package_comes_or_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    reader, wanted = RequirementReader(), {"brand-new-package": ">=2"}
    assert not reader.read(wanted).is_satisfied
    for hours_ago, version, is_satisfied in ((2, "2.1", True), (1, "1.0", False)):
        for old in tmp_path.iterdir():
            shutil.rmtree(old)
        record = tmp_path / f"brand_new_package-{version}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: brand-new-package\nVersion: {version}\n")
        # Of what has changed just now nothing is remembered: it may go on changing.
        assert reader.read(wanted).is_satisfied is is_satisfied
        assert reader.read(wanted) is not reader.read(wanted)
        long_ago = time.time() - 3600 * hours_ago
        os.utime(tmp_path, (long_ago, long_ago))
        assert reader.read(wanted).is_satisfied is is_satisfied
        assert reader.read(wanted) is reader.read(dict(wanted))


def test_dependencies_that_are_none_are_refused_each_time() -> None:
    reader = RequirementReader()
    for _ in range(2):
        with pytest.raises(InvalidModelError):
            reader.read({"no name": "!"})
