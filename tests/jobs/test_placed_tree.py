from __future__ import annotations

import pytest

from rafiki_cli.jobs.overrides import apply_settings
from rafiki_cli.terminal import UsageError
from rafiki_cli.yaml_files.placed_tree import parse_placed_tree

ENVIRON = {"N": "20", "NAME": "Ada", "EMPTY": "", "YES": "true"}


def parse(text: str, *settings: str) -> object:
    tree = parse_placed_tree(text, "f", ENVIRON)
    apply_settings(tree, settings)
    return tree.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${N}", 20),
        ('"${N}"', "20"),
        ("'${N}'", "20"),
        ("${N}px", "20px"),
        ("${YES}", True),
        ("${NONE:-7}", 7),
        ("${EMPTY:-7}", 7),
        ("${NONE:-}", None),
        ("hello ${NAME}, ${NONE:-you}", "hello Ada, you"),
        ("$${NAME}", "${NAME}"),
        ("$NAME", "$NAME"),
        ("a $ b", "a $ b"),
    ],
)
def test_variables_are_taken_from_the_environment(text: str, value: object) -> None:
    assert parse(f"x: {text}\n") == {"x": value}


def test_a_default_may_stand_where_the_variable_is_missing_only() -> None:
    with pytest.raises(UsageError, match=r"f, line 2, column 4: the environment variable NONE is not set"):
        parse("a: 1\nb: ${NONE}\n")


def test_anchors_and_merges_work() -> None:
    text = "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo: {<<: [*b, {z: 4}]}\nthree: *b\n"
    assert parse(text) == {
        "base": {"x": 1, "y": 2},
        "one": {"x": 1, "y": 3},
        "two": {"x": 1, "y": 2, "z": 4},
        "three": {"x": 1, "y": 2},
    }


def test_what_was_taken_over_through_an_alias_stands_where_it_was_written() -> None:
    tree = parse_placed_tree("a: &a\n  x: 1\nb:\n  <<: *a\n", "f", {})
    assert tree.place(("b", "x")) == "f, line 2, column 3"


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path) -> None:
    from rafiki_cli.yaml_files.placed_tree import read_placed_tree

    file = tmp_path / "job.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: two\r\n")
    assert read_placed_tree(file, {}).value == {"a": 1, "b": "two"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("a.b=5", {"a": {"b": 5}, "l": [{"x": 1}]}),
        ("a.c=text", {"a": {"b": 1, "c": "text"}, "l": [{"x": 1}]}),
        ("l.0.x=[1, 2]", {"a": {"b": 1}, "l": [{"x": [1, 2]}]}),
        ("l[0].x=2", {"a": {"b": 1}, "l": [{"x": 2}]}),
        ("a=null", {"a": None, "l": [{"x": 1}]}),
        ("n.m.o=x=y", {"a": {"b": 1}, "l": [{"x": 1}], "n": {"m": {"o": "x=y"}}}),
        ("a.b=", {"a": {"b": ""}, "l": [{"x": 1}]}),
    ],
)
def test_a_setting_goes_over_the_file(setting: str, value: object) -> None:
    assert parse("a: {b: 1}\nl: [{x: 1}]\n", setting) == value


def test_a_setting_goes_for_each_of_several_jobs() -> None:
    assert parse("jobs: [{a: 1}, {a: 2}]\n", "a=3", "jobs.1.b=4") == {"jobs": [{"a": 3}, {"a": 3, "b": 4}]}


def test_a_short_form_grows_when_something_is_set_in_it() -> None:
    value = parse(
        "advisor: asha\nensemble: greedy\ndeploy: true\n",
        "advisor.options.eta=4",
        "ensemble.size=3",
        "deploy.replicas=2",
    )
    assert value == {
        "advisor": {"scheme": "asha", "options": {"eta": 4}},
        "ensemble": {"method": "greedy", "size": 3},
        "deploy": {"replicas": 2},
    }
