"""The lists of what to touch, in docs/contributing.md, name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rafiki import registries

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "contributing.md").read_text("utf-8")
_, _, REST = TEXT.partition("## What to touch for ...\n")
SECTIONS = dict(re.findall(r"^### (.+)\n((?:(?!^##).*\n)*)", REST, re.MULTILINE))
KINDS = {
    "a search scheme": "SCHEMES",
    "a stopping rule": "RULES",
    "a task": "TASKS",
    "a container back end": "CONTAINERS",
    "a store": "STORES",
    "a tracker": "TRACKERS",
}
"""Those that are an entry of a registry, and the table of it."""


def test_there_are_eight_lists() -> None:
    assert set(SECTIONS) == {*KINDS, "a call with its command", "a view of the command line"}


@pytest.mark.parametrize("what", SECTIONS)
def test_every_place_that_a_list_names_is_there(what: str) -> None:
    places = re.findall(r"`([\w.]+/[\w./]+)`", SECTIONS[what])
    assert places
    for place in places:
        # NAME and NOUN stand for any name: there are files of that form.
        pattern = re.sub(r"NAME|NOUN", "*", place)
        assert list(ROOT.glob(pattern.rstrip("/"))), place


@pytest.mark.parametrize(("what", "table"), KINDS.items())
def test_one_entry_is_all_that_is_registered(what: str, table: str) -> None:
    assert f"`{table}`" in SECTIONS[what]
    assert getattr(registries, table) in registries.KINDS
