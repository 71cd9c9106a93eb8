"""Why a text is not JSON, and where a value does not fit a type: in our words, whatever the library says."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from rafiki.utils.json_text import why_not_json
from rafiki.utils.mismatch import explain_json, explain_mismatch, find_mismatch

Name = Annotated[str, Meta(min_length=1, max_length=4)]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Source(msgspec.Struct, forbid_unknown_fields=True):
    path: Name
    as_: str | None = msgspec.field(default=None, name="as")

    def __post_init__(self) -> None:
        if self.path == "/":
            raise ValueError("nothing is kept there")


class Job(msgspec.Struct, forbid_unknown_fields=True):
    app: Name
    source: Name | Source = "x"
    sources: Annotated[list[Source], Meta(max_length=2)] = []
    colour: Colour | None = None
    deploy: bool | Literal["later"] = True
    hours: Annotated[float, Meta(gt=0, le=10)] = 1.0
    trials: Annotated[int, Meta(ge=-1, lt=100)] = 1
    labels: dict[Name, str] = {}
    more: Any = None
    raw: msgspec.Raw | None = None


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"app": 3}, "expected `str`, got `int` at `$.app`"),
        ({"app": ""}, "expected `str` of length >= 1 at `$.app`"),
        ({"app": "12345"}, "expected `str` of length <= 4 at `$.app`"),
        ({"app": None}, "expected `str`, got `null` at `$.app`"),
        ({"nap": 1}, "there is no field `nap`"),
        ({"source": 1}, "expected `str | object`, got `int` at `$.source`"),
        ({"source": {}}, "the field `path` is missing at `$.source`"),
        ({"source": {"path": "p", "as": 1}}, "expected `str | null`, got `int` at `$.source.as`"),
        ({"source": {"path": "p", "as_": "q"}}, "there is no field `as_` at `$.source`"),
        ({"sources": [{"path": "p"}, {"path": 2}]}, "expected `str`, got `int` at `$.sources[1].path`"),
        ({"sources": [{"path": "p"}] * 3}, "expected `array` of length <= 2 at `$.sources`"),
        ({"sources": {}}, "expected `array`, got `object` at `$.sources`"),
        ({"colour": "green"}, "'green' is none of red, blue at `$.colour`"),
        ({"colour": 1}, "expected `str | null`, got `int` at `$.colour`"),
        ({"deploy": "now"}, "'now' is none of later at `$.deploy`"),
        ({"deploy": 1}, "expected `bool | str`, got `int` at `$.deploy`"),
        ({"hours": 0}, "expected `float` > 0 at `$.hours`"),
        ({"hours": 10.5}, "expected `float` <= 10 at `$.hours`"),
        ({"hours": 10**400}, "the number is out of range at `$.hours`"),
        ({"trials": -2}, "expected `int` >= -1 at `$.trials`"),
        ({"trials": 100}, "expected `int` < 100 at `$.trials`"),
        ({"trials": 1.5}, "expected `int`, got `float` at `$.trials`"),
        ({"trials": True}, "expected `int`, got `bool` at `$.trials`"),
        ({"labels": {"a": "b", "c": 1}}, "expected `str`, got `int` at `$.labels.c`"),
        ({"labels": {"longer": "b"}}, "the key 'longer': expected `str` of length <= 4 at `$.labels`"),
        ({"source": {"path": "/"}}, "nothing is kept there"),
    ],
)  # fmt: skip
def test_the_first_place_that_does_not_fit_is_told(more: dict[str, Any], says: str) -> None:
    value = {"app": "demo", **more}
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(value, Job)
    assert str(explain_mismatch(value, Job, refused.value)) == says


def test_a_value_that_fits_has_no_mismatch() -> None:
    value = {
        "app": "demo", "source": {"path": "p"}, "sources": [{"path": "p"}], "colour": "red", "deploy": "later",
        "hours": 2, "labels": {"a": "b"}, "more": [{}],
    }  # fmt: skip
    msgspec.convert(value, Job)
    assert find_mismatch(value, Job) is None
    assert find_mismatch({**value, "source": Source(path="p")}, Job) is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"app": "\xff"}', "it is not UTF-8 text (byte 9)"),
        ('{"app": 1}'.encode("utf-16"), "it is not UTF-8 text (byte 0)"),
        (b'["\xed\xa0\x80"]', "it is not UTF-8 text (byte 2)"),
        (b" \n", "it is empty"),
        (b'{"app": [', "it is cut off at byte 9"),
        (b'{"app": "x', "the text that begins at byte 8 has no end"),
        (b"app=x", "'a' cannot stand at byte 0"),
        ('"é" x'.encode(), "'x' cannot stand at byte 5"),
        (b"[1,]", "']' cannot stand at byte 3"),
        (b"[01]", "'1' cannot stand at byte 2"),
        (b'["\0"]', "'\\x00' cannot stand at byte 2"),
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark"),
        (b"[NaN]", "it holds NaN, which JSON does not have"),
        (b"[-Infinity]", "it holds -Infinity, which JSON does not have"),
        (b"-1e400", "the number -1e400 is out of range"),
        (b"9" * 5000, "a number of 5,000 digits is out of range"),
        (b'"\\udc00"', "it holds half of a surrogate pair"),
        (b"[" * 50_000 + b"]" * 50_000, "it is nested too deeply"),
    ],
)  # fmt: skip
def test_what_keeps_a_text_from_being_json(data: bytes, says: str) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
        msgspec.json.decode(data)
    assert why_not_json(data) == says
    assert explain_json(data, Job) == says


def test_json_that_is_well_formed_is_held_against_its_type() -> None:
    assert why_not_json(b'{"app": [1.5, "\\ud83d\\ude00", "\xc3\xa9", null]}') is None
    assert explain_json(b'{"app": "x", "hours": "y"}', Job) == "expected `float`, got `str` at `$.hours`"
