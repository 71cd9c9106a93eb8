from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from rafiki.utils import yaml_numbers
from rafiki.utils.plain_yaml import read_plain_yaml

REPO = Path(__file__).resolve().parent.parent
VALUES = [
    "3000", "0", "007", "1_000", "0x1f", "-1", "1.5", "1.", ".5", "1e3", "1:30", "2026-01-01", "true", "false", "True",
    "yes", "No", "on", "off", "null", "Null", "~", "y", "n", ".inf", ".nan", ".Inf", "-.inf", "127.0.0.1", "1.2.3",
    "::1", "word", "two words", "a-b_c.d", ".rafiki", "./x/y", "../up", "/abs/path", "sqlite:///x", "folder:/x", "a:b",
    "a#b", "#c", "'quoted'", '"quoted"', "[1, 2]", "{a: 1}", "*alias", "&anchor x", "!!str 1", "| ", "> ", "=", "<<",
    "%x", "@x", "`x`", "e1", "x ", "", "é", "\x07", "a\tb", "-", "- x", "?", "? x", "a,b", "a]", "99999999999",
]  # fmt: skip
KEYS = ["host", "port", "max_restarts", "on", "n", "no", "Port", "a-b", "1", "null", "'x'", "<<", "url"]
ENDS = ["", " ", "  # why", " #", "# glued", "\t", "\r"]


def _line(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.15:
        return rng.choice(["", "  ", "# words", "    # words", "---", "...", "\t", "#\x07", "  continued", "words"])
    if kind < 0.45:
        return rng.choice(["admin", "stack", "meta_store", "on", "Admin", "1"]) + ":" + rng.choice(ENDS)
    indent = rng.choice(["  "] * 8 + ["", " ", "    ", "\t"])
    return f"{indent}{rng.choice(KEYS)}:{rng.choice([' ', ' ', ' ', '  ', ''])}{rng.choice(VALUES)}{rng.choice(ENDS)}"


def _by_library(text: str) -> tuple[object, dict[str, int]]:
    root, lines = yaml.compose(text, Loader=yaml.SafeLoader), {}
    for section, settings in getattr(root, "value", []):
        lines[section.value] = section.start_mark.line + 1
        if isinstance(settings, yaml.MappingNode):
            lines |= {f"{section.value}.{key.value}": key.start_mark.line + 1 for key, _ in settings.value}
    return yaml.load(text, yaml_numbers.loader()) or {}, lines


def test_what_is_read_is_what_the_library_reads() -> None:
    rng = random.Random(7)
    n_read = 0
    for _ in range(3000):
        text = "\n".join(["admin:", *(_line(rng) for _ in range(rng.randint(0, 3)))])
        found = read_plain_yaml(text)
        if found is not None:
            n_read += 1
            assert tuple(found) == _by_library(text), text
    assert n_read > 200


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("value", VALUES)
def test_no_value_is_taken_for_another(value: str, end: str) -> None:
    text = f"admin:\n  host: {value}{end}\n"
    found = read_plain_yaml(text)
    assert found is None or (found.sections, found.lines) == _by_library(text)


@pytest.mark.parametrize("value", ["3000", "true", "127.0.0.1", "word", ".rafiki", "./x/y", "/abs/path"])
def test_plain_values_need_no_library(value: str) -> None:
    found = read_plain_yaml(f"# Settings\n\nadmin:\n  host: {value}  # why\n\nstack:\n")
    assert found is not None
    assert found.sections == {"admin": {"host": yaml.safe_load(value)}, "stack": None}
    assert found.lines == {"admin": 3, "admin.host": 4, "stack": 6}


def test_our_own_file_needs_no_library() -> None:
    text = (REPO / "rafiki.yaml").read_text("utf-8")
    found = read_plain_yaml(text)
    assert found is not None
    assert found.sections == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["admin:\n  port: 1\n  port: 2\n", "admin:\nadmin:\n", "port: 1\n", "  port: 1\n"])
def test_what_the_library_reads_in_its_own_way_is_left_to_it(text: str) -> None:
    assert read_plain_yaml(text) is None
